//! The sockets that a node listens on.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::limits;

/// Listens on the first of `address`'s addresses that can be had.
///
/// The runtime's own `bind` has the system keep 128 connections that are not yet accepted. Of a
/// larger burst, as when a node comes back and all its clients return, the system then drops the
/// rest, and each of them tries again after a second.
///
/// # Errors
/// If `address` names nothing, or nothing that this machine can listen on.
pub(crate) async fn listen(address: &str) -> io::Result<TcpListener> {
    let mut error = None;
    for address in lookup_host(address).await? {
        match listen_at(address) {
            Ok(listener) => return Ok(listener),
            Err(refused) => error = Some(refused),
        }
    }
    Err(error.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no such address")))
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A node that was restarted takes its port again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits::LISTEN_BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_burst_of_clients_is_connected_before_any_is_accepted() {
        // What the system's own bound leaves of ours.
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let burst = most.trim().parse::<usize>().unwrap().min(512);
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..burst)
            .map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(900)).unwrap())
            .collect();
        for _ in &clients {
            listener.accept().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_refused() {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let taken = listener.local_addr().unwrap().to_string();
        assert_eq!(listen(&taken).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(listen("127.0.0.1").await.is_err());
    }
}
