//! The holder, asked directly. Comes in: its address. Goes out: whether it serves data. Never: a guess: an
//! answer that is not understood is none, and so is a refused connection, which may be a firewall's word
//! about a holder that others do reach.

use super::lease::Read;
use super::term::Knock;
use serde::Deserialize;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A status is much shorter.
const LONGEST: u64 = 256 * 1024;

#[derive(Deserialize)]
struct Status {
    may_serve: bool,
}

/// Asks the holder of a Lease.
pub(super) async fn holder(read: &Read, patience: Duration) -> Knock {
    match &read.address {
        Some(address) => knock(address, patience).await,
        None => Knock::Silent,
    }
}

/// Asks for `/api/v1/status`.
async fn knock(address: &str, patience: Duration) -> Knock {
    match tokio::time::timeout(patience, ask(address)).await {
        Ok(Ok(Some(true))) => Knock::Serves,
        Ok(Ok(Some(false))) => Knock::Idle,
        Ok(Ok(None) | Err(_)) | Err(_) => Knock::Silent,
    }
}

async fn ask(address: &str) -> std::io::Result<Option<bool>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /api/v1/status HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    let body = end.and_then(|end| answer.get(end..)).unwrap_or_default();
    Ok(serde_json::from_slice::<Status>(body).ok().map(|status| status.may_serve))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A server that reads a request, says this and closes; or says nothing.
    async fn answered(says: Option<&'static str>) -> Knock {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _read = stream.read(&mut request).await.unwrap();
            match says {
                Some(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
        });
        let knock = knock(&address, Duration::from_millis(200)).await;
        serving.abort();
        knock
    }

    #[tokio::test]
    async fn what_is_not_understood_is_no_answer() {
        let ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
        for (body, expected) in [
            ("{\"may_serve\":true,\"serves_data\":false}", Knock::Serves),
            ("{\"may_serve\":false}", Knock::Idle),
            ("{\"version\":\"0.0.1\"}", Knock::Silent),
            ("<html>", Knock::Silent),
            ("", Knock::Silent),
        ] {
            let text: &'static str = format!("{ok}{body}").leak();
            assert_eq!(answered(Some(text)).await, expected, "{body}");
        }
        assert_eq!(answered(None).await, Knock::Silent);
    }

    #[tokio::test]
    async fn where_nobody_listens_nobody_knows_who_serves() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        assert_eq!(knock(&address, Duration::from_secs(5)).await, Knock::Silent);
    }
}
