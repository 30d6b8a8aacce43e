//! The election as it runs, against an API server that keeps Leases in memory, can be cut off, and counts
//! what it is asked.

use super::*;
use crate::mirror::{Note, Noted};
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Short, so that no test waits for long.
const DURATION: Duration = Duration::from_millis(600);

/// Nothing here takes so long unless it hangs.
const HANG: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Server {
    leases: Mutex<BTreeMap<String, Value>>,
    version: AtomicUsize,
    /// Nobody reaches it.
    cut: AtomicBool,
    /// The namespace is not there.
    empty: AtomicBool,
    /// Somebody else is always quicker.
    quicker: AtomicBool,
}

impl Server {
    fn client(self: &Arc<Server>) -> kube::Client {
        let server = Arc::clone(self);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                if server.cut.load(Ordering::SeqCst) {
                    return std::future::pending().await;
                }
                let name = head.uri.path().rsplit('/').next().unwrap();
                let (code, answer) = server.answer(head.method.as_str(), name, body);
                let body = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        kube::Client::new(service, "ours")
    }

    fn answer(&self, method: &str, name: &str, body: Value) -> (u16, Value) {
        let mut leases = self.leases.lock().unwrap();
        let refuse = |code: u16, reason: &str| {
            let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {},
                "status": "Failure", "message": reason, "reason": reason, "code": code });
            (code, status)
        };
        let written = body["metadata"]["name"].as_str().unwrap_or(name).to_owned();
        let old = leases.get(&written).cloned();
        let version = &body["metadata"]["resourceVersion"];
        let stale = old.as_ref().is_some_and(|old| {
            !version.is_null() && *version != old["metadata"]["resourceVersion"]
        });
        let new = match (method, old) {
            ("GET", _) if name == "leases" => {
                let items: Vec<&Value> = leases.values().collect();
                return (
                    200,
                    json!({ "kind": "LeaseList", "apiVersion": "coordination.k8s.io/v1",
                    "metadata": {}, "items": items }),
                );
            }
            ("GET", Some(old)) => return (200, old),
            ("POST", _) if self.empty.load(Ordering::SeqCst) => return refuse(404, "NotFound"),
            ("POST" | "PUT", _) if self.quicker.load(Ordering::SeqCst) => {
                return refuse(409, "Conflict");
            }
            ("POST", None) => body,
            (_, None) => return refuse(404, "NotFound"),
            ("POST", Some(_)) => return refuse(409, "AlreadyExists"),
            _ if stale => return refuse(409, "Conflict"),
            ("PUT", Some(_)) => body,
            (_, Some(mut old)) => {
                merge(&mut old, &body);
                old
            }
        };
        (200, self.put(&mut leases, written, new))
    }

    fn put(&self, leases: &mut BTreeMap<String, Value>, name: String, mut lease: Value) -> Value {
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        lease["metadata"]["resourceVersion"] = json!(version.to_string());
        lease["metadata"]["name"] = json!(name);
        leases.insert(name, lease.clone());
        lease
    }

    /// A Lease that somebody else wrote.
    fn held(&self, name: &str, holder: &str, annotations: Value) {
        let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "annotations": annotations }, "spec": { "holderIdentity": holder } });
        self.put(&mut self.leases.lock().unwrap(), name.to_owned(), lease);
    }

    fn lease(&self, name: &str) -> Value {
        self.leases.lock().unwrap().get(name).cloned().unwrap_or_default()
    }
}

fn merge(old: &mut Value, patch: &Value) {
    for (key, value) in patch.as_object().unwrap() {
        if value.is_object() && old[key].is_object() {
            merge(&mut old[key], value);
        } else {
            old[key] = value.clone();
        }
    }
}

/// A process that takes part until it is dropped.
struct Process {
    promise: Arc<Promise>,
    clock: Clock,
    leading: watch::Receiver<Leading>,
    task: JoinHandle<()>,
    note: watch::Sender<Note>,
    noted: watch::Receiver<Noted>,
    _ready: watch::Sender<bool>,
}

impl Process {
    fn start(server: &Arc<Server>, identity: &str, shard: (u32, u32)) -> Process {
        let settings = Settings {
            election: Election::On,
            namespace: None,
            name: "x".to_owned(),
            duration: DURATION,
        };
        let (pod, address) = (None, None);
        let candidate = Candidate { identity: identity.to_owned(), pod, address, shard };
        let (promise, clock) = (Arc::new(Promise::none()), Clock::start());
        let (ready, is_ready) = watch::channel(true);
        let (tell, leading) = watch::channel(Leading::default());
        let (note, of_mirror) = watch::channel(Note::default());
        let (of_lease, noted) = watch::channel(Noted::default());
        let task = tokio::spawn(run(
            settings,
            server.client(),
            candidate,
            Notes { note: of_mirror, noted: of_lease },
            Arc::clone(&promise),
            is_ready,
            tell,
            clock,
            Observe::new(),
            CancellationToken::new(),
        ));
        Process { promise, clock, leading, task, note, noted, _ready: ready }
    }

    fn serves(&self) -> bool {
        self.promise.holds(self.promise.term(), self.clock.uptime())
    }

    /// Waits until it tells such a note.
    async fn told(&mut self, what: &str, is: impl Fn(Option<&str>) -> bool) -> Leading {
        let told = self.leading.wait_for(|leading| is(leading.note.as_deref()));
        let told = tokio::time::timeout(HANG, told).await;
        told.unwrap_or_else(|_| panic!("never told: {what}")).unwrap().clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers whoever asks whether it may serve, and counts.
async fn holder(may_serve: &'static AtomicBool, asked: &'static AtomicUsize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _read = stream.read(&mut request).await.unwrap();
            let answer = format!(
                "HTTP/1.1 200 OK\r\n\r\n{{\"may_serve\":{}}}",
                may_serve.load(Ordering::SeqCst)
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            asked.fetch_add(1, Ordering::SeqCst);
        }
    });
    address
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let wait = async {
        while !is() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(HANG, wait).await.unwrap_or_else(|_| panic!("no {what}"));
}

#[tokio::test]
async fn a_lone_holder_of_another_number_of_shards_is_asked_and_left_alone_while_it_serves() {
    static SERVES: AtomicBool = AtomicBool::new(true);
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let server = Arc::new(Server::default());
    let address = holder(&SERVES, &ASKED).await;
    // It knew of nobody when it wrote this, and is cut off since: it serves on.
    let notes = json!({ "vpc-cni-exporter/contended": "false", "vpc-cni-exporter/shards": "1",
        "vpc-cni-exporter/address": address });
    server.held("x", "old", notes);
    let mut new = Process::start(&server, "new", (0, 2));
    let stands_by = new.told("a note", |note| note.is_some()).await.note.unwrap();
    assert_eq!(stands_by, "stands by as shard 0 of 2: old still serves as one of 1 shards");
    // Four durations of silence are twenty attempts, and more than that are asked here.
    until("question", || ASKED.load(Ordering::SeqCst) > 25).await;
    assert!(!new.serves());
    assert_eq!(new.noted.borrow().holder, Holder::OtherShards);
    assert_eq!(server.lease("x-0"), Value::Null);
    let old = server.lease("x");
    assert_eq!(old["spec"]["holderIdentity"], "old");
    assert_eq!(old["metadata"]["annotations"]["vpc-cni-exporter/contender"], "new");
    SERVES.store(false, Ordering::SeqCst);
    until("new holder", || new.serves()).await;
    assert_eq!(new.noted.borrow().holder, Holder::Us);
    assert_eq!(server.lease("x")["spec"]["holderIdentity"], "");
    assert_eq!(server.lease("x-0")["spec"]["holderIdentity"], "new");
}

#[tokio::test]
async fn whoever_stands_by_says_how_many_of_the_other_shards_are_left() {
    let server = Arc::new(Server::default());
    let mut old: Vec<Process> =
        (0..3).map(|index| Process::start(&server, &format!("old-{index}"), (index, 3))).collect();
    until("three holders", || old.iter().all(Process::serves)).await;
    let mut new = Process::start(&server, "new", (1, 2));
    let all = "stands by as shard 1 of 2: old-0 still serves as one of 3 shards";
    new.told(all, |note| note == Some(all)).await;
    drop(old.remove(1));
    server.held("x-1", "", json!({ "vpc-cni-exporter/shards": "3" }));
    let some = format!(
        "{all}; 2 of these are left, and nobody serves the nodes of the others until the last has gone"
    );
    new.told(&some, |note| note == Some(&some)).await;
    assert!(!new.serves() && old.iter().all(Process::serves));
    // Killed: they knew of a competitor, and are gone after one duration.
    drop(old);
    until("new holder", || new.serves()).await;
    for name in ["x-0", "x-2"] {
        assert_eq!(server.lease(name)["spec"]["holderIdentity"], "", "{name}");
    }
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_is_told() {
    let server = Arc::new(Server::default());
    server.empty.store(true, Ordering::SeqCst);
    let mut process = Process::start(&server, "me", (0, 1));
    let words = "there is no namespace ours for the Lease x; see --lead.namespace";
    process.told(words, |note| note.is_some_and(|note| note.starts_with(words))).await;
    server.empty.store(false, Ordering::SeqCst);
    until("data", || process.serves()).await;
    process.told("nothing", |note| note.is_none()).await;
}

#[tokio::test]
async fn somebody_who_is_always_quicker_is_told() {
    let server = Arc::new(Server::default());
    server.quicker.store(true, Ordering::SeqCst);
    let mut process = Process::start(&server, "me", (0, 1));
    process.told("--lead.name", |note| note.is_some_and(|note| note.contains("--lead.name"))).await;
}

#[tokio::test]
async fn a_promise_that_ends_in_an_outage_is_told_and_its_term_goes_on_afterwards() {
    let server = Arc::new(Server::default());
    let mut process = Process::start(&server, "me", (0, 1));
    until("data", || process.serves()).await;
    // Before its third renewal it does not know whether it is alone.
    server.cut.store(true, Ordering::SeqCst);
    let words = "no data is served from now on";
    process.told(words, |note| note.is_some_and(|note| note.contains(words))).await;
    assert!(!process.serves());
    server.cut.store(false, Ordering::SeqCst);
    let told = process.told("nothing", |note| note.is_none()).await;
    assert!(told.term == 1 && process.serves(), "nobody else served: its counters go on");
}

#[tokio::test]
async fn what_the_mirror_notes_stands_in_the_lease_at_once_and_is_left_to_the_next_holder() {
    let server = Arc::new(Server::default());
    let first = Process::start(&server, "first", (0, 1));
    until("data", || first.serves()).await;
    let stands = || server.lease("x")["metadata"]["annotations"]["vpc-cni-exporter/mirror"].clone();
    first.note.send_replace(Note { term: 1, text: "put:0/60".to_owned() });
    until("the note", || stands() == "put:0/60").await;
    until("word of it", || first.noted.borrow().written == "put:0/60").await;
    let second = Process::start(&server, "second", (0, 1));
    until("a follower that has read it", || second.noted.borrow().read == "put:0/60").await;
    assert_eq!(second.noted.borrow().holder, Holder::Another);
    first.note.send_replace(Note { term: 1, text: "put:60/60".to_owned() });
    until("a follower that has read more", || second.noted.borrow().read == "put:60/60").await;
    // Killed. What the next one says of a term that is not its present one is not true.
    second.note.send_replace(Note { term: 7, text: "put:0/0".to_owned() });
    drop(first);
    until("data of the next", || second.serves()).await;
    assert_eq!((stands(), &*second.noted.borrow().read), (json!("put:60/60"), "put:60/60"));
    second.note.send_replace(Note { term: 1, text: "put:60/120".to_owned() });
    until("its note", || stands() == "put:60/120").await;
    assert_eq!(second.noted.borrow().read, "put:60/60", "its predecessor's");
}
