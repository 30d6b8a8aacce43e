//! What CloudWatch Logs is asked, and what becomes of points when it does not answer as it should.

use super::*;
use crate::mirror::{Group, Point, Unit, Value};
use crate::ship::double_tests::{Double, Reply, Request};
use serde_json::json;

const NOW: i64 = 1_800_000_000;

/// An interval with so many events, of two points each.
fn interval(start: i64, events: usize) -> Arc<Interval> {
    let point = |n: usize| Point {
        name: format!("m{n}").into(),
        unit: Unit::Count,
        value: Value::Number(1.0),
    };
    let points = (0..2 * events).map(point).collect();
    Arc::new(Interval { start, groups: vec![Group { dimensions: Box::new([]), points }] })
}

/// Two points an event, as metrics of a line that is padded to at least this length.
fn encode(padding: usize) -> impl FnMut(&Interval, &mut Vec<u8>) -> Tally + Send {
    move |interval, out| {
        for n in 0..interval.points() / 2 {
            let pad = "x".repeat(padding);
            let line = format!(
                "{{\"_aws\":{{\"Timestamp\":{},\"Metrics\":[{{\"Name\":\"a\"}},{{\"Name\":\"b\"}}]}},\
                 \"n\":{n},\"pad\":\"{pad}\"}}\n",
                interval.start * 1000
            );
            out.extend_from_slice(line.as_bytes());
        }
        Tally { sent: interval.points() as u64, ..Tally::default() }
    }
}

async fn outlet(answer: impl FnMut(usize, &Request) -> Reply + Send + 'static) -> (Double, Logs) {
    let double = Double::start(answer).await;
    let logs = Logs::new(double.aws(), "/cni/prod".to_owned(), "one".to_owned(), 14);
    (double, logs)
}

fn trouble(delivery: &Delivery) -> Option<Trouble> {
    delivery.trouble.as_ref().map(|(trouble, _)| *trouble)
}

fn ok(_: usize, _: &Request) -> Reply {
    Reply::Answer(200, "")
}

fn operations(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(Request::operation).collect()
}

#[tokio::test]
async fn events_go_out_in_order_with_their_minute_and_the_header_that_makes_metrics() {
    let (double, mut logs) = outlet(ok).await;
    let batch = [interval(NOW, 2), interval(NOW + 60, 1)];
    let delivery = logs.send(&batch, NOW + 90, &mut encode(0)).await;
    assert_eq!((delivery.settled, delivery.tally.sent, trouble(&delivery)), (2, 6, None));
    let requests = double.take();
    assert_eq!(operations(&requests), ["putlogevents"]);
    assert_eq!(requests[0].header("x-amzn-logs-format"), Some("json/emf"));
    assert!(requests[0].header("authorization").unwrap().contains("x-amzn-logs-format"));
    let body = requests[0].json();
    assert_eq!(
        (&body["logGroupName"], &body["logStreamName"]),
        (&json!("/cni/prod"), &json!("one"))
    );
    let events = body["logEvents"].as_array().unwrap();
    let moments: Vec<_> = events.iter().map(|e| e["timestamp"].as_i64().unwrap()).collect();
    assert_eq!(moments, [NOW * 1000, NOW * 1000, (NOW + 60) * 1000]);
    let event: serde_json::Value =
        serde_json::from_str(events[1]["message"].as_str().unwrap()).unwrap();
    assert_eq!(event["n"], 1);
}

/// A side without the group, which says so until it is made.
fn empty(retention: Reply) -> impl FnMut(usize, &Request) -> Reply + Send + 'static {
    let (mut group, mut stream) = (false, false);
    move |_, request| match request.operation() {
        "createloggroup" => {
            group = true;
            Reply::Answer(200, "")
        }
        "createlogstream" if group => {
            stream = true;
            Reply::Answer(200, "")
        }
        "putlogevents" if stream => Reply::Answer(200, ""),
        "putretentionpolicy" => retention.clone(),
        _ => Reply::Answer(400, "ResourceNotFoundException"),
    }
}

const MADE: [&str; 6] = [
    "putlogevents",
    "createlogstream",
    "createloggroup",
    "putretentionpolicy",
    "createlogstream",
    "putlogevents",
];

#[tokio::test]
async fn a_missing_group_and_its_stream_are_made_and_the_group_forgets_in_time() {
    let (double, mut logs) = outlet(empty(Reply::Answer(200, ""))).await;
    let delivery = logs.send(&[interval(NOW, 2)], NOW, &mut encode(0)).await;
    assert_eq!((delivery.settled, delivery.tally.sent, trouble(&delivery)), (1, 4, None));
    let requests = double.take();
    assert_eq!(operations(&requests), MADE);
    assert_eq!(requests[3].json()["retentionInDays"], 14);
    assert_eq!(logs.warning(), None);
}

#[tokio::test]
async fn a_retention_that_is_refused_is_told_once_and_one_that_fails_is_set_later() {
    let (double, mut logs) = outlet(empty(Reply::Answer(400, "AccessDeniedException"))).await;
    let delivery = logs.send(&[interval(NOW, 1)], NOW, &mut encode(0)).await;
    assert_eq!((delivery.settled, trouble(&delivery)), (1, None));
    let warning = logs.warning().unwrap();
    assert!(warning.contains("allow logs:PutRetentionPolicy on log group /cni/prod"), "{warning}");
    assert_eq!(logs.warning(), None);
    logs.send(&[interval(NOW, 1)], NOW, &mut encode(0)).await;
    assert_eq!(operations(&double.take())[MADE.len()..], ["putlogevents"]);

    let (double, mut logs) = outlet(empty(Reply::Answer(503, "ServiceUnavailableException"))).await;
    logs.send(&[interval(NOW, 1)], NOW, &mut encode(0)).await;
    logs.send(&[interval(NOW, 1)], NOW, &mut encode(0)).await;
    let requests = double.take();
    assert_eq!(operations(&requests)[MADE.len()..], ["putretentionpolicy", "putlogevents"]);
    assert_eq!(logs.warning(), None);
}

#[tokio::test]
async fn a_group_that_is_there_keeps_its_retention() {
    let mut stream = false;
    let answer = move |_: usize, request: &Request| match request.operation() {
        "createlogstream" => {
            stream = true;
            Reply::Answer(200, "")
        }
        "putlogevents" if stream => Reply::Answer(200, ""),
        _ => Reply::Answer(400, "ResourceNotFoundException"),
    };
    let (double, mut logs) = outlet(answer).await;
    assert_eq!(logs.send(&[interval(NOW, 1)], NOW, &mut encode(0)).await.settled, 1);
    assert_eq!(operations(&double.take()), ["putlogevents", "createlogstream", "putlogevents"]);
}

#[tokio::test]
async fn where_no_group_may_be_made_the_right_is_named_and_nothing_is_lost() {
    let answer = |_: usize, request: &Request| match request.operation() {
        "createloggroup" => Reply::Answer(400, "AccessDeniedException"),
        _ => Reply::Answer(400, "ResourceNotFoundException"),
    };
    let (_double, mut logs) = outlet(answer).await;
    let delivery = logs.send(&[interval(NOW, 1)], NOW, &mut encode(0)).await;
    assert_eq!((delivery.settled, delivery.tally), (0, Tally::default()));
    let (trouble, why) = delivery.trouble.unwrap();
    assert_eq!(trouble, Trouble::Forbidden);
    let wanted = "allow logs:CreateLogGroup on log group /cni/prod, or create it yourself";
    assert!(why.starts_with(wanted), "{why}");
}

#[tokio::test]
async fn batches_are_legal_in_bytes_number_and_span() {
    let (double, mut logs) = outlet(ok).await;
    // Three of these fill a request; a whole interval stays together.
    let large = [interval(NOW, 2), interval(NOW + 60, 2), interval(NOW + 120, 4)];
    let delivery = logs.send(&large, NOW + 200, &mut encode(340_000)).await;
    assert_eq!((delivery.settled, delivery.tally.sent), (3, 16));
    let sizes = |requests: &[Request]| -> Vec<usize> {
        let events = requests.iter().map(|r| r.json()["logEvents"].as_array().unwrap().clone());
        let events = events.inspect(|events| {
            let bytes = events.iter().map(|e| e["message"].as_str().unwrap().len() + OVERHEAD);
            assert!(bytes.sum::<usize>() <= BYTES);
        });
        events.map(|events| events.len()).collect()
    };
    assert_eq!(sizes(&double.take()), [2, 2, 3, 1]);
    let many = [interval(NOW, 6000), interval(NOW + 60, 6000)];
    assert_eq!(logs.send(&many, NOW + 200, &mut encode(0)).await.settled, 2);
    assert_eq!(sizes(&double.take()), [6000, 6000]);
    let far = [interval(NOW - 86_400, 1), interval(NOW - 60, 1), interval(NOW, 1)];
    assert_eq!(logs.send(&far, NOW + 200, &mut encode(0)).await.settled, 3);
    assert_eq!(sizes(&double.take()), [2, 1]);
}

#[tokio::test]
async fn what_is_too_old_or_too_large_is_not_sent() {
    let (double, mut logs) = outlet(ok).await;
    let batch = [interval(NOW - limits::OLDEST_SECONDS - 1, 3), interval(NOW, 1)];
    let delivery = logs.send(&batch, NOW, &mut encode(BYTES)).await;
    assert_eq!((delivery.settled, delivery.tally.sent, trouble(&delivery)), (2, 0, None));
    assert_eq!(delivery.tally.dropped[Drop::TooOld as usize], 6);
    assert_eq!(delivery.tally.dropped[Drop::TooLarge as usize], 2);
    assert_eq!(double.take().len(), 0);
}

#[tokio::test]
async fn events_that_logs_rejects_are_counted_by_reason() {
    let info = json!({ "rejectedLogEventsInfo":
        { "tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2, "tooNewLogEventStartIndex": 4 } });
    let body = info.to_string();
    let answer = move |_: usize, _: &Request| {
        Reply::Raw(200, "content-type: application/x-amz-json-1.1\r\n", body.clone())
    };
    let (_double, mut logs) = outlet(answer).await;
    let delivery = logs.send(&[interval(NOW, 5)], NOW, &mut encode(0)).await;
    assert_eq!((delivery.settled, delivery.tally.sent, trouble(&delivery)), (1, 4, None));
    assert_eq!(delivery.tally.dropped[Drop::TooOld as usize], 4);
    assert_eq!(delivery.tally.dropped[Drop::Rejected as usize], 2);
}

#[tokio::test]
async fn what_the_encoder_refuses_is_counted_once_though_its_interval_is_tried_twice() {
    let busy = |n: usize, _: &Request| match n {
        0 => Reply::Answer(400, "ThrottlingException"),
        _ => Reply::Answer(200, ""),
    };
    let (_double, mut logs) = outlet(busy).await;
    let mut plain = encode(0);
    let mut refusing = |interval: &Interval, out: &mut Vec<u8>| {
        let mut tally = plain(interval, out);
        tally.drop(Drop::Collision, 3);
        tally
    };
    let first = logs.send(&[interval(NOW, 1)], NOW, &mut refusing).await;
    assert_eq!(
        (first.settled, first.tally, trouble(&first)),
        (0, Tally::default(), Some(Trouble::Throttled))
    );
    let second = logs.send(&[interval(NOW, 1)], NOW, &mut refusing).await;
    assert_eq!((second.settled, second.tally.sent), (1, 2));
    assert_eq!(second.tally.dropped[Drop::Collision as usize], 3);
}

#[tokio::test]
async fn what_may_have_arrived_is_not_sent_again() {
    for reply in [Reply::Cut, Reply::Half(200)] {
        let first = reply.clone();
        let answer =
            move |n, _: &Request| if n == 0 { first.clone() } else { Reply::Answer(200, "") };
        let (double, mut logs) = outlet(answer).await;
        let delivery = logs.send(&[interval(NOW, 2)], NOW, &mut encode(0)).await;
        assert_eq!(trouble(&delivery), Some(Trouble::Unreachable), "{reply:?}");
        assert_eq!((delivery.settled, delivery.tally.unconfirmed), (1, 4), "{reply:?}");
        assert_eq!(double.take().len(), 1, "{reply:?}");
    }
}
