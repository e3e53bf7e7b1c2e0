//! Whom a client of a cluster trusts.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client};

use super::configs::{of_a_client, system_roots};
use super::files::{Error, load_authorities};

/// A connection to a node that has proved its name.
pub type TrustedStream<S> = client::TlsStream<S>;

/// The CAs by whose word a client takes a node for what it says it is.
#[derive(Clone, Debug)]
pub struct Trust {
    config: Arc<ClientConfig>,
}

impl Trust {
    /// The CAs in a PEM file, and no others.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn file(path: &Path) -> Result<Self, Error> {
        let roots = load_authorities(path)?.roots;
        Self::in_roots(roots).map_err(|why| Error::new(path, why))
    }

    /// Those that the operating system trusts.
    ///
    /// # Errors
    /// One sentence, if it has none.
    pub fn system() -> Result<Self, String> {
        Self::in_roots(Arc::new(system_roots()?))
    }

    /// Nobody: for clients that speak no TLS.
    ///
    /// # Panics
    /// Never: the provider has ciphers.
    pub fn nobody() -> Self {
        Self::in_roots(Arc::new(RootCertStore::empty())).expect("the provider has ciphers")
    }

    fn in_roots(roots: Arc<RootCertStore>) -> Result<Self, String> {
        Ok(Self { config: Arc::new(of_a_client(roots)?) })
    }

    /// The same as `reqwest` takes it, in `tls_backend_preconfigured`.
    pub fn for_reqwest(&self) -> ClientConfig {
        ClientConfig::clone(&self.config)
    }

    /// Makes a connection to `host`, a name or an address, secure.
    ///
    /// # Errors
    /// If what answers there does not prove to be that host.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        stream: S,
    ) -> io::Result<TrustedStream<S>> {
        let name = ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']'))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?
            .to_owned();
        TlsConnector::from(self.config.clone()).connect(name, stream).await
    }
}
