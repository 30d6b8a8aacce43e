//! What is published, and how it becomes an answer. Comes in: finished segments of a view. Goes
//! out: bodies joined from them without a copy; the node scope is kept compressed, and inflated block by
//! block for the few who want it plain. Never: half a view (a request keeps the one that it
//! began with), a scope before the first round has closed.

use crate::clock::Clock;
use crate::promise::Promise;
use crate::render::gzip::{self, Coder, Inflater, Segment};
use crate::render::negotiate::Encoding;
use crate::view::View;
use arc_swap::ArcSwapOption;
use axum::body::{Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A view with its bodies, made by the publisher off the request path.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// What the bodies show; `/api/v1` reads it, and narrowed requests are rendered from it.
    pub view: Arc<View>,
    /// The scope `cluster`.
    pub cluster: Segment,
    /// The scope `cluster` as OpenMetrics.
    pub cluster_open_metrics: Segment,
    /// The scope `node`, as text alone.
    pub node: Segment,
    /// Seconds that it took to make view and bodies.
    pub seconds: f64,
    /// The term of the promise that its counters are of: it is data in that term alone.
    pub term: u64,
}

/// The newest published view.
#[derive(Debug)]
pub(crate) struct Bodies {
    newest: ArcSwapOption<Published>,
    /// `USE_PROMETHEUS=false`: the data scopes are not served.
    hidden: bool,
    promise: Arc<Promise>,
    clock: Clock,
}

/// The right to serve the data of one term; it may end while an answer is sent, and the connection looks
/// at it before each write.
#[derive(Debug, Clone)]
pub(crate) struct Right {
    promise: Arc<Promise>,
    clock: Clock,
    term: u64,
}

impl Right {
    pub(crate) fn holds(&self) -> bool {
        self.promise.holds(self.term, self.clock.uptime())
    }
}

impl Bodies {
    pub(crate) fn new(hidden: bool, promise: Arc<Promise>, clock: Clock) -> Bodies {
        Bodies { newest: ArcSwapOption::empty(), hidden, promise, clock }
    }

    pub(crate) fn publish(&self, published: Published) {
        self.newest.store(Some(Arc::new(published)));
    }

    /// For the status pages, which are never hidden.
    pub(crate) fn newest(&self) -> Option<Arc<Published>> {
        self.newest.load_full()
    }

    /// For `/metrics`: nothing while hidden, or while the data is another process's to serve.
    pub(crate) fn data(&self) -> Option<(Arc<Published>, Right)> {
        let newest = self.newest().filter(|_| !self.hidden)?;
        let (promise, term) = (Arc::clone(&self.promise), newest.term);
        let right = Right { promise, clock: self.clock, term };
        right.holds().then_some((newest, right))
    }

    /// Whether the promise holds now, whether or not there is anything to serve.
    pub(crate) fn may_serve(&self) -> bool {
        self.promise.holds(self.promise.term(), self.clock.uptime())
    }

    /// Whether the scopes cluster and node are served now.
    pub(crate) fn serves(&self) -> bool {
        self.data().is_some()
    }

    pub(crate) fn hidden(&self) -> bool {
        self.hidden
    }
}

/// A text that was made for one answer, prepared as far as the encoding needs.
pub(crate) fn segment(text: Vec<u8>, encoding: Encoding) -> Segment {
    match encoding {
        Encoding::Gzip => Coder::default().compress(&text),
        Encoding::Identity => gzip::plain(text.into()),
    }
}

/// Joins segments to one body.
pub(crate) fn join(segments: &[&Segment], encoding: Encoding) -> Parts {
    match encoding {
        Encoding::Gzip => {
            let parts = gzip::stitch(segments);
            let left = parts.iter().map(|part| part.len() as u64).sum();
            Parts { rest: Box::new(parts.into_iter()), left }
        }
        Encoding::Identity => {
            let left = segments.iter().map(|segment| segment.len).sum();
            let texts: Vec<Segment> = segments.iter().map(|s| (*s).clone()).collect();
            Parts { rest: Box::new(texts.into_iter().flat_map(text)), left }
        }
    }
}

/// A segment's text, as it is kept or from its deflate.
fn text(segment: Segment) -> impl Iterator<Item = Bytes> {
    let kept = segment.identity.len() as u64 == segment.len;
    let made = (!kept).then(|| Inflater::new(&segment)).into_iter().flatten();
    std::iter::once(segment.identity).chain(made)
}

/// A body of several pieces with a known length, made while it is sent.
pub(crate) struct Parts {
    rest: Box<dyn Iterator<Item = Bytes> + Send>,
    left: u64,
}

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // An empty frame would say nothing, and costs a write.
        let part = self.rest.find(|part| !part.is_empty());
        if let Some(part) = &part {
            self.left -= part.len() as u64;
        }
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_body_of_parts_knows_its_length_and_skips_what_is_empty() {
        let parts = ["ab", "", "cde", ""].map(|text| gzip::plain(Bytes::from(text)));
        let mut body = join(&parts.each_ref(), Encoding::Identity);
        assert_eq!(body.size_hint().exact(), Some(5));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(3), false));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "cde");
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_text_that_was_not_kept_comes_from_its_deflate() {
        let long: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        let segment = Coder::default().compress(&long);
        let body = join(&[&segment, &gzip::plain(Bytes::from("tail"))], Encoding::Identity);
        assert_eq!(body.size_hint().exact(), Some(long.len() as u64 + 4));
        let sent = body.collect().await.unwrap().to_bytes();
        assert_eq!(sent, [&long[..], b"tail"].concat());
    }

    #[test]
    fn hidden_data_is_still_there_for_the_status_pages() {
        for hidden in [false, true] {
            let bodies = Bodies::new(hidden, Arc::new(Promise::forever()), Clock::start());
            assert!(bodies.newest().is_none() && bodies.data().is_none());
            bodies.publish(Published::default());
            assert!(bodies.newest().is_some());
            assert_eq!(bodies.data().is_none(), hidden);
        }
    }

    #[test]
    fn data_is_that_of_the_promises_term_alone() {
        let promise = Arc::new(Promise::none());
        let clock = Clock::start();
        let bodies = Bodies::new(false, Arc::clone(&promise), clock);
        bodies.publish(Published::default());
        assert!(!bodies.serves());
        promise.begin(clock.uptime() + 1e6);
        assert!(!bodies.serves(), "what was counted before the term is not its data");
        bodies.publish(Published { term: 1, ..Published::default() });
        assert!(bodies.serves());
        promise.begin(clock.uptime() + 1e6);
        assert!(!bodies.serves());
        assert!(bodies.newest().is_some());
    }

    #[test]
    fn a_text_is_compressed_only_for_those_who_take_it() {
        let identity = segment(b"a 1\n".to_vec(), Encoding::Identity);
        assert_eq!((&identity.identity[..], identity.len), (&b"a 1\n"[..], 4));
        assert!(identity.deflate.is_empty());
        assert!(!segment(b"a 1\n".to_vec(), Encoding::Gzip).deflate.is_empty());
    }
}
