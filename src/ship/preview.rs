//! What one interval would send, without sending it. Comes in: the store's view at the end of the next
//! interval. Goes out: text: events, requests, what is billed and about what it costs. Never: a request.

use super::cut::{Cut, Cutter};
use super::cutting::{self, Packer};
use super::dialect::Dialect;
use super::emf::Writer;
use super::settings::{Plan, To};
use crate::clock::Clock;
use crate::mirror::{Interval, Sink, Value};
use crate::store::Store;
use crate::view::View;
use serde_json::json;
use tokio::sync::watch;

/// Intervals after which a first round is not waited for any more.
const PATIENCE: u32 = 2;

/// Why there is nothing to say of an interval.
const SILENT: &str =
    "no node answered in a whole interval, so nothing would be sent: the log says why";

/// Says of one interval after another what it would send.
#[derive(Debug)]
pub struct Preview<'a> {
    plan: &'a Plan,
    cutter: Cutter,
    packer: Packer,
}

impl<'a> Preview<'a> {
    /// By this plan.
    pub fn new(plan: &'a Plan) -> Preview<'a> {
        Preview { plan, cutter: Cutter::new(plan.seconds()), packer: Packer::new(plan) }
    }

    /// What the interval that ended before this view would send; `None` where no node answered in it, or
    /// an earlier view ended it.
    pub fn of(&mut self, view: View) -> Option<String> {
        let cut = self.cutter.cut(view)?;
        cut.covered.then(|| self.text(&cut))
    }

    fn text(&mut self, cut: &Cut) -> String {
        let plan = self.plan;
        let packed = self.packer.pack(cut);
        let name = plan.cluster.as_deref().unwrap_or("(the name that labels or tags tell)");
        let mut out = String::new();
        for to in &plan.to {
            let dialect = Dialect::of(to.sink(), plan.is_shard);
            let Some((interval, _)) = packed.of(dialect) else { continue };
            let text = if to.sink() == Sink::Put {
                requests(interval, &plan.namespace(dialect), dialect.dimension(), name)
            } else {
                events(interval, plan, to, name)
            };
            out.push_str(&text);
        }
        out.push_str(&format!(
            "\n{} metrics billed (--mirror.max-billed-metrics={}), {} left out: {}\n",
            packed.billed,
            plan.most_billed,
            packed.over(),
            packed.estimate
        ));
        out
    }
}

/// Waits for the end of the next whole interval; `None` where the service ends before.
///
/// # Errors
/// Why there is nothing to say.
pub async fn interval(
    plan: &Plan,
    store: &Store,
    clock: Clock,
    mut ready: watch::Receiver<bool>,
) -> Option<Result<String, String>> {
    // As long as two intervals: whoever reads its configuration wrongly is to hear of it.
    match tokio::time::timeout(plan.interval * PATIENCE, ready.wait_for(|ready| *ready)).await {
        Ok(ready) => drop(ready.ok()?),
        Err(_) => {
            let words = "discovery or the first round is not complete: the log says why";
            return Some(Err(words.to_owned()));
        }
    }
    let mut preview = Preview::new(plan);
    // The first one began before we did.
    let mut is_whole = false;
    loop {
        let next = cutting::next(&mut preview.cutter, store, clock, plan.is_shard).await;
        let Some(cut) = next else { continue };
        if std::mem::replace(&mut is_whole, true) {
            return Some(if cut.covered { Ok(preview.text(&cut)) } else { Err(SILENT.to_owned()) });
        }
    }
}

fn events(interval: &Interval, plan: &Plan, to: &To, cluster: &str) -> String {
    let mut writer = Writer::new(&plan.heading(to, cluster));
    let mut out = Vec::new();
    writer.write(interval, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// PutMetricData's data, as JSON, one a line.
fn requests(interval: &Interval, namespace: &str, dimension: &str, cluster: &str) -> String {
    let mut out = String::new();
    for group in &interval.groups {
        let own = std::iter::once((dimension, cluster));
        let more = group.dimensions.iter().map(|(name, value)| (&**name, &**value));
        let dimensions: serde_json::Map<String, serde_json::Value> =
            own.chain(more).map(|(name, value)| (name.to_owned(), json!(value))).collect();
        for point in &group.points {
            let mut datum = json!({
                "Namespace": namespace, "MetricName": point.name, "Dimensions": dimensions,
                "Timestamp": interval.start, "Unit": point.unit.as_str(),
            });
            match &point.value {
                Value::Number(value) => datum["Value"] = json!(value),
                Value::Distribution(all) => {
                    datum["Values"] = json!(all.values);
                    datum["Counts"] = json!(all.counts);
                }
            }
            out.push_str(&format!("{datum}\n"));
        }
    }
    out
}
