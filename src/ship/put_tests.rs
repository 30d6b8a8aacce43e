//! What PutMetricData is asked, and what becomes of points when it does not answer as it should.

use super::*;
use crate::mirror::{Distribution, Trouble};
use crate::ship::double_tests::{Double, Reply, Request, config, member};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use ciborium::Value as Cbor;
use std::time::Duration;

const NOW: i64 = 1_800_000_000;
const MINUTE: i64 = 60;

fn point(name: String, value: f64) -> Point {
    Point { name: name.into(), unit: Unit::Count, value: Value::Number(value) }
}

/// An interval with so many points in one group, named by their place.
fn interval(minute: i64, points: usize) -> Arc<Interval> {
    let points = (0..points).map(|n| point(format!("m{minute}_{n}"), n as f64)).collect();
    let groups = vec![Group { dimensions: Box::new([]), points }];
    Arc::new(Interval { start: NOW + minute * MINUTE, groups })
}

async fn outlet(answer: impl FnMut(usize, &Request) -> Reply + Send + 'static) -> (Double, Put) {
    let double = Double::start(answer).await;
    let put = Put::new(double.aws(), "Kubernetes".to_owned(), "CLUSTER_ID");
    (double, put)
}

async fn send(put: &mut Put, batch: &[Arc<Interval>]) -> Delivery {
    put.send(batch, "prod", NOW + 3600).await
}

fn trouble(delivery: &Delivery) -> Option<Trouble> {
    delivery.trouble.as_ref().map(|(trouble, _)| *trouble)
}

fn ok(_: usize, _: &Request) -> Reply {
    Reply::Answer(200, "")
}

fn numbers(values: &Cbor) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|n| n.as_float().unwrap()).collect()
}

#[tokio::test]
async fn a_point_is_sent_with_its_cluster_its_dimensions_its_unit_and_its_minute() {
    let (double, mut put) = outlet(ok).await;
    let spread = Distribution { values: Box::new([1.5, 4.0]), counts: Box::new([2, 7]) };
    let spread = Value::Distribution(spread);
    let spread = Point { name: "spread".into(), unit: Unit::Milliseconds, value: spread };
    let groups = vec![Group {
        dimensions: Box::new([("Error".into(), Arc::from("\u{e4}"))]),
        points: vec![point("plain".to_owned(), 3.0), spread],
    }];
    let delivery = send(&mut put, &[Arc::new(Interval { start: NOW, groups })]).await;
    assert_eq!(trouble(&delivery), None);
    assert_eq!((delivery.settled, delivery.tally.sent), (1, 2));
    let requests = double.take();
    assert_eq!(requests.len(), 1);
    let path = "POST /service/GraniteServiceVersion20100801/operation/PutMetricData";
    assert_eq!(requests[0].line, path);
    let body: Cbor = ciborium::from_reader(&requests[0].body[..]).unwrap();
    assert_eq!(member(&body, "Namespace"), &Cbor::from("Kubernetes"));
    let data = requests[0].data();
    assert_eq!(requests[0].names(), ["plain", "spread"]);
    let text = |cbor: &Cbor| cbor.as_text().unwrap().to_owned();
    for datum in &data {
        let dimensions = member(datum, "Dimensions").as_array().unwrap().iter();
        let pairs: Vec<_> =
            dimensions.map(|d| (text(member(d, "Name")), text(member(d, "Value")))).collect();
        assert_eq!(pairs, [("CLUSTER_ID".into(), "prod".into()), ("Error".into(), "?".into())]);
        let Cbor::Tag(1, moment) = member(datum, "Timestamp") else { panic!("{datum:?}") };
        let moment = moment
            .as_float()
            .unwrap_or_else(|| i64::try_from(moment.as_integer().unwrap()).unwrap() as f64);
        assert_eq!(moment, NOW as f64);
        let resolution =
            datum.as_map().unwrap().iter().any(|(name, _)| text(name) == "StorageResolution");
        assert!(!resolution, "60 is the default, and anything else costs more");
    }
    assert_eq!(member(&data[0], "Value"), &Cbor::Float(3.0));
    assert_eq!(member(&data[0], "Unit"), &Cbor::from("Count"));
    assert_eq!(numbers(member(&data[1], "Values")), [1.5, 4.0]);
    assert_eq!(numbers(member(&data[1], "Counts")), [2.0, 7.0]);
    assert_eq!(member(&data[1], "Unit"), &Cbor::from("Milliseconds"));
}

#[tokio::test]
async fn whole_intervals_go_together_and_only_a_large_one_is_split() {
    let (double, mut put) = outlet(ok).await;
    let batch = [400, 400, 400, 1500, 10].map(|n| interval(n as i64 % 7, n));
    // They are told apart by their minutes.
    let batch: Vec<_> = (0..).zip(&batch).map(|(n, i)| interval(n, i.points())).collect();
    let delivery = send(&mut put, &batch).await;
    assert_eq!(trouble(&delivery), None);
    assert_eq!((delivery.settled, delivery.tally.sent), (5, 2710));
    let requests = double.take();
    let sizes: Vec<usize> = requests.iter().map(|r| r.data().len()).collect();
    assert_eq!(sizes, [800, 400, 1000, 510]);
    for request in &requests {
        assert_eq!(request.header("content-encoding"), Some("gzip"));
        assert!(request.bytes < request.body.len() / 4);
    }
}

#[tokio::test]
async fn a_request_has_at_most_a_megabyte_and_uses_it() {
    let (double, mut put) = outlet(ok).await;
    let values: Box<[f64]> = (0..400).map(|n| f64::from(n) * 1.25).collect();
    let spread =
        Value::Distribution(Distribution { counts: values.iter().map(|_| 3).collect(), values });
    let points = (0..900).map(|n| Point {
        name: format!("spread{n}").into(),
        unit: Unit::None,
        value: spread.clone(),
    });
    let groups = vec![Group { dimensions: Box::new([]), points: points.collect() }];
    let delivery = send(&mut put, &[Arc::new(Interval { start: NOW, groups })]).await;
    assert_eq!((delivery.settled, delivery.tally.sent), (1, 900));
    let requests = double.take();
    let (last, full) = requests.split_last().unwrap();
    assert!(!full.is_empty() && last.body.len() <= limits::PUT_BYTES);
    for request in full {
        assert!(request.body.len() <= limits::PUT_BYTES, "{}", request.body.len());
        assert!(request.body.len() > limits::PUT_BYTES * 95 / 100, "{}", request.body.len());
    }
    for datum in requests.iter().flat_map(Request::data) {
        let (values, counts) =
            (numbers(member(&datum, "Values")), numbers(member(&datum, "Counts")));
        assert!(values.len() <= 150 && values.len() == counts.len());
        assert_eq!((values[0], values[values.len() - 1]), (0.0, 498.75));
        assert_eq!(counts.iter().sum::<f64>(), 1200.0);
    }
}

#[tokio::test]
async fn what_cloudwatch_would_refuse_is_counted_and_takes_nothing_along() {
    let (double, mut put) = outlet(ok).await;
    let group = |dimensions: &[(&'static str, &str)], points| Group {
        dimensions: dimensions.iter().map(|(n, v)| ((*n).into(), Arc::from(*v))).collect(),
        points,
    };
    let nothing = Value::Distribution(Distribution::default());
    let nothing = Point { name: "nothing".into(), unit: Unit::None, value: nothing };
    let groups = vec![
        group(&[], vec![point("good".into(), 1.0), point("nan".into(), f64::NAN), nothing]),
        group(
            &[("Zone", "a")],
            vec![point("\u{e4}".into(), 1.0), point("inf".into(), f64::INFINITY)],
        ),
        group(&[(":bad", "a")], vec![point("x".into(), 1.0), point("y".into(), 1.0)]),
        group(&[("CLUSTER_ID", "other")], vec![point("z".into(), 1.0)]),
    ];
    let new = Arc::new(Interval { start: NOW, groups });
    let mut old = Interval::clone(&interval(0, 4));
    old.start = NOW + 3600 - limits::OLDEST_SECONDS - 1;
    let empty = Arc::new(Interval { start: NOW + 60, groups: Vec::new() });
    let delivery = send(&mut put, &[Arc::new(old), new, empty]).await;
    assert_eq!((delivery.settled, delivery.tally.sent, trouble(&delivery)), (3, 1, None));
    let dropped = |reason| delivery.tally.dropped[reason as usize];
    assert_eq!(dropped(Drop::Value), 3);
    assert_eq!(dropped(Drop::Name), 1);
    assert_eq!(dropped(Drop::Dimension), 3);
    assert_eq!(dropped(Drop::TooOld), 4);
    let requests = double.take();
    assert_eq!(requests.iter().map(Request::names).collect::<Vec<_>>(), [["good"]]);
}

#[tokio::test]
async fn what_is_refused_or_never_sent_stays_and_arrives_once_later() {
    for (reply, wanted) in [
        (Reply::Answer(400, "ThrottlingException"), Trouble::Throttled),
        (Reply::Answer(429, ""), Trouble::Throttled),
        (Reply::Answer(500, "InternalServiceError"), Trouble::Server),
        (Reply::Answer(503, "ServiceUnavailable"), Trouble::Server),
        (Reply::Raw(503, "", "<html>busy</html>".to_owned()), Trouble::Server),
        (Reply::Half(503), Trouble::Server),
        (Reply::Answer(403, "AccessDenied"), Trouble::Forbidden),
        (Reply::Answer(400, "ExpiredTokenException"), Trouble::Credentials),
        (Reply::Raw(404, "", "<html></html>".to_owned()), Trouble::Refused),
    ] {
        let (double, mut put) = {
            let reply = reply.clone();
            outlet(move |n, _| if n == 0 { reply.clone() } else { Reply::Answer(200, "") }).await
        };
        let batch = [interval(0, 3), interval(1, 3)];
        let delivery = send(&mut put, &batch).await;
        assert_eq!(trouble(&delivery), Some(wanted), "{reply:?}");
        assert_eq!((delivery.settled, delivery.tally), (0, Tally::default()), "{reply:?}");
        assert_eq!(double.take().len(), 1, "{reply:?}: no try of the SDK's own");
        if wanted == Trouble::Forbidden {
            let (_, why) = delivery.trouble.unwrap();
            assert!(why.starts_with("allow cloudwatch:PutMetricData"), "{why}");
            assert!(why.contains("cloudwatch:namespace") && why.contains("Kubernetes"), "{why}");
        }
    }
}

#[tokio::test]
async fn nobody_listening_is_no_loss() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut put = Put::new(Arc::new(Aws::fixed(config(address))), "N".to_owned(), "CLUSTER_ID");
    let delivery = send(&mut put, &[interval(0, 3)]).await;
    assert_eq!(trouble(&delivery), Some(Trouble::Unreachable));
    assert_eq!((delivery.settled, delivery.tally), (0, Tally::default()));
}

#[tokio::test]
async fn what_may_have_arrived_is_not_sent_again() {
    let replies = [Reply::Cut, Reply::Half(200), Reply::Hang, Reply::Answer(504, "")];
    for reply in replies {
        let (double, mut put) = {
            let reply = reply.clone();
            outlet(move |n, _| if n == 0 { reply.clone() } else { Reply::Answer(200, "") }).await
        };
        let batch = [interval(0, 600), interval(1, 600)];
        let first = send(&mut put, &batch).await;
        assert_eq!(trouble(&first), Some(Trouble::Unreachable), "{reply:?}");
        assert_eq!((first.settled, first.tally.unconfirmed, first.tally.sent), (1, 600, 0));
        let second = send(&mut put, &batch[first.settled..]).await;
        assert_eq!((second.settled, second.tally.sent, trouble(&second)), (1, 600, None));
        let names: Vec<_> = double.take().iter().map(|r| r.names()[0].clone()).collect();
        assert_eq!(names, ["m0_0", "m1_0"], "{reply:?}");
    }
}

#[tokio::test]
async fn a_side_that_stays_silent_costs_one_interval_a_try() {
    let (double, mut put) =
        outlet(|n, _| if n < 2 { Reply::Cut } else { Reply::Answer(200, "") }).await;
    let batch: Vec<_> = (0..8).map(|minute| interval(minute, 10)).collect();
    assert_eq!(send(&mut put, &batch).await.settled, 8);
    assert_eq!(send(&mut put, &batch).await.settled, 1);
    assert_eq!(send(&mut put, &batch[1..]).await.settled, 7);
    let sizes: Vec<_> = double.take().iter().map(|r| r.data().len()).collect();
    assert_eq!(sizes, [80, 10, 10, 60]);
}

#[tokio::test]
async fn of_a_split_interval_only_the_rest_is_sent_again() {
    let throttled = |n: usize, _: &Request| match n {
        1 => Reply::Answer(400, "ThrottlingException"),
        _ => Reply::Answer(200, ""),
    };
    let (double, mut put) = outlet(throttled).await;
    let batch = [interval(0, 1500), interval(1, 5)];
    let first = send(&mut put, &batch).await;
    assert_eq!((first.settled, first.tally), (0, Tally::default()));
    assert_eq!(trouble(&first), Some(Trouble::Throttled));
    let second = send(&mut put, &batch).await;
    assert_eq!((second.settled, second.tally.sent, trouble(&second)), (2, 1505, None));
    let requests = double.take();
    let sizes: Vec<_> = requests.iter().map(|r| r.data().len()).collect();
    assert_eq!(sizes, [1000, 505, 505]);
    assert_eq!(requests[2].names()[0], "m0_1000");
    assert_eq!(put.abandon(NOW), Tally::default());
}

#[tokio::test]
async fn a_datum_that_is_refused_goes_alone() {
    let picky = |_: usize, request: &Request| {
        let bad = request.names().iter().any(|name| name == "m1_7");
        if bad { Reply::Answer(400, "InvalidParameterValue") } else { Reply::Answer(200, "") }
    };
    let (double, mut put) = outlet(picky).await;
    let batch = [interval(0, 20), interval(1, 20), interval(2, 20)];
    let delivery = send(&mut put, &batch).await;
    assert_eq!((delivery.settled, delivery.tally.sent, trouble(&delivery)), (3, 59, None));
    assert_eq!(delivery.tally.dropped[Drop::Rejected as usize], 1);
    // Each of the others arrived once.
    let requests = double.take();
    let accepted = requests.iter().map(Request::names).filter(|n| !n.contains(&"m1_7".to_owned()));
    let mut names: Vec<_> = accepted.flatten().collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!((names.len(), all), (59, 59));
}

#[tokio::test]
async fn where_everything_is_refused_the_outlet_says_so_and_asks_no_thousand_times() {
    let (double, mut put) = outlet(|_, _| Reply::Answer(400, "InvalidParameterValue")).await;
    let delivery = send(&mut put, &[interval(0, 1000)]).await;
    assert_eq!((delivery.settled, trouble(&delivery)), (0, Some(Trouble::Refused)));
    assert!(double.take().len() < 40);
}

/// Credentials that never come.
#[derive(Debug)]
struct Never;

impl ProvideCredentials for Never {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(std::future::pending())
    }
}

#[tokio::test]
async fn credentials_that_do_not_come_are_no_loss() {
    let double = Double::start(ok).await;
    let cache = aws_config::identity::IdentityCache::lazy();
    let config = config(double.address)
        .into_builder()
        .credentials_provider(SharedCredentialsProvider::new(Never))
        .identity_cache(cache.load_timeout(Duration::from_millis(50)).build())
        .build();
    let mut put = Put::new(Arc::new(Aws::fixed(config)), "N".to_owned(), "CLUSTER_ID");
    let delivery = send(&mut put, &[interval(0, 3)]).await;
    assert_eq!(trouble(&delivery), Some(Trouble::Credentials), "{:?}", delivery.trouble);
    assert_eq!((delivery.settled, delivery.tally), (0, Tally::default()));
    assert_eq!(double.take().len(), 0);
}
