//! A group of points as an entry of metrique's, AWS's own writer of the format. Comes in: what our writer
//! gets. Goes out: what metrique takes. Never: a judgement; the oracle test and the bench have those.

use metrique_writer_core::unit::{NegativeScale, PositiveScale};
use metrique_writer_core::{Entry, EntryWriter, MetricFlags, Observation, ValueWriter};
use metrique_writer_format_emf::Emf;
use std::time::{Duration, SystemTime};
use vpc_cni_exporter::mirror::{Group, Point, Unit, Value};
use vpc_cni_exporter::ship::emf::Heading;

/// One event.
pub(crate) struct Document<'a> {
    pub(crate) heading: &'a Heading,
    /// Seconds since 1970.
    pub(crate) start: u64,
    pub(crate) group: &'a Group,
}

impl Document<'_> {
    /// A writer for the events of this group. It counts on sound entries where `quick`.
    pub(crate) fn writer(&self, quick: bool) -> Emf {
        let group = self.group.dimensions.iter().map(|(name, _)| name.to_string());
        let names = std::iter::once(self.heading.cluster.0.clone()).chain(group).collect();
        Emf::builder(self.heading.namespace.clone(), vec![names])
            .log_group_name(self.heading.log_group.clone())
            .skip_all_validations(quick)
            .build()
    }
}

impl Entry for Document<'_> {
    fn write<'a>(&'a self, writer: &mut impl EntryWriter<'a>) {
        writer.timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(self.start));
        let (name, value) = &self.heading.cluster;
        writer.value(name.as_str(), value.as_str());
        for (name, value) in &self.group.dimensions {
            writer.value(&**name, &**value);
        }
        for point in &self.group.points {
            writer.value(&*point.name, &OfPoint(point));
        }
    }
}

struct OfPoint<'a>(&'a Point);

impl metrique_writer_core::Value for OfPoint<'_> {
    fn write(&self, writer: impl ValueWriter) {
        let unit = match self.0.unit {
            Unit::Count => metrique_writer_core::Unit::Count,
            Unit::Seconds => metrique_writer_core::Unit::Second(NegativeScale::One),
            Unit::Milliseconds => metrique_writer_core::Unit::Second(NegativeScale::Milli),
            Unit::Percent => metrique_writer_core::Unit::Percent,
            Unit::Bytes => metrique_writer_core::Unit::Byte(PositiveScale::One),
            Unit::None => metrique_writer_core::Unit::None,
        };
        match &self.0.value {
            Value::Number(value) => {
                writer.metric([Observation::Floating(*value)], unit, [], MetricFlags::empty());
            }
            Value::Distribution(spread) => {
                let pairs = spread.values.iter().zip(&spread.counts);
                let all = pairs.map(|(value, count)| Observation::Repeated {
                    total: value * f64::from(*count),
                    occurrences: u64::from(*count),
                });
                writer.metric(all, unit, [], MetricFlags::empty());
            }
        }
    }
}
