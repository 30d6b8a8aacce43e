//! The mirror without AWS: what would be sent, and the demo's events. Comes in: flags and variables. Goes out:
//! what stands on standard output. Never: a request to AWS, or to the port of a service that runs.

use crate::support::{Child, HANG, PageServer, program, run, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;

const PAGE: &str = "awscni_assigned_ip_addresses 3\nawscni_ip_max 10\nawscni_add_ip_req_count 5\n";

#[test]
fn a_dry_run_says_what_an_interval_would_send_what_it_costs_and_ends() {
    let node = PageServer::start(PAGE);
    // The service that it is asked about has its port.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = program();
    command.args(["mirror", "--dry-run", "--scrape.interval=300ms", "--mirror.interval=1s"]);
    command.args(["--discover.targets", &node.address.to_string(), "--web.listen-address"]);
    command.arg(taken.local_addr().unwrap().to_string());
    command.env("VPCCNI_MIRROR_TO", "put,emf+tcp://127.0.0.1:1").env("AWS_CLUSTER_ID", "blue");
    let ended = run(command, b"");
    assert!(ended.status.success(), "{}", ended.stderr);
    let objects: Vec<Value> = ended
        .stdout
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let datum = |name: &str| objects.iter().find(|o| o["MetricName"] == name).unwrap();
    let assigned = datum("assignIPAddresses");
    assert_eq!((&assigned["Value"], &assigned["Namespace"]), (&3.0.into(), &"Kubernetes".into()));
    assert_eq!(assigned["Dimensions"]["CLUSTER_ID"], "blue");
    let event = objects.iter().find(|o| o["_aws"].is_object()).unwrap();
    assert_eq!(event["ClusterName"], "blue");
    let told = ended.stdout.lines().last().unwrap();
    let said = ["metrics billed (--mirror.max-billed-metrics=100)", "dollars a month", "us-east-1"];
    assert!(said.iter().all(|said| told.contains(said)), "{told}");
    // Each name, with its dimensions, is one metric that is billed.
    let data = objects.iter().filter(|o| o["MetricName"].is_string()).count();
    let events = objects.iter().filter(|o| o["_aws"].is_object());
    let metrics =
        |event: &Value| event["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap().len();
    let billed: usize = data + events.map(metrics).sum::<usize>();
    assert!(told.starts_with(&format!("{billed} metrics billed")), "{billed}: {told}");
}

#[test]
fn the_agent_gets_one_event_a_line_interval_after_interval() {
    let node = PageServer::start(PAGE);
    let agent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = program();
    command.args(["--scrape.interval=300ms", "--mirror.interval=1s", "--cluster.name=blue"]);
    command.args(["--discover.targets", &node.address.to_string()]);
    command.arg("--web.listen-address=127.0.0.1:0");
    command.arg(format!("--mirror.to=emf+tcp://{}", agent.local_addr().unwrap()));
    let service = Child::start(command);
    agent.set_nonblocking(true).unwrap();
    let (stream, _) = until("a connection", || agent.accept().ok());
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    let mut times = BTreeSet::new();
    for line in BufReader::new(stream).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(event["ClusterName"], "blue", "{event}");
        times.insert(event["_aws"]["Timestamp"].as_i64().unwrap());
        if times.len() == 3 {
            break;
        }
    }
    assert_eq!(times.len(), 3, "{}", service.so_far());
}

#[test]
fn the_demo_mirrors_to_standard_output_and_talks_on_standard_error() {
    let mut command = program();
    command.args(["demo", "--nodes", "3", "--interval=300ms", "--web.listen-address=127.0.0.1:0"]);
    command.args(["--mirror.to", "emf+stdout:", "--mirror.interval", "1s"]);
    // What configures a service that runs here is not the demo's.
    command.env("VPCCNI_MIRROR_TO", "emf+tcp://127.0.0.1:1");
    let demo = Child::start(command);
    let mut times = BTreeSet::new();
    until("three intervals", || {
        demo.line("an event", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            times.insert(event["_aws"]["Timestamp"].as_i64()?);
            (times.len() >= 3).then_some(())
        });
        Some(())
    });
    demo.signal("TERM");
    let ended = demo.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(ended.stderr.contains("figures  http://"), "{}", ended.stderr);
    for line in ended.stdout.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["ClusterName"], "demo", "{line}");
    }
}
