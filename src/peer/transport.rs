//! What carries the bytes between nodes: TCP, or whatever a test puts in its place.
//!
//! A connection is asked for by name once and written to by whole frames, so what is called through
//! a table here is called rarely.

use std::future::Future;
use std::io;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A connection: bytes both ways, in order, until it breaks.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for C {}

/// Makes connections to peers.
pub trait Dial: Send + Sync + 'static {
    /// A connection to the peer that listens at `address`.
    ///
    /// # Errors
    /// (of the future) If it cannot be made: nothing was sent then.
    fn dial(&self, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Connection>>>;
}

/// Takes the connections that peers make.
pub trait Accept: Send + 'static {
    /// What it gives.
    type Connection: Connection;

    /// The next connection.
    ///
    /// # Errors
    /// (of the future) If one could not be taken; the next may be.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Connection>> + Send;
}

/// Dials over TCP. What it gives sends what it is given at once: frames are whole.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial(&self, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
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

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
