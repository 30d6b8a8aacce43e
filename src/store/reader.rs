//! One node's pages through the shape path, without a store around it: for `check`, benches and
//! fuzzing. Comes in: pages, one after another. Goes out: what became of each. Never: a figure.

use super::intern::{Interner, Shape};
use super::{Limits, Refusal, Settings};

/// Reads the pages of one node.
#[derive(Debug)]
pub struct PageReader {
    interner: Interner,
    shape: Option<Shape>,
    limits: Limits,
}

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSummary {
    /// Samples on the page.
    pub samples: usize,
    /// Of these, samples that we keep.
    pub kept: usize,
    /// Rows that they became.
    pub rows: usize,
    /// Lines that were not as on the page before.
    pub misses: usize,
}

impl PageReader {
    /// With the limits of the flags.
    pub fn new(settings: &Settings) -> PageReader {
        PageReader { interner: Interner::default(), shape: None, limits: settings.limits() }
    }

    /// Reads a page; the one before tells what to expect.
    ///
    /// # Errors
    /// In words, why the page is refused; the next one is then read as if this had not been.
    pub fn read(&mut self, page: &[u8]) -> Result<PageSummary, String> {
        let reading =
            self.interner.read(page, self.shape.as_ref(), &self.limits).map_err(|refusal| {
                match refusal {
                    Refusal::Parse(reason) | Refusal::Limit(reason) => reason,
                }
            })?;
        if let Some(shape) = reading.reshaped {
            self.shape = Some(shape);
        }
        Ok(PageSummary {
            samples: reading.samples,
            kept: reading.kept,
            rows: reading.values.len(),
            misses: reading.misses,
        })
    }
}
