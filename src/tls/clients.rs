//! The certificate that clients are shown.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server};

use super::configs::for_clients;
use super::expiry::Expiry;
use super::files::{Contents, Error, Files};
use super::watch::Watched;

/// A client's connection.
pub type ClientStream<S> = server::TlsStream<S>;

/// What a node needs to speak TLS with clients, made of files and made again when they change.
pub struct Clients {
    files: Files,
    current: RwLock<(Arc<ServerConfig>, Expiry)>,
}

impl Clients {
    /// Reads the files; gives what was read too, for the watch.
    ///
    /// # Errors
    /// If a file cannot be read, or the key is not that of the certificate.
    pub fn load(files: Files) -> Result<(Self, Contents), Error> {
        let contents = files.read()?;
        let current = RwLock::new(make(&files, &contents)?);
        Ok((Self { files, current }, contents))
    }

    /// Takes a client's connection.
    ///
    /// # Errors
    /// If the client does not speak TLS, or will have none of this.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<ClientStream<S>> {
        let config = self.current.read().unwrap_or_else(PoisonError::into_inner).0.clone();
        TlsAcceptor::from(config).accept(stream).await
    }
}

/// Whether what begins with this byte can be TLS: the type of a record with a handshake.
pub fn speaks_tls(first: u8) -> bool {
    first == 0x16
}

fn make(files: &Files, contents: &Contents) -> Result<(Arc<ServerConfig>, Expiry), Error> {
    let parsed = files.parse(contents)?;
    let expiry = Expiry::of(&parsed, files)?;
    let config = for_clients(parsed).map_err(|why| Error::new(&files.certificate, why))?;
    Ok((config, expiry))
}

impl Watched for Clients {
    fn whom(&self) -> &'static str {
        "clients"
    }

    fn files(&self) -> &Files {
        &self.files
    }

    fn take(&self, contents: &Contents) -> Result<(), Error> {
        let made = make(&self.files, contents)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = made;
        Ok(())
    }

    fn expiry(&self) -> Expiry {
        self.current.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}
