//! What lies between the service and the API server: a relay of bytes that can be cut, so that the service
//! misses what everybody else sees. Comes in: connections. Goes out: the same, or nothing at all while it
//! is cut. Never: a look at what passes.

use super::server::Server;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Serves until the test's process ends.
pub(crate) struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: bool,
    /// Both ends of what is connected.
    open: Vec<TcpStream>,
}

impl Relay {
    /// A relay to an API server, which may come and go.
    pub(crate) fn to(server: &Server) -> Relay {
        let to: SocketAddr = server.url().strip_prefix("https://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let kept = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Who finds nobody behind the relay tries again.
                drop(stream.and_then(|stream| connect(stream, to, &kept)));
            }
        });
        Relay { address, state }
    }

    /// The API server's URL on this side.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Ends every connection, and every new one at once.
    pub(crate) fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.cut = true;
        for stream in state.open.drain(..) {
            // It may have ended by itself.
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.state.lock().unwrap().cut = false;
    }
}

fn connect(near: TcpStream, to: SocketAddr, state: &Mutex<State>) -> io::Result<()> {
    let mut state = state.lock().unwrap();
    if state.cut {
        return Ok(());
    }
    let far = TcpStream::connect(to)?;
    state.open.extend([near.try_clone()?, far.try_clone()?]);
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        thread::spawn(move || pass(from, to));
    }
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    // However it ends, the other side hears of it.
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Both));
}
