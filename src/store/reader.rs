//! One node's pages through the shape path, without a store around it: for `check`, benches and
//! fuzzing. Comes in: pages, one after another. Goes out: what became of each. Never: a figure.

use super::intern::{Interner, Shape, foreign};
use super::{Limits, Refusal, Settings};
use crate::view::{FamilyId, Slot, known};

/// Reads the pages of one node.
#[derive(Debug)]
pub struct PageReader {
    interner: Interner,
    shape: Option<Shape>,
    values: Box<[f64]>,
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
    /// Whether it has series of ours.
    pub own: bool,
}

impl PageSummary {
    /// Why a scrape refuses this page, though it can be read.
    pub fn refusal(&self) -> Option<String> {
        foreign(self.own, self.kept, self.samples)
    }
}

impl PageReader {
    /// With the limits of the flags.
    pub fn new(settings: &Settings) -> PageReader {
        PageReader {
            interner: Interner::default(),
            shape: None,
            values: Box::default(),
            limits: settings.limits(),
        }
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
        self.values = reading.values;
        Ok(PageSummary {
            samples: reading.samples,
            kept: reading.kept,
            rows: self.values.len(),
            misses: reading.misses,
            own: reading.own,
        })
    }

    /// The rows of the last page that was not refused, in the order of their names: sample name with
    /// labels, where it goes in the cluster's figures, the bits of its value.
    pub fn rows(&self) -> Vec<(String, Slot, u64)> {
        let Some(shape) = &self.shape else { return Vec::new() };
        let row = |(id, value): (&u32, &f64)| {
            let series = self.interner.series()[*id as usize].as_deref()?;
            let name = match series.family {
                FamilyId::Known(index) => known(index).name,
                FamilyId::Other(index) => &self.interner.others()[index as usize].name,
            };
            let text = format!("{name}{}{{{}}}", series.suffix.as_str(), series.labels);
            Some((text, series.slot, value.to_bits()))
        };
        let mut rows: Vec<_> = shape.layout.rows.iter().zip(&self.values).filter_map(row).collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }
}
