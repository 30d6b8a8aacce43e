//! A stand-in for AWS that speaks bytes. Comes in: what to answer to each request. Goes out: what was
//! asked. Never: a thing that AWS would not do on a bad day.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on ends by panicking; clippy does not see that this is for tests"
)]

use super::aws::Aws;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use ciborium::Value;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Long enough for an answer that comes, short enough to wait for one that does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was asked.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// As in `POST /`.
    pub(super) line: String,
    /// The head, in lower case.
    pub(super) head: String,
    /// As sent.
    pub(super) bytes: usize,
    /// Out of gzip.
    pub(super) body: Vec<u8>,
}

impl Request {
    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The data of a PutMetricData request.
    pub(super) fn data(&self) -> Vec<Value> {
        let body: Value = ciborium::from_reader(&self.body[..]).unwrap();
        member(&body, "MetricData").as_array().unwrap().clone()
    }

    /// The names of the metrics of a PutMetricData request.
    pub(super) fn names(&self) -> Vec<String> {
        self.data().iter().map(|d| member(d, "MetricName").as_text().unwrap().to_owned()).collect()
    }

    /// A body of JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The operation that is asked for.
    pub(super) fn operation(&self) -> &str {
        let path = self.line.rsplit('/').next().unwrap_or_default();
        self.header("x-amz-target").and_then(|t| t.rsplit('.').next()).unwrap_or(path)
    }
}

/// A member of a CBOR map.
pub(super) fn member<'a>(map: &'a Value, name: &str) -> &'a Value {
    let pairs = map.as_map().unwrap();
    &pairs.iter().find(|(key, _)| key.as_text() == Some(name)).unwrap().1
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// An answer in CBOR or JSON, as the request was: an error where a code is given.
    Answer(u16, &'static str),
    /// An answer with headers (ending their lines) and a body.
    Raw(u16, &'static str, String),
    /// None, and the connection stays.
    Hang,
    /// None, and the connection ends.
    Cut,
    /// The head of an answer, and a part of its body.
    Half(u16),
}

/// The stand-in.
#[derive(Debug)]
pub(super) struct Double {
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Double {
    /// Listens, and answers each request (of which it says how many came before) by this.
    pub(super) async fn start(
        answer: impl FnMut(usize, &Request) -> Reply + Send + 'static,
    ) -> Double {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(answer));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(async move {
                    let decide = |request: &Request| {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request.clone());
                        answer.lock().unwrap()(seen.len() - 1, request)
                    };
                    serve(stream, decide).await;
                });
            }
        });
        Double { address, requests }
    }

    /// All that was asked so far, which is forgotten.
    pub(super) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// A configuration that leads here.
    pub(super) fn aws(&self) -> Arc<Aws> {
        Arc::new(Aws::fixed(config(self.address)))
    }
}

/// A configuration that leads there.
pub(super) fn config(address: SocketAddr) -> SdkConfig {
    let credentials = Credentials::new("AKID", "secret", None, None, "test");
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(PATIENCE)
        .read_timeout(PATIENCE)
        .operation_timeout(PATIENCE * 5)
        .build();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(format!("http://{address}"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .build()
}

async fn serve(mut stream: TcpStream, mut decide: impl FnMut(&Request) -> Reply) {
    let mut read = Vec::new();
    while let Some(request) = request(&mut stream, &mut read).await {
        let cbor = request.head.contains("application/cbor");
        let (status, headers, body, claimed) = match decide(&request) {
            Reply::Answer(status, code) => {
                let (headers, body) = answer(cbor, code);
                (status, headers, body, None)
            }
            Reply::Raw(status, headers, body) => (status, headers, body.into_bytes(), None),
            Reply::Half(status) => (status, "", b"{\"a".to_vec(), Some(100)),
            Reply::Cut => return,
            Reply::Hang => std::future::pending().await,
        };
        let length = claimed.unwrap_or(body.len());
        let head = format!("HTTP/1.1 {status} said\r\n{headers}content-length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        if claimed.is_some() {
            return;
        }
    }
}

fn answer(cbor: bool, code: &str) -> (&'static str, Vec<u8>) {
    const CBOR: &str = "smithy-protocol: rpc-v2-cbor\r\ncontent-type: application/cbor\r\n";
    let words = format!("{code} it is");
    if !cbor {
        let body = match code {
            "" => "{}".to_owned(),
            _ => serde_json::json!({ "__type": code, "message": words }).to_string(),
        };
        return ("content-type: application/x-amz-json-1.1\r\n", body.into_bytes());
    }
    let mut members = Vec::new();
    if !code.is_empty() {
        members.push((Value::from("__type"), Value::from(code)));
        members.push((Value::from("message"), Value::from(words)));
    }
    let mut body = Vec::new();
    ciborium::into_writer(&Value::Map(members), &mut body).unwrap();
    (CBOR, body)
}

/// The next request of a connection, until it ends.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Request> {
    let head = loop {
        if let Some(end) = memchr::memmem::find(read, b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            break String::from_utf8(std::mem::replace(read, rest)).unwrap();
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    };
    let line = head.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let head = head.to_ascii_lowercase();
    let mut request = Request { line, head, bytes: 0, body: Vec::new() };
    request.bytes = request.header("content-length").map_or(0, |n| n.parse().unwrap());
    while read.len() < request.bytes {
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
    let rest = read.split_off(request.bytes);
    let sent = std::mem::replace(read, rest);
    if request.header("content-encoding") == Some("gzip") {
        flate2::read::GzDecoder::new(&sent[..]).read_to_end(&mut request.body).unwrap();
    } else {
        request.body = sent;
    }
    Some(request)
}
