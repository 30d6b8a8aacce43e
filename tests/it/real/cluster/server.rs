//! The real API server as a child process, by `VPCCNI_KUBE_API` (`tests/kube-test-server`). Comes in:
//! orders to start, kill and restart it. Goes out: where it is, and the administrator's kubeconfig.
//! Never: one that outlives the test's process.

use super::super::part;
use crate::support::Child;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use tempfile::TempDir;

/// An API server. Its data live as long as this value, killed or not.
pub(crate) struct Server {
    running: Option<Running>,
    /// None where the server keeps its data in a folder that it makes and removes itself.
    folder: Option<TempDir>,
    flags: Vec<String>,
    url: String,
    kubeconfig: PathBuf,
    ca: PathBuf,
}

struct Running {
    process: Child,
    /// It ends when this closes, as it does with the test's process.
    stdin: ChildStdin,
}

impl Server {
    /// One that may be killed and started again, with more flags of kube-apiserver.
    pub(crate) fn start(flags: &[&str]) -> Server {
        let folder = Some(tempfile::tempdir().unwrap());
        Server::begin(folder, flags.iter().map(|flag| (*flag).to_owned()).collect())
    }

    /// One for all tests of a process. Nobody drops it, so it has to clean up after itself.
    pub(crate) fn start_for_all() -> Server {
        Server::begin(None, Vec::new())
    }

    fn begin(folder: Option<TempDir>, flags: Vec<String>) -> Server {
        let (running, ready) = run(folder.as_ref(), 0, &flags);
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        let (url, kubeconfig, ca) = (text("url"), text("kubeconfig").into(), text("ca").into());
        Server { running: Some(running), folder, flags, url, kubeconfig, ca }
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        assert!(self.running.take().is_some(), "killed twice");
    }

    /// Starts it again after [`Server::kill`], at the same place with the same data.
    pub(crate) fn restart(&mut self) {
        assert!(self.running.is_none() && self.folder.is_some(), "nothing to start again");
        let port = self.url.rsplit(':').next().unwrap().parse().unwrap();
        let (running, ready) = run(self.folder.as_ref(), port, &self.flags);
        assert_eq!(ready["url"].as_str(), Some(&*self.url));
        self.running = Some(running);
    }

    /// Has etcd forget all versions but the newest.
    pub(crate) fn compact(&mut self) {
        let running = self.running.as_mut().unwrap();
        running.stdin.write_all(b"compact\n").unwrap();
        running.process.line("answer to compact", |line| {
            let answer: Value = serde_json::from_str(line).ok()?;
            // The log, on the other stream, is of JSON too.
            answer.get("compacted")?;
            assert_eq!(answer["error"], Value::from(""), "{line}");
            Some(())
        });
    }

    /// Where it listens, as a URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The kubeconfig of one who may do everything.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The file of the authority that signed its certificate.
    pub(crate) fn ca(&self) -> &Path {
        &self.ca
    }
}

/// Starts the process, and reads the line that it writes when it serves.
fn run(folder: Option<&TempDir>, port: u16, flags: &[String]) -> (Running, Value) {
    let mut command = Command::new(part("VPCCNI_KUBE_API"));
    command.arg("-stdin").arg(format!("-port={port}"));
    if let Some(folder) = folder {
        command.arg("-dir").arg(folder.path());
    }
    command.arg("--").args(flags);
    let (process, stdin) = Child::start_with_input(command);
    let ready = process.line("line of a ready API server", |line| {
        let ready: Value = serde_json::from_str(line).ok()?;
        (ready["ready"] == Value::Bool(true)).then_some(ready)
    });
    (Running { process, stdin }, ready)
}
