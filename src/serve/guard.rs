//! One connection's time limits and its place among the others. Comes in: any byte stream. Goes
//! out: the same stream, which fails when the other side stalls, or when data may no longer be sent.
//! Never: a limit that restarts with every byte (one byte now and then is how a hostile client stays).

use super::bodies::Right;
use crate::observe::serve::Closed;
use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// Time limits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the connection's start, or from a request's first byte, to the end of its head.
    pub head: Duration,
    /// Without any byte of an answer being taken.
    pub write: Duration,
    /// For all of an answer once the client is slower than we are. Until it ends, the client holds
    /// the memory of the view that it reads.
    pub answer: Duration,
    /// Between two requests. Longer than common scrape intervals, so that connections are reused.
    pub idle: Duration,
    /// Idle at least so long before a connection has to make room: a new one has the time to send
    /// its request.
    pub evict: Duration,
}

impl Default for Limits {
    /// What the service uses. A head is one packet; scrapers give up after 10 s by default and
    /// seldom wait more than a minute.
    fn default() -> Self {
        Limits {
            head: Duration::from_secs(10),
            write: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            idle: Duration::from_secs(120),
            evict: Duration::from_secs(1),
        }
    }
}

/// What a connection is doing: written by its task, read by the listener at the cap.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Requests begun.
    requests: AtomicU64,
    /// From a request's head until its answer's body has been handed over.
    answering: AtomicBool,
    /// From an answer's first bytes until all of them are with the kernel.
    writing: AtomicBool,
    /// Milliseconds from `opened` to when it was last busy.
    idle_since: AtomicU64,
    opened: Instant,
    evicted: CancellationToken,
    /// Until when the answer that is under way may be sent, if it has data.
    right: Mutex<Option<Right>>,
    /// Why we ended it, if it was we.
    verdict: OnceLock<Closed>,
}

impl Slot {
    fn new() -> Arc<Slot> {
        Arc::new(Slot {
            requests: AtomicU64::new(0),
            answering: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            opened: Instant::now(),
            evicted: CancellationToken::new(),
            right: Mutex::new(None),
            verdict: OnceLock::new(),
        })
    }

    /// A request's head is complete; until the guard is dropped its answer is due.
    pub(crate) fn begin(self: &Arc<Slot>) -> Answering {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.answering.store(true, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    /// Whether an answer is due or under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.answering.load(Ordering::Relaxed) || self.writing.load(Ordering::Relaxed)
    }

    /// Why we ended the connection, if it was we.
    pub(crate) fn verdict(&self) -> Option<Closed> {
        self.verdict.get().copied()
    }

    /// Ends when the connection has to make room for another.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    fn right(&self) -> MutexGuard<'_, Option<Right>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.idle_since.store(millis, Ordering::Relaxed);
    }

    fn idle_at(&self) -> Option<Instant> {
        let millis = self.idle_since.load(Ordering::Relaxed);
        (!self.is_busy()).then(|| self.opened + Duration::from_millis(millis))
    }
}

/// Keeps its connection busy.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Slot>);

impl Answering {
    /// The answer has data, which may be sent while this holds.
    pub(crate) fn under(&self, right: Option<&Right>) {
        if let Some(right) = right {
            // An answer before it that is not with the kernel yet: both hold, or the connection ends.
            self.0.right().get_or_insert_with(|| right.clone());
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.touch();
        self.0.answering.store(false, Ordering::Relaxed);
    }
}

/// All connections that are open.
#[derive(Debug)]
pub(crate) struct Slots {
    cap: usize,
    evict: Duration,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    slots: HashMap<u64, Arc<Slot>>,
}

impl Slots {
    pub(crate) fn new(cap: usize, evict: Duration) -> Arc<Slots> {
        Arc::new(Slots { cap, evict, open: Mutex::default() })
    }

    /// A place for a new connection. At the cap the connection that has been idle longest makes
    /// room; `None` when every one is answering, or was only just idle.
    pub(crate) fn take(self: &Arc<Slots>) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.slots.len() >= self.cap {
            let idle = open.slots.iter().filter_map(|(id, slot)| Some((slot.idle_at()?, *id)));
            let (since, id) = idle.min()?;
            if since.elapsed() < self.evict {
                return None;
            }
            open.slots.remove(&id)?.evicted.cancel();
        }
        let id = open.next;
        open.next += 1;
        let slot = Slot::new();
        open.slots.insert(id, Arc::clone(&slot));
        drop(open);
        Some(Place { slots: Arc::clone(self), id, slot })
    }
}

/// A connection's place; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Place {
    slots: Arc<Slots>,
    id: u64,
    pub(crate) slot: Arc<Slot>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.slots.open.lock().unwrap_or_else(PoisonError::into_inner).slots.remove(&self.id);
    }
}

/// A stream under [`Limits`].
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    stream: S,
    head: Alarm,
    write: Alarm,
    answer: Alarm,
    /// Requests begun when the head alarm was last looked at.
    requests: u64,
    slot: Arc<Slot>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(stream: S, slot: Arc<Slot>, limits: &Limits) -> Guarded<S> {
        let mut head = Alarm::new(limits.head);
        head.set();
        Guarded {
            stream,
            head,
            write: Alarm::new(limits.write),
            answer: Alarm::new(limits.answer),
            requests: 0,
            slot,
        }
    }

    /// The other side takes nothing now: fails once that has lasted too long.
    fn poll_stalled<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.slot.writing.store(true, Ordering::Relaxed);
        self.write.set();
        self.answer.set();
        // Both are polled, so that either wakes the task.
        let write = self.write.poll_rung(cx);
        if self.answer.poll_rung(cx) || write {
            return Poll::Ready(Err(self.ended(Closed::WriteTimeout)));
        }
        Poll::Pending
    }

    /// Fails once data may no longer be sent: a process that was paused in the middle of an answer does
    /// not finish it, for another serves by then.
    fn may_write(&self) -> io::Result<()> {
        let holds = self.slot.right().as_ref().is_none_or(Right::holds);
        if holds { Ok(()) } else { Err(self.ended(Closed::Lapsed)) }
    }

    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_pending() {
            return self.poll_stalled(cx);
        }
        self.slot.writing.store(true, Ordering::Relaxed);
        self.write.clear();
        written
    }

    fn ended(&self, why: Closed) -> io::Error {
        // The first reason stands.
        self.slot.verdict.get_or_init(|| why);
        io::ErrorKind::TimedOut.into()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let requests = this.slot.requests.load(Ordering::Relaxed);
        if requests != this.requests {
            this.requests = requests;
            this.head.clear();
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        // While an answer is under way, reading only watches for the client's leaving.
        if !this.slot.is_busy() {
            match &read {
                Poll::Ready(_) if buf.filled().len() > before => this.head.set(),
                Poll::Pending if this.head.poll_rung(cx) => {
                    return Poll::Ready(Err(this.ended(Closed::HeadTimeout)));
                }
                Poll::Ready(_) | Poll::Pending => {}
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.may_write()?;
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.may_write()?;
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_flush(cx) {
            Poll::Pending => this.poll_stalled(cx),
            Poll::Ready(flushed) => {
                this.write.clear();
                this.answer.clear();
                this.slot.touch();
                this.slot.writing.store(false, Ordering::Relaxed);
                if !this.slot.is_busy() {
                    this.slot.right().take();
                }
                Poll::Ready(flushed)
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_shutdown(cx) {
            Poll::Pending => this.poll_stalled(cx),
            Poll::Ready(shut) => {
                // TLS writes its last word without a flush of its own.
                this.slot.writing.store(false, Ordering::Relaxed);
                Poll::Ready(shut)
            }
        }
    }
}

/// A deadline that stands from its setting until it is cleared.
#[derive(Debug)]
struct Alarm {
    after: Duration,
    set: bool,
    /// Made when first needed: most connections never write to a full pipe.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    fn new(after: Duration) -> Alarm {
        Alarm { after, set: false, sleep: None }
    }

    /// Begins to run; one that runs already keeps its deadline.
    fn set(&mut self) {
        if !self.set {
            self.set = true;
            let deadline = Instant::now() + self.after;
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(deadline),
                None => self.sleep = Some(Box::pin(sleep_until(deadline))),
            }
        }
    }

    fn clear(&mut self) {
        self.set = false;
    }

    /// Whether it runs and its time has come; wakes the task when it comes.
    fn poll_rung(&mut self, cx: &mut Context<'_>) -> bool {
        let rung = |sleep: &mut Pin<Box<Sleep>>| sleep.as_mut().poll(cx).is_ready();
        self.set && self.sleep.as_mut().is_some_and(rung)
    }
}

/// An answer's body, which keeps its connection busy until it has been handed over.
#[derive(Debug)]
pub(crate) struct BusyBody {
    body: Body,
    _answering: Answering,
}

impl BusyBody {
    pub(crate) fn new(body: Body, answering: Answering) -> BusyBody {
        BusyBody { body, _answering: answering }
    }
}

impl HttpBody for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const LIMITS: Limits = Limits {
        head: Duration::from_secs(10),
        write: Duration::from_secs(30),
        answer: Duration::from_secs(60),
        idle: Duration::from_secs(120),
        evict: Duration::from_secs(1),
    };

    /// Our end, the client's end, and the slot, with a pipe of 8 bytes between.
    fn connected() -> (Guarded<DuplexStream>, DuplexStream, Arc<Slot>) {
        let (ours, theirs) = duplex(8);
        let slot = Slot::new();
        (Guarded::new(ours, Arc::clone(&slot), &LIMITS), theirs, slot)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_cut_after_the_head_limit() {
        let (mut ours, _theirs, slot) = connected();
        let began = Instant::now();
        let error = ours.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), LIMITS.head.as_secs());
        assert_eq!(slot.verdict(), Some(Closed::HeadTimeout));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_does_not_move_the_head_limit() {
        let (mut ours, mut theirs, slot) = connected();
        let client = tokio::spawn(async move {
            while theirs.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        });
        let began = Instant::now();
        while ours.read_u8().await.is_ok() {}
        assert_eq!(began.elapsed().as_secs(), LIMITS.head.as_secs());
        assert_eq!(slot.verdict(), Some(Closed::HeadTimeout));
        client.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn between_two_requests_no_head_is_due_until_its_first_byte() {
        let (mut ours, mut theirs, slot) = connected();
        theirs.write_all(b"a").await.unwrap();
        ours.read_u8().await.unwrap();
        drop(slot.begin());
        let later = LIMITS.head * 3;
        assert!(tokio::time::timeout(later, ours.read_u8()).await.is_err(), "still open");
        theirs.write_all(b"b").await.unwrap();
        ours.read_u8().await.unwrap();
        let began = Instant::now();
        assert!(ours.read_u8().await.is_err());
        assert_eq!(began.elapsed().as_secs(), LIMITS.head.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn while_an_answer_is_due_no_head_is() {
        let (mut ours, _theirs, slot) = connected();
        let answering = slot.begin();
        assert!(tokio::time::timeout(LIMITS.head * 3, ours.read_u8()).await.is_err());
        assert_eq!(slot.verdict(), None);
        drop(answering);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_cut_after_the_write_limit() {
        let (mut ours, _theirs, slot) = connected();
        let began = Instant::now();
        assert!(ours.write_all(&[0; 9]).await.is_err());
        assert_eq!(began.elapsed().as_secs(), LIMITS.write.as_secs());
        assert_eq!(slot.verdict(), Some(Closed::WriteTimeout));
        assert!(slot.is_busy());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_a_byte_now_and_then_is_cut_after_the_answer_limit() {
        let (mut ours, mut theirs, slot) = connected();
        let client = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(20)).await;
                if theirs.read_u8().await.is_err() {
                    break;
                }
            }
        });
        let began = Instant::now();
        assert!(ours.write_all(&[0; 100]).await.is_err());
        assert_eq!(began.elapsed().as_secs(), LIMITS.answer.as_secs());
        assert_eq!(slot.verdict(), Some(Closed::WriteTimeout));
        client.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_flushed_answer_stops_the_write_limits() {
        let (mut ours, mut theirs, slot) = connected();
        let mut taken = [0; 12];
        let ours_side = async {
            ours.write_all(&[7; 12]).await.unwrap();
            ours.flush().await.unwrap();
        };
        let theirs_side = async {
            tokio::time::sleep(LIMITS.write / 2).await;
            theirs.read_exact(&mut taken).await.unwrap();
        };
        tokio::join!(ours_side, theirs_side);
        assert_eq!((taken, slot.is_busy()), ([7; 12], false));
        tokio::time::sleep(LIMITS.answer).await;
        ours.write_all(b"next").await.unwrap();
        assert_eq!(slot.verdict(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_cap_the_longest_idle_connection_makes_room() {
        let slots = Slots::new(2, LIMITS.evict);
        let old = slots.take().unwrap();
        tokio::time::advance(Duration::from_millis(5)).await;
        let young = slots.take().unwrap();
        assert!(slots.take().is_none(), "both were only just idle");
        tokio::time::advance(LIMITS.evict).await;
        let third = slots.take().unwrap();
        assert!(old.slot.evicted.is_cancelled() && !young.slot.evicted.is_cancelled());
        drop(old);
        assert!(slots.take().is_some_and(|_| young.slot.evicted.is_cancelled()));
        drop(third);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_answers_never_makes_room() {
        let slots = Slots::new(1, LIMITS.evict);
        let place = slots.take().unwrap();
        let answering = place.slot.begin();
        tokio::time::advance(LIMITS.evict * 100).await;
        assert!(slots.take().is_none());
        drop(answering);
        assert!(slots.take().is_none(), "idle only from the answer's end");
        drop(place);
        assert!(slots.take().is_some(), "a place that is left is free");
    }
}
