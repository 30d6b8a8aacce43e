//! Tests against a real API server. Comes in: nodes, pods and rights as tests write them, fleets that
//! are mirrored. Goes out: the real program's figures, held against the truth. Never: an API server of
//! two tests at the same time, as nodes have no namespace: whoever has the shared one has it alone.

use account::{Account, manifest};
use api::{Api, wait};
use serde_json::Value;
use server::Server;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

mod account;
mod api;
mod chart;
mod harness;
mod leaders;
mod mirror;
mod mirrored;
mod objects;
mod outages;
mod reach;
mod relay;
mod replicas;
mod rights;
mod scene;
mod script;
mod server;
mod shards;
mod watched;

/// An API server without nodes and pods, for one test alone.
pub(crate) struct Cluster {
    pub(crate) admin: Api,
    held: Held,
}

enum Held {
    /// The one that all tests take in turn.
    Shared(
        &'static Server,
        #[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>,
    ),
    /// One of a test's own, to be killed.
    Own(Server),
}

impl Cluster {
    /// The shared one, emptied, until this value is dropped.
    pub(crate) fn shared() -> Cluster {
        static SERVER: OnceLock<Server> = OnceLock::new();
        static TURN: Mutex<()> = Mutex::new(());
        // A test that failed leaves objects behind, which are taken away here, and nothing else.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let server = SERVER.get_or_init(Server::start_for_all);
        let admin = Api::of(server.kubeconfig());
        let cluster = Cluster { admin, held: Held::Shared(server, turn) };
        wait(cluster.empty());
        cluster
    }

    /// One of its own, with more flags of kube-apiserver.
    pub(crate) fn own(flags: &[&str]) -> Cluster {
        let server = Server::start(flags);
        Cluster { admin: Api::of(server.kubeconfig()), held: Held::Own(server) }
    }

    /// The service's account with these rights.
    pub(crate) fn account(&self, manifest: &[Value]) -> Account {
        Account::new(self, &self.admin, manifest)
    }

    async fn empty(&self) {
        for collection in [objects::PODS, objects::DAEMONSETS, objects::NODES, replicas::LEASES] {
            self.admin.delete(collection).await;
        }
        for file in ["rbac.yaml", "rbac-proxy.yaml"] {
            account::remove(&self.admin, &manifest(file)).await;
        }
    }
}

impl Deref for Cluster {
    type Target = Server;

    fn deref(&self) -> &Server {
        match &self.held {
            Held::Shared(server, _) => server,
            Held::Own(server) => server,
        }
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Server {
        match &mut self.held {
            Held::Shared(..) => panic!("the shared API server stays as it is: Cluster::own"),
            Held::Own(server) => server,
        }
    }
}
