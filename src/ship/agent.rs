//! Events to a CloudWatch agent, one a line over TCP. Comes in: intervals, oldest first. Goes out: whole
//! events on a connection that is kept. Never: the rest of an event on another connection than its
//! beginning, an interval twice, a wait without end.
//!
//! The agent answers nothing: what the system has taken is counted as sent, and lost where the agent ends
//! without reading it. *When it cannot keep up* the interval that waits too long is unconfirmed, its
//! connection is closed, and later intervals stay where they are.

use super::delivery::{Batch, Delivery};
use super::emf::Writer;
use crate::mirror::{Tally, Trouble};
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// An agent is on this node or in this cluster, some milliseconds away. A first packet that got lost is
/// sent again after one second.
const CONNECT: Duration = Duration::from_secs(3);
/// For a whole interval: some MB where each node has its points, of which the system buffers the first.
/// Half of the 10 seconds that the process has for its end.
const WRITE: Duration = Duration::from_secs(5);
/// How long sent bytes may stay unacknowledged before the connection counts as ended: an agent whose node
/// is gone says no goodbye, and the system would go on for a quarter of an hour. Less than two intervals,
/// more than a write.
#[cfg(target_os = "linux")]
const ACKNOWLEDGE: Duration = Duration::from_secs(30);
/// One turn of the runtime, which learns in it whether the other side has closed.
const GLANCE: Duration = Duration::from_millis(1);
/// The agent says nothing; so many pieces of something are skipped on the way to its end.
const SKIPPED: usize = 8;

/// A CloudWatch agent.
#[derive(Debug)]
pub(super) struct Agent {
    host: String,
    port: u16,
    /// Between intervals, at the end of a line.
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    write: Duration,
}

impl Agent {
    /// Connects when there is something to send.
    pub(super) fn new(host: String, port: u16) -> Agent {
        Agent { host, port, stream: None, buffer: Vec::new(), write: WRITE }
    }

    /// Writes intervals until one cannot be written.
    pub(super) async fn send(&mut self, batch: Batch<'_>, writer: &mut Writer) -> Delivery {
        let mut delivery = Delivery::default();
        for interval in batch {
            self.buffer.clear();
            let mut tally = writer.write(interval, &mut self.buffer);
            if let Err((begun, error)) = self.put().await {
                let text = format!("agent at {}:{}: {error}", self.host, self.port);
                delivery.trouble = Some((Trouble::Unreachable, text));
                if !begun {
                    break;
                }
                tally = Tally { sent: 0, unconfirmed: tally.sent, ..tally };
            }
            delivery.settled += 1;
            delivery.tally.add(&tally);
            if delivery.trouble.is_some() {
                break;
            }
        }
        delivery
    }

    /// Writes the buffer. Where that fails: whether some of it may have arrived, and why.
    async fn put(&mut self) -> Result<(), (bool, io::Error)> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        // Taken out: given up here or in the middle of a line, it is closed.
        let mut stream = self.connection().await.map_err(|error| (false, error))?;
        let until = Instant::now() + self.write;
        let mut written = 0;
        while let Some(rest) = self.buffer.get(written..).filter(|rest| !rest.is_empty()) {
            let tried = timeout_at(until, stream.write(rest)).await;
            match tried.unwrap_or_else(|_| Err(io::Error::other("it does not read"))) {
                Ok(0) => return Err((written > 0, io::ErrorKind::WriteZero.into())),
                Ok(bytes) => written += bytes,
                Err(error) => return Err((written > 0, error)),
            }
        }
        self.stream = Some(stream);
        Ok(())
    }

    /// The connection that there is, or a new one.
    async fn connection(&mut self) -> io::Result<TcpStream> {
        if let Some(stream) = self.stream.take()
            && is_open(&stream).await
        {
            return Ok(stream);
        }
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = timeout(CONNECT, connecting)
            .await
            .unwrap_or_else(|_| Err(io::Error::other("it does not answer")))?;
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(ACKNOWLEDGE))?;
        Ok(stream)
    }
}

/// Whether the other side has not closed yet. A write would not tell: the first one after its end succeeds.
async fn is_open(stream: &TcpStream) -> bool {
    let mut skipped = [0; 1024];
    for _ in 0..SKIPPED {
        match timeout(GLANCE, stream.readable()).await {
            Err(_) => return true,
            Ok(Err(_)) => return false,
            Ok(Ok(())) => {}
        }
        match stream.try_read(&mut skipped) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::emf::EVENT_BYTES;
    use super::super::emf::tests::{heading, interval};
    use super::*;
    use crate::mirror::Interval;
    use std::sync::Arc;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    fn writer() -> Writer {
        Writer::new(&heading(EVENT_BYTES))
    }

    fn text(interval: &Interval) -> Vec<u8> {
        let mut out = Vec::new();
        writer().write(interval, &mut out);
        out
    }

    async fn listener() -> (TcpListener, Agent) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, Agent::new("127.0.0.1".into(), port))
    }

    /// Reads as many bytes as this interval has.
    async fn read(stream: &mut TcpStream, interval: &Interval) -> Vec<u8> {
        let mut bytes = vec![0; text(interval).len()];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// More than the buffers of both sides take.
    fn huge(start: i64) -> Arc<Interval> {
        let points = 120_000;
        let huge = interval(start, points);
        Arc::new(huge)
    }

    #[tokio::test]
    async fn intervals_go_over_one_connection() {
        let (listener, mut agent) = listener().await;
        let batch = [0, 60, 120].map(|start| Arc::new(interval(start, 3)));
        let delivery = agent.send(&batch[..2], &mut writer()).await;
        assert_eq!((delivery.settled, delivery.tally.sent, delivery.trouble), (2, 6, None));
        let delivery = agent.send(&batch[2..], &mut writer()).await;
        assert_eq!((delivery.settled, delivery.tally.sent, delivery.trouble), (1, 3, None));
        let (mut stream, _) = listener.accept().await.unwrap();
        for interval in &batch {
            assert_eq!(read(&mut stream, interval).await, text(interval));
        }
        #[cfg(target_os = "linux")]
        {
            let kept = agent.stream.as_ref().unwrap();
            let set = socket2::SockRef::from(kept).tcp_user_timeout().unwrap();
            assert_eq!(set, Some(ACKNOWLEDGE));
        }
        drop(agent);
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_agent_that_refuses_is_unreachable_and_nothing_is_settled() {
        let (listener, mut agent) = listener().await;
        drop(listener);
        let batch = [0, 60].map(|start| Arc::new(interval(start, 3)));
        let delivery = agent.send(&batch, &mut writer()).await;
        assert_eq!((delivery.settled, delivery.tally), (0, Tally::default()));
        let (trouble, text) = delivery.trouble.unwrap();
        assert_eq!(trouble, Trouble::Unreachable);
        let expected = format!("agent at 127.0.0.1:{}: Connection refused", agent.port);
        assert!(text.starts_with(&expected), "{text}");
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_between_intervals_is_made_anew() {
        let (listener, mut agent) = listener().await;
        let batch = [0, 60].map(|start| Arc::new(interval(start, 3)));
        agent.send(&batch[..1], &mut writer()).await;
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(read(&mut stream, &batch[0]).await, text(&batch[0]));
        // What it says before its end does not hide the end.
        stream.write_all(&[b'x'; 3000]).await.unwrap();
        drop(stream);
        let delivery = agent.send(&batch[1..], &mut writer()).await;
        assert_eq!((delivery.settled, delivery.tally.sent, delivery.trouble), (1, 3, None));
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(read(&mut stream, &batch[1]).await, text(&batch[1]));
    }

    #[tokio::test]
    async fn a_connection_that_ends_in_mid_write_leaves_the_interval_unconfirmed() {
        let (listener, mut agent) = listener().await;
        let batch = [huge(0), Arc::new(interval(60, 3))];
        let peer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut begin = [0; 1000];
            stream.read_exact(&mut begin).await.unwrap();
        };
        let mut writer = writer();
        let (delivery, ()) = tokio::join!(agent.send(&batch, &mut writer), peer);
        let unconfirmed = Tally { unconfirmed: batch[0].points() as u64, ..Tally::default() };
        assert_eq!((delivery.settled, delivery.tally), (1, unconfirmed));
        assert_eq!(delivery.trouble.unwrap().0, Trouble::Unreachable);
        // The next one begins at the beginning of an event, elsewhere.
        let delivery = agent.send(&batch[1..], &mut writer).await;
        assert_eq!((delivery.settled, delivery.tally.sent, delivery.trouble), (1, 3, None));
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(read(&mut stream, &batch[1]).await, text(&batch[1]));
    }

    #[tokio::test]
    async fn an_agent_that_does_not_read_is_unreachable_after_a_while() {
        let (listener, mut agent) = listener().await;
        agent.write = Duration::from_millis(300);
        let batch = [huge(0), Arc::new(interval(60, 3))];
        let delivery = agent.send(&batch, &mut writer()).await;
        let unconfirmed = Tally { unconfirmed: batch[0].points() as u64, ..Tally::default() };
        assert_eq!((delivery.settled, delivery.tally), (1, unconfirmed));
        let (trouble, text) = delivery.trouble.unwrap();
        assert_eq!(trouble, Trouble::Unreachable);
        assert!(text.ends_with(": it does not read"), "{text}");
        drop(listener);
    }

    #[tokio::test]
    async fn a_send_that_is_given_up_does_not_leave_half_an_event_for_the_next() {
        let (listener, mut agent) = listener().await;
        let mut writer = writer();
        let given_up = [huge(0)];
        let sending = agent.send(&given_up, &mut writer);
        assert!(timeout(Duration::from_millis(300), sending).await.is_err());
        let next = [Arc::new(interval(60, 3))];
        let delivery = agent.send(&next, &mut writer).await;
        assert_eq!((delivery.settled, delivery.trouble), (1, None));
        drop(listener.accept().await.unwrap());
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(read(&mut stream, &next[0]).await, text(&next[0]));
    }

    #[tokio::test]
    async fn nothing_to_send_needs_no_agent() {
        let mut agent = Agent::new("127.0.0.1".into(), 0);
        let delivery = agent.send(&[Arc::new(interval(0, 0))], &mut writer()).await;
        assert_eq!((delivery.settled, delivery.trouble), (1, None));
    }
}
