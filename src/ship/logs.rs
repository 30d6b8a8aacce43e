//! CloudWatch Logs. Comes in: intervals, oldest first, and what encodes them as Embedded Metric Format.
//! Goes out: log events in legal batches, the log group and stream where they are missing, and what
//! became of each interval. Never: an event sent twice, the retention of a group that is not ours.

use super::aws::{self, Aws, Begun, Right};
use super::delivery::{Batch, Delivery};
use super::limits;
use super::parcel::{Entry, Fault, Ledger, Parcel};
use crate::mirror::{Drop, Interval, Tally, Trouble};
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::{InputLogEvent, RejectedLogEventsInfo};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use memchr::memmem;
use std::sync::Arc;

/// Events in a request.
const EVENTS: usize = 10_000;
/// Bytes of a request: those of its events, and [`OVERHEAD`] for each.
const BYTES: usize = 1_048_576;
/// What an event costs besides its bytes.
const OVERHEAD: usize = 26;
/// Seconds between the first and the last event of a request: less than these.
const SPAN: i64 = 86_400;
/// What says that metrics are to be made of events.
const FORMAT: (&str, &str) = ("x-amzn-logs-format", "json/emf");
/// What each metric of an event begins with, and nothing else in it can hold.
const METRIC: &[u8] = b"{\"Name\":";

/// What makes newline-ended events of an interval, and says what became of its points.
pub(super) type Encode<'a> = &'a mut (dyn FnMut(&Interval, &mut Vec<u8>) -> Tally + Send);

/// What names the place of all events, and where it is from.
const SHARED: &[&str] = &["logGroupName", "logStreamName"];
const FLAG: &str = "--mirror.to";

/// CloudWatch Logs as an outlet.
#[derive(Debug)]
pub(super) struct Logs {
    aws: Arc<Aws>,
    group: String,
    stream: String,
    /// For a group that we create.
    retention_days: u16,
    /// Whether we have created the group, and its retention is not set yet.
    retention_due: bool,
    warning: Option<String>,
    right: Right,
    ledger: Ledger,
}

/// How a request ended.
enum Put {
    Taken(Option<RejectedLogEventsInfo>),
    /// The group or the stream is not there.
    Missing,
}

impl Logs {
    /// An outlet into this stream of this group. Nothing is asked for yet.
    pub(super) fn new(aws: Arc<Aws>, group: String, stream: String, retention_days: u16) -> Logs {
        let hint = format!(" on log group {group}");
        let right = Right { action: "logs:PutLogEvents", hint, shared: SHARED, flag: FLAG };
        let (ledger, warning) = (Ledger::default(), None);
        let retention_due = false;
        Logs { aws, group, stream, retention_days, retention_due, warning, right, ledger }
    }

    /// Sends intervals until all are done with or something is in the way. `now` is in seconds since
    /// 1970; an interval is always encoded the same way.
    pub(super) async fn send(
        &mut self,
        batch: Batch<'_>,
        now: i64,
        encode: Encode<'_>,
    ) -> Delivery {
        // One for each batch: connections and credentials are kept below it.
        let client = match self.aws.config().await {
            Ok(config) => Client::new(config),
            Err(trouble) => return Delivery::blocked(trouble),
        };
        let mut delivery = Delivery::default();
        while delivery.settled < batch.len() {
            let mut parcel = Parcel::new(self.fill(&batch[delivery.settled..], now, encode));
            while let Some(events) = parcel.next() {
                let outcome = if events.is_empty() {
                    Ok(())
                } else {
                    let taken = self.request(&client, events).await;
                    taken.map(|rejected| {
                        if let Some(info) = &rejected {
                            parcel.refuse(|at| refused(info, at));
                        }
                    })
                };
                let settled = parcel.settle(outcome, &mut self.ledger, &mut delivery);
                if let Err(trouble) = settled {
                    delivery.trouble = Some(trouble);
                    return delivery;
                }
            }
        }
        delivery
    }

    /// The start of the interval of which a part was sent.
    pub(super) fn open(&self) -> Option<i64> {
        self.ledger.open()
    }

    /// What became already of points of an interval that leaves the queue unsent.
    pub(super) fn abandon(&mut self, start: i64) -> Tally {
        self.ledger.abandon(start)
    }

    /// What the operator should know though events arrive; once.
    pub(super) fn warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    /// One request, after the group and stream are made where they are missing.
    async fn request(
        &mut self,
        client: &Client,
        events: Vec<InputLogEvent>,
    ) -> Result<Option<RejectedLogEventsInfo>, Fault> {
        if self.retention_due {
            self.retain(client).await;
        }
        if let Put::Taken(rejected) = self.put(client, events.clone()).await? {
            return Ok(rejected);
        }
        self.create(client).await?;
        match self.put(client, events).await? {
            Put::Taken(rejected) => Ok(rejected),
            Put::Missing => {
                let words = format!("log group {} and its stream are not there yet", self.group);
                Err(Fault::NotTaken(Trouble::Refused, words))
            }
        }
    }

    async fn put(&self, client: &Client, events: Vec<InputLogEvent>) -> Result<Put, Fault> {
        let begun = Begun::default();
        let request = client.put_log_events().log_group_name(&self.group);
        let request = request.log_stream_name(&self.stream).set_log_events(Some(events));
        let request = request.customize().interceptor(begun.clone()).mutate_request(|request| {
            request.headers_mut().insert(FORMAT.0, FORMAT.1);
        });
        match Box::pin(request.send()).await {
            Ok(answer) => Ok(Put::Taken(answer.rejected_log_events_info)),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(Put::Missing),
            // Of old: the same events have arrived already.
            Err(error) if error.code() == Some("DataAlreadyAcceptedException") => {
                Ok(Put::Taken(None))
            }
            Err(error) => Err(aws::fault(&self.right, &error, &begun)),
        }
    }

    /// Makes the stream, and the group where that is missing, too.
    async fn create(&mut self, client: &Client) -> Result<(), Fault> {
        if self.create_stream(client).await? {
            return Ok(());
        }
        let right = self.right_to("logs:CreateLogGroup", "create it yourself");
        let begun = Begun::default();
        let request = client.create_log_group().log_group_name(&self.group);
        let request = request.customize().interceptor(begun.clone());
        match Box::pin(request.send()).await {
            Ok(_) => {
                self.retention_due = true;
                self.retain(client).await;
            }
            // Another replica was quicker, and sets the retention.
            Err(error) if error.code() == Some("ResourceAlreadyExistsException") => {}
            Err(error) => return Err(may_be_repeated(aws::fault(&right, &error, &begun))),
        }
        if self.create_stream(client).await? {
            return Ok(());
        }
        let words = format!("log group {} is not there yet", self.group);
        Err(Fault::NotTaken(Trouble::Refused, words))
    }

    /// Makes the stream, if its group is there.
    async fn create_stream(&self, client: &Client) -> Result<bool, Fault> {
        let right = self.right_to("logs:CreateLogStream", "create the stream yourself");
        let begun = Begun::default();
        let request = client.create_log_stream().log_group_name(&self.group);
        let request = request.log_stream_name(&self.stream).customize().interceptor(begun.clone());
        match Box::pin(request.send()).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ResourceAlreadyExistsException") => Ok(true),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(false),
            Err(error) => Err(may_be_repeated(aws::fault(&right, &error, &begun))),
        }
    }

    /// Sets the retention of the group that we have created. What is refused is told once, what failed is
    /// tried again; events go on in any case.
    async fn retain(&mut self, client: &Client) {
        let right = self.right_to("logs:PutRetentionPolicy", "set a retention yourself");
        let begun = Begun::default();
        let days = i32::from(self.retention_days);
        let request = client.put_retention_policy().log_group_name(&self.group);
        let request = request.retention_in_days(days).customize().interceptor(begun.clone());
        match Box::pin(request.send()).await {
            Ok(_) => self.retention_due = false,
            Err(error) => match aws::fault(&right, &error, &begun) {
                Fault::NotTaken(Trouble::Forbidden | Trouble::Refused, why)
                | Fault::Invalid(why) => {
                    self.retention_due = false;
                    let group = &self.group;
                    self.warning = Some(format!(
                        "log group {group} was created, but its events never expire: {why}"
                    ));
                }
                Fault::NotTaken(..) | Fault::Unconfirmed(_) => {}
            },
        }
    }

    fn right_to(&self, action: &'static str, otherwise: &str) -> Right {
        let hint = format!(" on log group {}, or {otherwise}", self.group);
        Right { action, hint, shared: SHARED, flag: FLAG }
    }

    /// What fits into one request, in whole intervals unless the first alone is too much. After a request
    /// that was never answered it is one interval, so that a silent side costs no more than that.
    fn fill(&self, batch: Batch<'_>, now: i64, encode: Encode<'_>) -> Vec<Entry<InputLogEvent>> {
        let mut entries = Vec::new();
        let mut lines = Vec::new();
        let (mut events, mut bytes) = (0, 0);
        for interval in batch {
            let far = batch.first().is_some_and(|first| interval.start - first.start >= SPAN);
            let whole = entries.len();
            if far && whole > 0 {
                break;
            }
            let left = encoded(interval, now, &mut lines, encode);
            // One that is too old by now has fewer entries than are done with, and ends all the same.
            let done = self.ledger.done(interval.start).min(left.len().saturating_sub(1));
            for entry in left.into_iter().skip(done) {
                if let Some((event, _)) = &entry.content {
                    (events, bytes) = (events + 1, bytes + event.message.len() + OVERHEAD);
                    // One that is too large alone is not among them.
                    if events > EVENTS || bytes > BYTES {
                        if whole > 0 {
                            entries.truncate(whole);
                        }
                        return entries;
                    }
                }
                entries.push(entry);
            }
            if self.ledger.doubtful {
                break;
            }
        }
        entries
    }
}

/// The entries of an interval: first what is not sent, then the events.
fn encoded(
    interval: &Interval,
    now: i64,
    lines: &mut Vec<u8>,
    encode: Encode<'_>,
) -> Vec<Entry<InputLogEvent>> {
    let start = interval.start;
    if start < now.saturating_sub(limits::OLDEST_SECONDS) {
        let points = interval.points() as u64;
        return vec![Entry { last: true, ..Entry::dropped(start, Drop::TooOld, points) }];
    }
    lines.clear();
    let tally = encode(interval, lines);
    let mut left = tally.sent;
    let mut entries = vec![Entry::known(start, Tally { sent: 0, ..tally })];
    let mut events = lines.split(|&b| b == b'\n').filter(|line| !line.is_empty()).peekable();
    while let Some(line) = events.next() {
        // All that the encoder counts is in some event.
        let metrics = memmem::find_iter(line, METRIC).count() as u64;
        let points = if events.peek().is_some() { metrics.min(left) } else { left };
        left -= points;
        let message = String::from_utf8_lossy(line);
        let event = InputLogEvent::builder().timestamp(start * 1000).message(message);
        entries.push(match event.build() {
            Ok(event) if line.len() + OVERHEAD <= BYTES => Entry::content(start, event, points),
            _ => Entry::dropped(start, Drop::TooLarge, points),
        });
    }
    if let Some(last) = entries.last_mut() {
        last.last = true;
    }
    entries
}

/// What became of an event in an accepted request.
fn refused(info: &RejectedLogEventsInfo, at: usize) -> Option<Drop> {
    let at = i32::try_from(at).unwrap_or(i32::MAX);
    let before = |end: Option<i32>| end.is_some_and(|end| at < end);
    if before(info.too_old_log_event_end_index) || before(info.expired_log_event_end_index) {
        Some(Drop::TooOld)
    } else if info.too_new_log_event_start_index.is_some_and(|begin| at >= begin) {
        Some(Drop::Rejected)
    } else {
        None
    }
}

/// The fault of a call that does no harm when it is made twice, and carries no points.
fn may_be_repeated(fault: Fault) -> Fault {
    match fault {
        Fault::Unconfirmed(why) => Fault::NotTaken(Trouble::Unreachable, why),
        Fault::Invalid(why) => Fault::NotTaken(Trouble::Refused, why),
        Fault::NotTaken(..) => fault,
    }
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
