//! `tests/aws/double.py` as a child process: AWS for the program under test. Comes in: what is to go wrong.
//! Goes out: the environment that leads there, what was asked, what moto has. Never: a port that is agreed
//! beforehand.

use crate::real::part;
use crate::support::{Child, get, post};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};

/// Ends with its standard input. `tests/aws/double.py` says what it can do.
pub(crate) struct Double {
    /// Before the child, so that it ends by itself.
    _input: ChildStdin,
    _child: Child,
    line: String,
    ports: Value,
}

impl Double {
    /// Starts one, by the Python of `VPCCNI_AWS_PYTHON`, and waits until it is ready.
    pub(crate) fn start() -> Double {
        let mut command = Command::new(part("VPCCNI_AWS_PYTHON"));
        command.arg(script("double.py")).env("PYTHONDONTWRITEBYTECODE", "1");
        // What surrounds the test is not to lead boto3 elsewhere.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("AWS_")) {
                command.env_remove(name);
            }
        }
        let (child, input) = Child::start_with_input(command);
        let line = child.line("line with the ports", |line| {
            line.starts_with('{').then(|| line.trim().to_owned())
        });
        let ports = serde_json::from_str(&line).unwrap();
        Double { _input: input, _child: child, line, ports }
    }

    /// Its ports, as it has printed them.
    pub(crate) fn ports(&self) -> &str {
        &self.line
    }

    /// One of its ports.
    pub(crate) fn address(&self, port: &str) -> SocketAddr {
        let port = self.ports[port].as_u64().and_then(|port| u16::try_from(port).ok());
        SocketAddr::from(([127, 0, 0, 1], port.unwrap()))
    }

    /// Variables that lead the AWS SDK here and nowhere else. Region and credentials are the test's.
    pub(crate) fn environment(&self) -> [(&'static str, String); 4] {
        let nowhere = "/nonexistent".to_owned();
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address("aws"))),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}", self.address("metadata"))),
            ("AWS_CONFIG_FILE", nowhere.clone()),
            ("AWS_SHARED_CREDENTIALS_FILE", nowhere),
        ]
    }

    /// Variables of a user with keys.
    pub(crate) fn keys() -> [(&'static str, &'static str); 3] {
        [
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", "secret-of-the-test"),
        ]
    }

    /// What it knows: `/requests`, `/stored?namespace=`, `/events?group=&stream=`.
    pub(crate) fn ask(&self, path: &str) -> Value {
        let answer = get(self.address("control"), path, &[]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_str(&answer.text()).unwrap()
    }

    /// Has it do something: `/fault?kind=`, `/clear`, `/away`, `/back`, `/metadata?mode=`.
    pub(crate) fn tell(&self, path: &str) -> Value {
        let answer = post(self.address("control"), path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_str(&answer.text()).unwrap()
    }
}

/// A Python program of `tests/aws`.
pub(super) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aws").join(name)
}
