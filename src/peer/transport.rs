//! What carries the bytes between nodes: TCP, with TLS (`secure.rs`) or without, or whatever a test
//! puts in its place.
//!
//! A connection is asked for by name once and written to by whole frames, so what is called through
//! a table here is called rarely.

use std::future::{Future, Ready, ready};
use std::io;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::tls::Certified;

/// A connection: bytes both ways, in order, until it breaks.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for C {}

/// Makes connections to peers.
pub trait Dial: Send + Sync + 'static {
    /// A connection to node `to`, which listens at `address`. Whether it is that node that answers is
    /// proved here, where it can be.
    ///
    /// # Errors
    /// (of the future) If it cannot be made: nothing was sent then.
    fn dial(&self, to: u64, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Connection>>>;
}

/// Takes the connections that peers make.
pub trait Accept: Send + 'static {
    /// What it gives.
    type Connection: Connection;
    /// What makes a connection out of what was accepted, while others are being accepted.
    type Arrival: Future<Output = io::Result<(Self::Connection, Caller)>> + Send + 'static;

    /// The next one to connect.
    ///
    /// # Errors
    /// (of the future) If one could not be taken; the next may be.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Arrival>> + Send;
}

/// What is known of who made a connection, before a word was said.
pub enum Caller {
    /// Nothing: it is whom it says.
    Unproved,
    /// It has shown a certificate of the cluster's CA.
    Certified(Certified),
}

impl Caller {
    /// Whether it may be node `id`.
    ///
    /// # Errors
    /// Who it is instead.
    pub fn is_node(&self, id: u64) -> Result<(), String> {
        match self {
            Self::Unproved => Ok(()),
            Self::Certified(certified) => certified.is_node(id),
        }
    }
}

/// Dials over TCP. What it gives sends what it is given at once: frames are whole.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial(&self, _: u64, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        let address = address.to_owned();
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Connection>)
        })
    }
}

impl Accept for TcpListener {
    type Connection = TcpStream;
    type Arrival = Ready<io::Result<(TcpStream, Caller)>>;

    async fn accept(&mut self) -> io::Result<Self::Arrival> {
        let (stream, _) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(ready(Ok((stream, Caller::Unproved))))
    }
}
