//! TCP with TLS: both sides prove which node they are.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};

use super::transport::{Accept, Caller, Connection, Dial};
use crate::tls::{CallerStream, Peers};

/// Dials over TLS, with the certificates of this moment.
pub struct TlsDial(pub Arc<Peers>);

impl Dial for TlsDial {
    fn dial(&self, to: u64, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        let (peers, address) = (self.0.clone(), address.to_owned());
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(peers.connect(to, stream).await?) as Box<dyn Connection>)
        })
    }
}

/// Accepts over TLS, with the certificates of this moment.
pub struct TlsListener {
    listener: TcpListener,
    peers: Arc<Peers>,
}

impl TlsListener {
    /// Takes the connections of `listener`.
    pub fn new(listener: TcpListener, peers: Arc<Peers>) -> Self {
        Self { listener, peers }
    }
}

impl Accept for TlsListener {
    type Connection = CallerStream<TcpStream>;
    type Arrival = BoxFuture<'static, io::Result<(Self::Connection, Caller)>>;

    async fn accept(&mut self) -> io::Result<Self::Arrival> {
        let (stream, _) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        let peers = self.peers.clone();
        Ok(Box::pin(async move {
            let (stream, certified) = peers.accept(stream).await?;
            Ok((stream, Caller::Certified(certified)))
        }))
    }
}
