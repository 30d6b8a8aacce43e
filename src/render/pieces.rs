//! The node scope as one compressed segment of text 0.0.4, made anew only where nodes changed. Comes in: view after
//! view. Goes out: the scope of the newest. Never: the whole text at once, which for 10,000 nodes has
//! 15 MB.
//!
//! Nodes are cut into slices by their scrape slot, so that a refresh finds most slices as they were:
//! between two views a part of the interval has passed, and the slots in it are neighbours. A piece is
//! one family of one slice; the page is its pieces, family by family.

use super::detail::Detail;
use super::gzip::{Coder, Segment, join};
use super::negotiate::Format;
use super::{Narrow, NodeFamily, Row, node_families};
use crate::model::{Growth, NodeState, Target, stable_hash};
use crate::view::{NodeView, OtherFamily, Page, View};
use std::sync::Arc;

/// Nodes of a slice at least: fewer compress badly.
const SLICE: usize = 256;

/// Slices at most: with more, a family's pieces of 10,000 nodes get too short to compress well.
const SLICES: usize = 32;

/// The pieces of the view before.
#[derive(Debug, Default)]
pub struct Pieces {
    coder: Coder,
    slices: Vec<Slice>,
    others: Arc<Vec<OtherFamily>>,
}

#[derive(Debug, Default)]
struct Slice {
    nodes: Vec<Stamp>,
    /// By family, in page order.
    families: Vec<Segment>,
}

/// What tells that a node's rows are as they were.
#[derive(Debug)]
struct Stamp {
    target: Arc<Target>,
    page: Option<Arc<Page>>,
    last_scrape: Option<u64>,
    state: NodeState,
    growth: Option<Growth>,
}

impl Stamp {
    fn of(node: &NodeView) -> Stamp {
        Stamp {
            target: Arc::clone(&node.target),
            page: node.page.clone(),
            last_scrape: node.last_scrape.map(f64::to_bits),
            state: node.state,
            growth: node.growth,
        }
    }

    fn is(&self, node: &NodeView) -> bool {
        let same_page = match (&self.page, &node.page) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        same_page
            && Arc::ptr_eq(&self.target, &node.target)
            && self.last_scrape == node.last_scrape.map(f64::to_bits)
            && self.state == node.state
            && self.growth == node.growth
    }
}

impl Pieces {
    /// The node scope of a view. `detail` is the same at every call.
    pub fn refresh(&mut self, view: &View, detail: &Detail) -> Segment {
        let families = node_families(view, detail);
        let count = (view.nodes.len() / SLICE).clamp(1, SLICES);
        // Families that the catalogue does not know come late, or change their type.
        if self.slices.len() != count || !Arc::ptr_eq(&self.others, &view.others) {
            self.slices = std::iter::repeat_with(Slice::default).take(count).collect();
            self.others = Arc::clone(&view.others);
        }
        let mut nodes: Vec<Vec<&NodeView>> = vec![Vec::new(); count];
        for node in &view.nodes {
            nodes[slice_of(&node.target.node, count)].push(node);
        }
        for (slice, nodes) in self.slices.iter_mut().zip(nodes) {
            if !slice.is(&nodes) || slice.families.len() != families.len() {
                slice.render(view, &families, &nodes, detail, &mut self.coder);
            }
        }
        let mut text = Vec::new();
        let mut page = Vec::new();
        for (at, family) in families.iter().enumerate() {
            let pieces = self.slices.iter().map(|slice| &slice.families[at]);
            let pieces: Vec<&Segment> = pieces.filter(|piece| piece.len > 0).collect();
            if !pieces.is_empty() {
                text.clear();
                family.header(Format::Text004, &mut text);
                page.push(self.coder.compress(&text));
                page.extend(pieces.into_iter().cloned());
            }
        }
        join(&page)
    }
}

impl Slice {
    fn is(&self, nodes: &[&NodeView]) -> bool {
        self.nodes.len() == nodes.len() && self.nodes.iter().zip(nodes).all(|(s, n)| s.is(n))
    }

    fn render(
        &mut self,
        view: &View,
        families: &[NodeFamily<'_>],
        nodes: &[&NodeView],
        detail: &Detail,
        coder: &mut Coder,
    ) {
        self.nodes = nodes.iter().map(|node| Stamp::of(node)).collect();
        let rows: Vec<Row<'_>> = nodes.iter().map(|node| Row::of(node)).collect();
        let all = Narrow::default();
        let mut text = Vec::new();
        let piece = |family: &NodeFamily<'_>| {
            text.clear();
            family.rows(view, &all, detail, &rows, &mut text);
            coder.compress(&text)
        };
        self.families = families.iter().map(piece).collect();
    }
}

/// Slots are in the order of the stable hash, and so are slices.
fn slice_of(node: &str, count: usize) -> usize {
    let at = (u128::from(stable_hash(node)) * count as u128) >> 64;
    usize::try_from(at).unwrap_or(0).min(count - 1)
}

#[cfg(test)]
mod tests {
    use super::super::detail::{Level, Settings};
    use super::super::gzip::inflated;
    use super::*;
    use crate::model::{Moment, Source, Targets};
    use crate::observe::Observe;
    use crate::store::{Answer, Store};

    fn at(uptime: f64) -> Moment {
        Moment { unix: 1.7e9 + uptime, uptime }
    }

    fn store(nodes: usize) -> (Store, Vec<Target>) {
        let target = |i: usize| {
            Target::new(format!("n{i:04}"), format!("h{i}"), 61678, "/metrics", Source::File)
        };
        let store = Store::new(&Default::default(), 30.0, Observe::new());
        let list: Vec<Target> = (0..nodes).map(target).collect();
        retarget(&store, &list);
        (store, list)
    }

    fn retarget(store: &Store, list: &[Target]) {
        let targets = Targets { list: list.to_vec(), synced: true, ..Targets::default() };
        store.retarget(&targets, at(0.0));
    }

    fn scrape(store: &Store, node: &str, uptime: f64, page: &str) {
        let answer = Answer { body: page.as_bytes(), date: None, at: at(uptime), seconds: 0.01 };
        store.scraped(&node.into(), answer).unwrap();
    }

    /// What is refreshed equals what is made from nothing, and what is rendered for a request.
    fn same(pieces: &mut Pieces, store: &Store, detail: &Detail, uptime: f64) -> usize {
        let view = store.view(at(uptime));
        let kept = pieces.slices.iter().map(|s| s.families.as_ptr()).collect::<Vec<_>>();
        let text = inflated(&pieces.refresh(&view, detail));
        assert_eq!(text, inflated(&Pieces::default().refresh(&view, detail)));
        let mut whole = Vec::new();
        super::super::nodes(&view, &Narrow::default(), detail, Format::Text004, &mut whole);
        let sorted = |text: &[u8]| {
            let text = String::from_utf8(text.to_vec()).unwrap();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&text), sorted(&whole));
        let now = pieces.slices.iter().map(|s| s.families.as_ptr());
        now.zip(kept).filter(|(now, kept)| now == kept).count()
    }

    #[test]
    fn a_refresh_keeps_the_slices_whose_nodes_are_as_they_were_and_equals_a_page_made_anew() {
        for level in [Level::Core, Level::Full] {
            let detail = Detail::new(Settings { detail: level, ..Settings::default() });
            let (store, mut list) = store(SLICE * 4);
            let mut pieces = Pieces::default();
            same(&mut pieces, &store, &detail, 1.0);
            for target in &list {
                scrape(&store, &target.node, 2.0, "awscni_eni_max 3\n");
            }
            assert_eq!(same(&mut pieces, &store, &detail, 3.0), 0);
            assert_eq!(same(&mut pieces, &store, &detail, 4.0), 4, "nothing happened");
            scrape(&store, "n0007", 5.0, "awscni_eni_max 4\n");
            assert_eq!(same(&mut pieces, &store, &detail, 6.0), 3);
            store.failed(&"n0008".into(), crate::model::Outcome::Timeout, "", at(7.0), 10.0);
            assert_eq!(same(&mut pieces, &store, &detail, 8.0), 3);
            list.pop();
            retarget(&store, &list);
            same(&mut pieces, &store, &detail, 9.0);
            scrape(&store, "n0009", 10.0, "# TYPE awscni_x histogram\nawscni_x_sum 1\n");
            same(&mut pieces, &store, &detail, 11.0);
            scrape(&store, "n0010", 12.0, "# TYPE awscni_x gauge\nawscni_eni_max 2\n");
            same(&mut pieces, &store, &detail, 13.0);
            // Everything goes stale with the time alone.
            assert_eq!(same(&mut pieces, &store, &detail, 5_000.0), 0);
        }
    }

    #[test]
    fn a_small_fleet_is_one_slice_in_the_order_of_its_names() {
        let (store, list) = store(20);
        for target in &list {
            scrape(&store, &target.node, 2.0, "awscni_eni_max 3\n");
        }
        let view = store.view(at(3.0));
        let detail = Detail::default();
        let mut whole = Vec::new();
        super::super::nodes(&view, &Narrow::default(), &detail, Format::Text004, &mut whole);
        assert_eq!(inflated(&Pieces::default().refresh(&view, &detail)), whole);
    }
}
