//! `deploy/try.py`, as everybody runs it: our rights at a real API server, the service as its own account.

use super::super::part;
use crate::truth::Pair;
use std::path::Path;
use std::process::Command;

#[test]
fn the_script_runs_the_service_as_its_account_and_its_figures_equal_the_truth() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.arg(root.join("deploy/try.py")).current_dir(root);
    command.args(["--program", env!("CARGO_BIN_EXE_vpc-cni-exporter"), "--base", "127.61.0.1"]);
    command.args(["--nodes", "25", "--", "--scrape.interval=500ms", "--publish.interval=100ms"]);
    command.env("VPCCNI_KUBE_API", part("VPCCNI_KUBE_API"));
    let mut pair = Pair::of_one(command);
    pair.settle();
    pair.compare("at rest");
    pair.control("/join?old=true");
    pair.control("/step?seconds=900");
    pair.settle();
    pair.compare("a quarter of an hour and a node later");
    assert_eq!(pair.sum("vpccni_cluster_nodes_expected"), 26.0);
    let script = pair.process();
    script.signal("TERM");
    let ended = script.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}
