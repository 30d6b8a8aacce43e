//! PutMetricData. Comes in: intervals, oldest first, and the cluster's name. Goes out: requests of at
//! most 1,000 data and 1 MB, compressed by the SDK, and what became of each interval. What CloudWatch
//! would refuse is dropped here and counted, so that it takes no request along. Never: a datum sent
//! twice, a request tried again by itself.

use super::aws::{self, Aws, Begun, Right};
use super::delivery::{Batch, Delivery};
use super::parcel::{Entry, Fault, Ledger, Parcel};
use super::{distribution, limits};
use crate::mirror::{Drop, Group, Interval, Point, Tally, Unit, Value};
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use aws_smithy_types::DateTime;
use std::sync::Arc;

/// More than the bytes of a request without its data, and without its namespace.
const ENVELOPE: usize = 64;
/// The bytes of a number as the SDK writes it.
const NUMBER: usize = 9;

/// PutMetricData as an outlet.
#[derive(Debug)]
pub(super) struct Put {
    aws: Arc<Aws>,
    namespace: String,
    /// The one that holds the cluster's name.
    dimension: &'static str,
    right: Right,
    ledger: Ledger,
}

impl Put {
    /// An outlet into this namespace. Nothing is asked for yet.
    pub(super) fn new(aws: Arc<Aws>, namespace: String, dimension: &'static str) -> Put {
        let hint = format!(
            " (and {namespace:?}, which is --mirror.namespace, where the policy has a condition on \
             cloudwatch:namespace)"
        );
        let flag = "--mirror.namespace";
        let right =
            Right { action: "cloudwatch:PutMetricData", hint, shared: &["Namespace"], flag };
        Put { aws, namespace, dimension, right, ledger: Ledger::default() }
    }

    /// Sends intervals until all are done with or something is in the way. `now` is in seconds since
    /// 1970.
    pub(super) async fn send(&mut self, batch: Batch<'_>, cluster: &str, now: i64) -> Delivery {
        // One for each batch: connections and credentials are kept below it.
        let client = match self.aws.config().await {
            Ok(config) => Client::new(config),
            Err(trouble) => return Delivery::blocked(trouble),
        };
        let mut delivery = Delivery::default();
        while delivery.settled < batch.len() {
            let mut parcel = Parcel::new(self.fill(&batch[delivery.settled..], cluster, now));
            while let Some(data) = parcel.next() {
                let outcome =
                    if data.is_empty() { Ok(()) } else { self.request(&client, data).await };
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

    async fn request(&self, client: &Client, data: Vec<MetricDatum>) -> Result<(), Fault> {
        let begun = Begun::default();
        let request = client.put_metric_data().namespace(&self.namespace);
        let request = request.set_metric_data(Some(data)).customize().interceptor(begun.clone());
        match Box::pin(request.send()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(aws::fault(&self.right, &error, &begun)),
        }
    }

    /// What fits into one request, in whole intervals unless the first alone is too much. After a request
    /// that was never answered it is one interval, so that a silent side costs no more than that.
    fn fill(&self, batch: Batch<'_>, cluster: &str, now: i64) -> Vec<Entry<MetricDatum>> {
        let mut entries = Vec::new();
        let (mut data, mut bytes) = (0, ENVELOPE + self.namespace.len());
        for interval in batch {
            let whole = entries.len();
            for entry in self.entries(interval, cluster, now) {
                if let Some((datum, _)) = &entry.content {
                    (data, bytes) = (data + 1, bytes + size(datum));
                    // The first goes in any case: no datum can be so large alone.
                    let full = data > limits::PUT_METRICS || bytes > limits::PUT_BYTES;
                    if full && !entries.is_empty() {
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

    /// What is left of an interval.
    fn entries<'a>(
        &self,
        interval: &'a Interval,
        cluster: &'a str,
        now: i64,
    ) -> impl Iterator<Item = Entry<MetricDatum>> + use<'a> {
        let start = interval.start;
        let (done, dimension) = (self.ledger.done(start), self.dimension);
        let too_old = start < now.saturating_sub(limits::OLDEST_SECONDS);
        let points = interval.groups.iter().flat_map(move |group| {
            let dimensions =
                if too_old { Err(Drop::TooOld) } else { dimensions(group, (dimension, cluster)) };
            group.points.iter().map(move |point| {
                let dimensions = dimensions.as_ref().map_err(|reason| *reason)?;
                datum(point, dimensions, start)
            })
        });
        let entries = points.map(move |datum| match datum {
            Ok(datum) => Entry::content(start, datum, 1),
            Err(reason) => Entry::dropped(start, reason, 1),
        });
        let last = interval.points().saturating_sub(1);
        // One that says nothing has to end, too.
        let nothing = (interval.points() == 0).then(|| Entry::known(start, Tally::default()));
        let entries = entries.chain(nothing).enumerate().skip(done);
        entries.map(move |(at, entry)| Entry { last: at == last, ..entry })
    }
}

/// The cluster's dimension and the group's own.
fn dimensions(group: &Group, cluster: (&str, &str)) -> Result<Vec<Dimension>, Drop> {
    let own = group.dimensions.iter().map(|(name, value)| (&**name, &**value));
    let mut dimensions: Vec<Dimension> = Vec::with_capacity(1 + group.dimensions.len());
    for (name, value) in std::iter::once(cluster).chain(own) {
        let name = limits::name(name).map_err(|_| Drop::Dimension)?;
        if dimensions.iter().any(|other| other.name() == Some(name)) {
            return Err(Drop::Dimension);
        }
        let value = limits::dimension(value);
        dimensions.push(Dimension::builder().name(name).value(value).build());
    }
    if dimensions.len() <= limits::DIMENSIONS { Ok(dimensions) } else { Err(Drop::Dimension) }
}

fn datum(point: &Point, dimensions: &[Dimension], start: i64) -> Result<MetricDatum, Drop> {
    let datum = MetricDatum::builder()
        .metric_name(limits::name(&point.name)?)
        .set_dimensions(Some(dimensions.to_vec()))
        .timestamp(DateTime::from_secs(start))
        .unit(unit(point.unit));
    match &point.value {
        Value::Number(number) => Ok(datum.value(limits::number(*number)?).build()),
        Value::Distribution(values) => {
            distribution::check(values)?;
            let fitted = distribution::fit(values, limits::PUT_VALUES);
            let counts = fitted.counts.iter().map(|&n| f64::from(n)).collect();
            Ok(datum.set_values(Some(fitted.values.to_vec())).set_counts(Some(counts)).build())
        }
    }
}

fn unit(unit: Unit) -> StandardUnit {
    match unit {
        Unit::Count => StandardUnit::Count,
        Unit::Seconds => StandardUnit::Seconds,
        Unit::Milliseconds => StandardUnit::Milliseconds,
        Unit::Percent => StandardUnit::Percent,
        Unit::Bytes => StandardUnit::Bytes,
        Unit::None => StandardUnit::None,
    }
}

/// The bytes of a datum before compression, or a few more.
fn size(datum: &MetricDatum) -> usize {
    // Each length takes at most 3 bytes, as no string is longer than 64 KiB.
    let text = |text: &str| 3 + text.len();
    let named = |name: &str, content: usize| text(name) + content;
    let numbers = |numbers: &[f64]| 3 + NUMBER * numbers.len();
    let dimensions: usize = datum
        .dimensions()
        .iter()
        .map(|d| {
            2 + named("Name", text(d.name().unwrap_or_default()))
                + named("Value", text(d.value().unwrap_or_default()))
        })
        .sum();
    let mut size = 2 + named("MetricName", text(datum.metric_name().unwrap_or_default()));
    size += named("Dimensions", 3 + dimensions) + named("Timestamp", 1 + NUMBER);
    size += named("Unit", text(datum.unit().map_or("", StandardUnit::as_str)));
    if datum.value().is_some() {
        size += named("Value", NUMBER);
    } else {
        size += named("Values", numbers(datum.values())) + named("Counts", numbers(datum.counts()));
    }
    size
}

#[cfg(test)]
#[path = "put_tests.rs"]
mod tests;
