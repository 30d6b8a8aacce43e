//! The truth's arithmetic on scripted serves.

use super::*;

const ADDS: &str = "vpccni_cluster_cni_add_requests_total";
const ASSIGNED: &str = r#"vpccni_cluster_ip_addresses_assigned{ip_family="ipv4"}"#;

/// A node whose process began at a time.
struct Scripted {
    name: &'static str,
    process: u64,
    start: f64,
    version: u64,
}

impl Scripted {
    fn new(name: &'static str, start: f64) -> Scripted {
        Scripted { name, process: 1, start, version: 0 }
    }

    fn restart(&mut self, start: f64) {
        self.process += 1;
        self.start = start;
    }

    fn page(&mut self, adds: f64, assigned: f64) -> Arc<Page> {
        self.version += 1;
        let mut figures = Figures::nothing();
        figures.values[id(ADDS)] = adds;
        figures.values[id(ASSIGNED)] = assigned;
        Arc::new(Page {
            node: self.name.into(),
            process: self.process,
            start: self.start,
            version: self.version,
            body: Vec::new(),
            figures: Arc::new(figures),
        })
    }
}

fn id(key: &str) -> usize {
    TABLE.list.iter().position(|f| f.key == key).unwrap()
}

fn listed(truth: &Truth, nodes: &[&str]) {
    truth.listed(nodes.iter().map(|n| Arc::from(*n)).collect());
}

fn adds(truth: &Truth, since: f64) -> f64 {
    truth.tell(since, None, 1e9).unwrap().increase.get(ADDS).copied().unwrap_or(0.0)
}

fn assigned(truth: &Truth) -> f64 {
    truth.tell(0.0, None, 1e9).unwrap().gauges[ASSIGNED]
}

#[test]
fn nodes_at_20_50_30_that_stand_still_increase_by_0() {
    let truth = Truth::default();
    let mut nodes = ["a", "b", "c"].map(|name| Scripted::new(name, 10.0));
    for unix in [100.0, 130.0, 160.0] {
        for (node, value) in nodes.iter_mut().zip([20.0, 50.0, 30.0]) {
            truth.served(&node.page(value, 1.0), unix);
        }
    }
    assert_eq!(adds(&truth, 90.0), 0.0);
    assert_eq!(truth.progress().0, 9);
}

#[test]
fn an_increase_counts_from_the_serve_before_it() {
    let truth = Truth::default();
    let mut node = Scripted::new("a", 10.0);
    truth.served(&node.page(5.0, 0.0), 100.0);
    truth.served(&node.page(7.0, 0.0), 130.0);
    truth.served(&node.page(8.0, 0.0), 160.0);
    assert_eq!(adds(&truth, 100.0), 3.0);
    assert_eq!(adds(&truth, 110.0), 1.0, "who came at 110 has the serve at 130 as a baseline");
    assert_eq!(adds(&truth, 131.0), 0.0);
}

#[test]
fn a_restart_counts_from_zero() {
    let truth = Truth::default();
    let mut node = Scripted::new("a", 10.0);
    truth.served(&node.page(500.0, 0.0), 100.0);
    node.restart(120.0);
    truth.served(&node.page(4.0, 0.0), 130.0);
    assert_eq!(adds(&truth, 100.0), 4.0);
    node.restart(140.0);
    truth.served(&node.page(900.0, 0.0), 160.0);
    assert_eq!(adds(&truth, 100.0), 904.0, "even where it has overtaken the old one");
}

#[test]
fn an_old_process_that_joins_is_a_baseline_and_a_young_one_counts_whole() {
    let truth = Truth::default();
    truth.served(&Scripted::new("old", 10.0).page(90_000.0, 0.0), 200.0);
    assert_eq!(adds(&truth, 100.0), 0.0);
    truth.served(&Scripted::new("young", 150.0).page(3.0, 0.0), 201.0);
    assert_eq!(adds(&truth, 100.0), 3.0);
}

#[test]
fn a_node_that_left_leaves_the_sums_and_keeps_its_increases() {
    let truth = Truth::default();
    let (mut a, mut b) = (Scripted::new("a", 10.0), Scripted::new("b", 10.0));
    listed(&truth, &["a", "b"]);
    for (unix, value) in [(100.0, 1.0), (130.0, 2.0)] {
        truth.served(&a.page(value, 7.0), unix);
        truth.served(&b.page(value, 5.0), unix);
    }
    assert_eq!((assigned(&truth), adds(&truth, 90.0)), (12.0, 2.0));
    listed(&truth, &["a"]);
    assert_eq!((assigned(&truth), adds(&truth, 90.0)), (7.0, 2.0));
    listed(&truth, &["a", "b"]);
    truth.served(&b.page(6.0, 5.0), 160.0);
    assert_eq!(adds(&truth, 90.0), 6.0, "it came back with the same process");
}

#[test]
fn nan_and_infinities_enter_no_sum_and_keep_the_baseline() {
    let truth = Truth::default();
    let mut node = Scripted::new("a", 10.0);
    listed(&truth, &["a"]);
    truth.served(&node.page(10.0, 3.0), 100.0);
    truth.served(&node.page(f64::INFINITY, f64::NAN), 130.0);
    truth.served(&node.page(f64::NAN, f64::NAN), 160.0);
    assert_eq!((assigned(&truth), adds(&truth, 100.0)), (0.0, 0.0));
    truth.served(&node.page(14.0, 2.0), 190.0);
    assert_eq!((assigned(&truth), adds(&truth, 100.0)), (2.0, 4.0));
}

#[test]
fn values_older_than_asked_for_do_not_stand() {
    let truth = Truth::default();
    let mut node = Scripted::new("a", 10.0);
    listed(&truth, &["a", "never-served"]);
    truth.served(&node.page(10.0, 3.0), 100.0);
    let told = |now| truth.tell(0.0, Some(90.0), now).unwrap();
    assert_eq!((told(190.0).gauges[ASSIGNED], told(190.0).nodes), (3.0, [2, 1, 0, 1]));
    assert_eq!((told(191.0).gauges[ASSIGNED], told(191.0).nodes), (0.0, [2, 0, 1, 1]));
}

#[test]
fn a_page_that_is_through_late_changes_nothing() {
    let truth = Truth::default();
    let mut node = Scripted::new("a", 10.0);
    let (first, second) = (node.page(1.0, 0.0), node.page(5.0, 0.0));
    truth.served(&second, 100.0);
    truth.served(&first, 101.0);
    truth.served(&node.page(6.0, 0.0), 130.0);
    assert_eq!(adds(&truth, 90.0), 1.0);
}

#[test]
fn a_question_about_forgotten_times_is_refused() {
    let truth = Truth::default();
    let mut node = Scripted::new("a", 10.0);
    for value in 0..LOG + 2 {
        truth.served(&node.page(value as f64 + 1.0, 0.0), 100.0 + value as f64);
    }
    assert_eq!(truth.tell(101.0, None, 0.0), Err(Forgotten { begins: 101.0 }));
    assert!(truth.tell(101.5, None, 0.0).is_ok());
}

#[test]
fn milliseconds_become_seconds_and_whole_numbers_stay_whole() {
    let truth = Truth::default();
    let key = r#"vpccni_cluster_aws_api_latency_seconds_sum{api="CreateTags",error="false"}"#;
    let mut node = Scripted::new("a", 10.0);
    let mut page = Arc::into_inner(node.page(0.0, 0.0)).unwrap();
    Arc::get_mut(&mut page.figures).unwrap().values[id(key)] = 1500.0;
    truth.served(&Arc::new(page), 100.0);
    assert_eq!(truth.tell(0.0, None, 0.0).unwrap().increase[key], 1.5);
    assert_eq!(number(1.5).to_string(), "1.5");
    assert_eq!(number(281_474_976_710_656.0).to_string(), "281474976710656");
}
