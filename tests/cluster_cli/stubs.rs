//! Servers that fail as networks and nodes do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server; it ends when it is dropped.
pub struct Stub {
    url: String,
    lost: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Stub {
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers that were not passed on.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }

    async fn serve<F: Future<Output = ()> + Send>(
        each: impl Fn(TcpStream, Arc<AtomicUsize>) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its number"));
        let lost = Arc::new(AtomicUsize::new(0));
        let counter = lost.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a client");
                each(client, counter.clone()).await;
            }
        });
        Self { url, lost, serving }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Reads a whole request.
async fn request(client: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return request;
            }
        }
        if client.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return request;
        }
    }
}

/// Passes requests on to a node, and no answer back.
pub async fn lossy(node: &str) -> Stub {
    let node = node.strip_prefix("http://").expect("a URL").to_owned();
    Stub::serve(move |mut client, lost| {
        let node = node.clone();
        async move {
            let request = request(&mut client).await;
            let mut server = TcpStream::connect(node).await.expect("the node listens");
            server.write_all(&request).await.expect("the node reads");
            let answered = server.read(&mut [0; 16]).await.expect("an answer");
            assert!(answered > 0, "the node carried it out");
            lost.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await
}

/// Answers every request with these bytes, and hangs up.
async fn answers(bytes: &'static str) -> Stub {
    Stub::serve(move |mut client, _| async move {
        request(&mut client).await;
        // The client may not care for the rest.
        client.write_all(bytes.as_bytes()).await.ok();
        client.shutdown().await.ok();
        client.read_to_end(&mut Vec::new()).await.ok();
    })
    .await
}

/// Begins an export and breaks it off, as a node does that cannot finish it.
pub async fn breaks_off() -> Stub {
    answers("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n\"broken\"\n\r\n").await
}

/// Sends an export of which nobody can know whether it is whole.
pub async fn without_length() -> Stub {
    answers("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\"broken\"\n").await
}

/// Sends an export without its end, and calls it whole.
pub async fn without_end() -> Stub {
    answers("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n\"broken\"\n{").await
}
