//! Files of targets on any bytes, as JSON and as YAML: refused or read, and what is read is usable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vpc_cni_exporter::discover::{Defaults, file};

fuzz_target!(|bytes: &[u8]| {
    let defaults = Defaults { port: 61678, path: "/metrics".to_owned(), host_network_pods: 2 };
    for name in ["targets.json", "targets.yaml"] {
        for target in file::parse(name, bytes, &defaults).unwrap_or_default().targets {
            assert!(!target.node.is_empty() && !target.host.is_empty() && target.port > 0);
            assert!(target.path.starts_with('/'));
            assert!(
                target.labels.iter().all(|(label, _)| label != "node" && !label.starts_with("__"))
            );
        }
    }
});
