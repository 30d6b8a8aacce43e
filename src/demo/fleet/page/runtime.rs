//! The families that every Go program with client_golang serves: go_*, process_*, promhttp_*. Comes
//! in: a node. Goes out: rows that look lived in. Never: anything that a figure is made from, except
//! process_start_time_seconds.

use super::super::node::Node;
use super::super::rng::mix;
use super::{COUNTER, GAUGE, Page};

/// Name, type, words, usual value; the value varies by an eighth with the page where it is above 100.
type Plain = (&'static str, &'static str, &'static str, f64);

const BEFORE_SCHED: &[Plain] = &[
    ("go_goroutines", GAUGE, "Goroutines that exist", 43.0),
    ("go_info", GAUGE, "What runs this", 1.0),
    ("go_memstats_alloc_bytes", GAUGE, "Heap in use", 9_710_456.0),
    ("go_memstats_alloc_bytes_total", COUNTER, "Heap ever allocated", 17_789_663_040.0),
    ("go_memstats_buck_hash_sys_bytes", GAUGE, "Profiling's hash table", 1_775_926.0),
    ("go_memstats_frees_total", COUNTER, "Objects ever freed", 180_537_453.0),
    ("go_memstats_gc_sys_bytes", GAUGE, "The collector's own", 3_712_704.0),
    ("go_memstats_heap_alloc_bytes", GAUGE, "Heap in use", 9_710_456.0),
    ("go_memstats_heap_idle_bytes", GAUGE, "Heap at rest", 4_620_288.0),
    ("go_memstats_heap_inuse_bytes", GAUGE, "Heap spans in use", 12_387_456.0),
    ("go_memstats_heap_objects", GAUGE, "Objects on the heap", 63_550.0),
    ("go_memstats_heap_released_bytes", GAUGE, "Heap given back", 1_073_152.0),
    ("go_memstats_heap_sys_bytes", GAUGE, "Heap from the system", 17_007_744.0),
    ("go_memstats_last_gc_time_seconds", GAUGE, "When the collector last ran", 1.7e9),
    ("go_memstats_mallocs_total", COUNTER, "Objects ever made", 180_581_003.0),
    ("go_memstats_mcache_inuse_bytes", GAUGE, "mcache in use", 9_600.0),
    ("go_memstats_mcache_sys_bytes", GAUGE, "mcache from the system", 15_600.0),
    ("go_memstats_mspan_inuse_bytes", GAUGE, "mspan in use", 228_896.0),
    ("go_memstats_mspan_sys_bytes", GAUGE, "mspan from the system", 244_800.0),
    ("go_memstats_next_gc_bytes", GAUGE, "Heap at which the collector runs next", 16_965_008.0),
    ("go_memstats_other_sys_bytes", GAUGE, "Whatever else", 1_589_762.0),
    ("go_memstats_stack_inuse_bytes", GAUGE, "Stacks in use", 1_720_896.0),
    ("go_memstats_stack_sys_bytes", GAUGE, "Stacks from the system", 1_720_896.0),
    ("go_memstats_sys_bytes", GAUGE, "All from the system", 27_987_256.0),
    ("go_sched_gomaxprocs_threads", GAUGE, "GOMAXPROCS", 4.0),
    ("go_threads", GAUGE, "Threads of the system", 14.0),
    ("process_cpu_seconds_total", COUNTER, "CPU time", 1_391.13),
    ("process_max_fds", GAUGE, "Files that may be open", 65_536.0),
    ("process_network_receive_bytes_total", COUNTER, "Bytes received", 91_836_512.0),
    ("process_network_transmit_bytes_total", COUNTER, "Bytes sent", 123_836_512.0),
    ("process_open_fds", GAUGE, "Files that are open", 17.0),
    ("process_resident_memory_bytes", GAUGE, "Resident memory", 59_559_168.0),
];

const AFTER_START: &[Plain] = &[
    ("process_virtual_memory_bytes", GAUGE, "Virtual memory", 1_351_757_056.0),
    (
        "process_virtual_memory_max_bytes",
        GAUGE,
        "Virtual memory possible",
        18_446_744_073_709_552_000.0,
    ),
    ("promhttp_metric_handler_requests_in_flight", GAUGE, "Scrapes being served", 1.0),
];

/// Appends them.
pub(super) fn families(node: &Node, page: &mut Page) {
    let name = "go_gc_duration_seconds";
    page.family(name, "summary", "Pauses of the collector");
    for (quantile, pause) in [
        ("0", 1.7901e-5),
        ("0.25", 3.2781e-5),
        ("0.5", 5.1354e-5),
        ("0.75", 0.000_131_15),
        ("1", 0.005_550_315),
    ] {
        page.row(name, &[("quantile", quantile)], pause);
    }
    page.row("go_gc_duration_seconds_sum", &[], 0.797_514_698);
    page.row("go_gc_duration_seconds_count", &[], lived_in(node, 0, 9895.0));
    for (salt, (name, kind, help, usual)) in (1..).zip(BEFORE_SCHED) {
        page.family(name, kind, help);
        if *name == "go_info" {
            page.row(name, &[("version", node.release.go)], 1.0);
        } else {
            page.row(name, &[], lived_in(node, salt, *usual));
        }
    }
    let start = node.process.start + node.clock_offset;
    let name = "process_start_time_seconds";
    // Ticks of 10 ms; a sum of two floats would show its rounding.
    page.single(name, GAUGE, "When the process began", (start * 100.0).round() / 100.0);
    for (salt, (name, kind, help, usual)) in (100..).zip(AFTER_START) {
        page.single(name, kind, help, lived_in(node, salt, *usual));
    }
    let name = "promhttp_metric_handler_requests_total";
    page.family(name, COUNTER, "Scrapes served");
    for (code, count) in [("200", node.version as f64), ("500", 0.0), ("503", 0.0)] {
        page.row(name, &[("code", code)], count);
    }
}

/// The usual value, moved by chance that the node and its version decide.
fn lived_in(node: &Node, salt: u64, usual: f64) -> f64 {
    if usual < 100.0 {
        return usual;
    }
    let eighths = (mix(node.version ^ (salt << 40) ^ node.process.number) % 1024) as f64 / 8192.0;
    (usual * (1.0 + eighths)).floor()
}
