//! Events on standard output, for a collector that reads it. Comes in: intervals, oldest first. Goes out:
//! whole lines. Never: half a line with another event behind it, a wait without end for a reader that hangs.
//!
//! *Flow.* A thread of its own writes one interval at a time to a descriptor of its own: a write into a full
//! pipe cannot be given up, so it may hold up neither the runtime nor the end of the process.
//! *When it cannot keep up.* An interval that is not written after [`STALL`] is unconfirmed: its write goes on
//! whenever somebody reads. Until then nothing else is handed to the thread, and later intervals stay where
//! they are.
//! *Stopping.* Dropped, the thread ends behind the write it is in; the process does not wait for it.

use super::delivery::{Batch, Delivery};
use super::emf::Writer;
use crate::mirror::{Tally, Trouble};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// An interval of the cluster level has some 10 kB, one of every node some MB: whoever reads at all reads
/// that in a second. And it is half of the 10 seconds that the process has for its end.
const STALL: Duration = Duration::from_secs(5);
/// Until a descriptor is asked again that another process has made non-blocking.
const PAUSE: Duration = Duration::from_millis(20);

/// Standard output.
#[derive(Debug)]
pub(super) struct Stdout {
    /// One interval; the thread has at most one.
    jobs: mpsc::Sender<Vec<u8>>,
    answers: mpsc::Receiver<Answer>,
    /// The thread has not answered yet.
    busy: bool,
    buffer: Vec<u8>,
    stall: Duration,
}

/// What became of an interval's bytes.
struct Answer {
    buffer: Vec<u8>,
    written: usize,
    error: Option<io::Error>,
}

impl Stdout {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where there is no standard output, or no further descriptor or thread.
    pub(super) fn new() -> io::Result<Stdout> {
        // Not through std's buffer: after an error it keeps what it could not write, and writes it later.
        Stdout::onto(File::from(io::stdout().as_fd().try_clone_to_owned()?), STALL)
    }

    fn onto(file: impl Write + Send + 'static, stall: Duration) -> io::Result<Stdout> {
        let (jobs, todo) = mpsc::channel(1);
        let (answer, answers) = mpsc::channel(1);
        thread::Builder::new().name("stdout".into()).spawn(move || run(file, todo, &answer))?;
        Ok(Stdout { jobs, answers, busy: false, buffer: Vec::new(), stall })
    }

    /// Writes intervals until one cannot be written.
    pub(super) async fn send(&mut self, batch: Batch<'_>, writer: &mut Writer) -> Delivery {
        if self.busy && self.answer().await.is_none() {
            return Delivery::blocked((Trouble::Unreachable, HANGS.into()));
        }
        let mut delivery = Delivery::default();
        for interval in batch {
            self.buffer.clear();
            let mut tally = writer.write(interval, &mut self.buffer);
            let (begun, trouble) = match self.put().await {
                Ok(()) => (true, None),
                Err((begun, trouble)) => (begun, Some((Trouble::Unreachable, trouble))),
            };
            if trouble.is_some() {
                tally = Tally { sent: 0, unconfirmed: tally.sent, ..tally };
            }
            if begun {
                delivery.settled += 1;
                delivery.tally.add(&tally);
            }
            if trouble.is_some() {
                delivery.trouble = trouble;
                break;
            }
        }
        delivery
    }

    /// Has the buffer written. Where that fails: whether some of it may have been, and why.
    async fn put(&mut self) -> Result<(), (bool, String)> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.jobs.try_send(std::mem::take(&mut self.buffer)).is_err() {
            return Err((false, "standard output: its thread has ended".into()));
        }
        self.busy = true;
        match self.answer().await {
            Some((_, None)) => Ok(()),
            Some((written, Some(error))) => Err((written > 0, format!("standard output: {error}"))),
            None => Err((true, HANGS.into())),
        }
    }

    /// Waits for the thread: the bytes it wrote, and its error. Nothing where it takes too long.
    async fn answer(&mut self) -> Option<(usize, Option<io::Error>)> {
        let answer = timeout(self.stall, self.answers.recv()).await.ok()??;
        self.busy = false;
        self.buffer = answer.buffer;
        Some((answer.written, answer.error))
    }
}

const HANGS: &str = "standard output: nobody reads it";

/// The thread.
fn run(mut file: impl Write, mut todo: mpsc::Receiver<Vec<u8>>, answers: &mpsc::Sender<Answer>) {
    let mut cut = false;
    while let Some(buffer) = todo.blocking_recv() {
        let (written, error) = write(&mut file, &buffer, &mut cut);
        if answers.blocking_send(Answer { buffer, written, error }).is_err() {
            break;
        }
    }
}

/// Writes whole lines. `cut` says that the last line written has no end: it gets one before the first of
/// these, and is then a line that no reader takes for an event.
fn write(file: &mut impl Write, lines: &[u8], cut: &mut bool) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
        let ends_cut = *cut && written == 0;
        match file.write(if ends_cut { b"\n" } else { rest }) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(_) if ends_cut => *cut = false,
            Ok(bytes) => {
                written += bytes;
                *cut = lines.get(written - 1) != Some(&b'\n');
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

#[cfg(test)]
mod tests {
    use super::super::emf::EVENT_BYTES;
    use super::super::emf::tests::{heading, interval};
    use super::*;
    use std::io::Read;
    use std::sync::Arc;

    fn writer() -> Writer {
        Writer::new(&heading(EVENT_BYTES))
    }

    fn expected(starts: &[i64], points: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for start in starts {
            writer().write(&interval(*start, points), &mut out);
        }
        out
    }

    /// A time in which a test's reader does not hang by chance.
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn intervals_are_written_in_order_and_whole() {
        let (mut reader, end) = io::pipe().unwrap();
        let reads = thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        let mut stdout = Stdout::onto(end, LONG).unwrap();
        // More than a pipe holds.
        let batch = [0, 60].map(|start| Arc::new(interval(start, 3000)));
        let delivery = stdout.send(&batch, &mut writer()).await;
        assert_eq!((delivery.settled, delivery.tally.sent), (2, 6000));
        assert_eq!(delivery.trouble, None);
        drop(stdout);
        assert_eq!(reads.join().unwrap(), expected(&[0, 60], 3000));
    }

    #[tokio::test]
    async fn a_closed_output_is_unreachable_and_nothing_is_settled() {
        let (reader, end) = io::pipe().unwrap();
        drop(reader);
        let mut stdout = Stdout::onto(end, LONG).unwrap();
        let delivery = stdout.send(&[Arc::new(interval(0, 3))], &mut writer()).await;
        assert_eq!((delivery.settled, delivery.tally), (0, Tally::default()));
        let (trouble, text) = delivery.trouble.unwrap();
        assert_eq!(trouble, Trouble::Unreachable);
        assert!(text.starts_with("standard output: Broken pipe"), "{text}");
    }

    #[tokio::test]
    async fn a_reader_that_hangs_holds_nobody_up_and_later_gets_every_line_whole() {
        let (mut reader, end) = io::pipe().unwrap();
        let mut stdout = Stdout::onto(end, Duration::from_millis(50)).unwrap();
        let batch = [0, 60].map(|start| Arc::new(interval(start, 3000)));
        let delivery = stdout.send(&batch, &mut writer()).await;
        let unconfirmed = Tally { unconfirmed: 3000, ..Tally::default() };
        assert_eq!((delivery.settled, delivery.tally), (1, unconfirmed));
        assert_eq!(delivery.trouble, Some((Trouble::Unreachable, HANGS.into())));
        // Still nobody reads: what is sent now has not begun.
        let delivery = stdout.send(&batch[1..], &mut writer()).await;
        assert_eq!((delivery.settled, delivery.tally), (0, Tally::default()));
        assert_eq!(delivery.trouble, Some((Trouble::Unreachable, HANGS.into())));
        let reads = thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        stdout.stall = LONG;
        let delivery = stdout.send(&batch[1..], &mut writer()).await;
        assert_eq!((delivery.settled, delivery.tally.sent, delivery.trouble), (1, 3000, None));
        drop(stdout);
        assert_eq!(reads.join().unwrap(), expected(&[0, 60], 3000));
    }

    #[tokio::test]
    async fn an_interval_without_points_that_may_leave_is_settled_unwritten() {
        let (reader, end) = io::pipe().unwrap();
        drop(reader);
        let mut stdout = Stdout::onto(end, LONG).unwrap();
        let delivery = stdout.send(&[Arc::new(interval(0, 0))], &mut writer()).await;
        assert_eq!((delivery.settled, delivery.trouble), (1, None));
    }

    /// Takes so many bytes, then is full; `space` may grow. Asks for patience at first.
    struct Disk {
        taken: Vec<u8>,
        space: usize,
        busy: u8,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.busy += 1;
            match self.busy {
                1 => return Err(io::ErrorKind::Interrupted.into()),
                2 => return Err(io::ErrorKind::WouldBlock.into()),
                _ if self.space == 0 => return Err(io::ErrorKind::StorageFull.into()),
                _ => {}
            }
            let count = bytes.len().min(self.space).min(7);
            self.taken.extend_from_slice(&bytes[..count]);
            self.space -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_ends_before_the_next_event() {
        let mut disk = Disk { taken: Vec::new(), space: 10, busy: 0 };
        let mut cut = false;
        let (written, error) = write(&mut disk, b"first\nsecond\n", &mut cut);
        assert_eq!((written, error.unwrap().kind()), (10, io::ErrorKind::StorageFull));
        let (written, error) = write(&mut disk, b"third\n", &mut cut);
        assert_eq!((written, error.is_some(), cut), (0, true, true));
        disk.space = 100;
        assert_eq!(write(&mut disk, b"third\n", &mut cut).0, 6);
        assert_eq!(write(&mut disk, b"fourth\n", &mut cut).0, 7);
        assert_eq!(String::from_utf8(disk.taken).unwrap(), "first\nseco\nthird\nfourth\n");
    }

    #[tokio::test]
    async fn a_failure_in_mid_interval_leaves_it_unconfirmed() {
        let disk = Disk { taken: Vec::new(), space: 10, busy: 0 };
        let mut stdout = Stdout::onto(disk, LONG).unwrap();
        let batch = [0, 60].map(|start| Arc::new(interval(start, 3)));
        let delivery = stdout.send(&batch, &mut writer()).await;
        let unconfirmed = Tally { unconfirmed: 3, ..Tally::default() };
        assert_eq!((delivery.settled, delivery.tally), (1, unconfirmed));
        assert!(delivery.trouble.is_some());
        let delivery = stdout.send(&batch[1..], &mut writer()).await;
        assert_eq!((delivery.settled, delivery.tally), (0, Tally::default()));
    }
}
