//! The certificates of peers: shown and asked for, on both sides.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::configs::{PeerConfigs, is_made_out_to};
use super::expiry::Expiry;
use super::files::{Contents, Error, Files};
use super::name::server_name;
use super::watch::Watched;

/// A connection that a peer has made.
pub type CallerStream<S> = server::TlsStream<S>;
/// A connection to a peer.
pub type CalledStream<S> = client::TlsStream<S>;

/// What a node needs to talk to its peers, made of files and made again when they change.
pub struct Peers {
    cluster: String,
    /// This node's own name.
    name: ServerName<'static>,
    files: Files,
    current: RwLock<Current>,
}

struct Current {
    configs: Arc<PeerConfigs>,
    expiry: Expiry,
}

impl Peers {
    /// Reads the files of node `id` of `cluster`; gives what was read too, for the watch.
    ///
    /// # Errors
    /// If a file cannot be read, or peers would refuse the certificate.
    pub fn load(files: Files, cluster: &str, id: u64) -> Result<(Self, Contents), Error> {
        let name = server_name(cluster, id)
            .map_err(|()| Error::new(&files.certificate, "the cluster's name is no DNS name"))?;
        let contents = files.read()?;
        let current = make(&files, &contents, &name)?;
        let cluster = cluster.to_owned();
        Ok((Self { cluster, name, files, current: RwLock::new(current) }, contents))
    }

    fn configs(&self) -> Arc<PeerConfigs> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).configs.clone()
    }

    /// Takes the connection of a caller whose certificate is of a CA of this cluster. That it is a
    /// node's, and whose, is yet to be seen: [`Certified::is_node`].
    ///
    /// # Errors
    /// If the caller shows no such certificate, or does not speak TLS.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<(CallerStream<S>, Certified)> {
        let stream = TlsAcceptor::from(self.configs().server.clone()).accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate =
            shown.ok_or_else(|| io::Error::other("no certificate was shown"))?.clone();
        Ok((stream, Certified { certificate, cluster: self.cluster.clone() }))
    }

    /// Makes a connection secure that was made to node `to`.
    ///
    /// # Errors
    /// If what answers there does not prove to be that node. That it refuses this one is seen only
    /// when something is read from it.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        to: u64,
        stream: S,
    ) -> io::Result<CalledStream<S>> {
        let name = server_name(&self.cluster, to)
            .map_err(|()| io::Error::other("the cluster's name is no DNS name"))?;
        TlsConnector::from(self.configs().client.clone()).connect(name, stream).await
    }
}

/// Made of the files, which it checks, or why not.
fn make(files: &Files, contents: &Contents, name: &ServerName<'static>) -> Result<Current, Error> {
    let parsed = files.parse(contents)?;
    let expiry = Expiry::of(&parsed, files)?;
    let configs =
        PeerConfigs::new(parsed, name).map_err(|why| Error::new(&files.certificate, why))?;
    Ok(Current { configs: Arc::new(configs), expiry })
}

impl Watched for Peers {
    fn whom(&self) -> &'static str {
        "peers"
    }

    fn files(&self) -> &Files {
        &self.files
    }

    fn take(&self, contents: &Contents) -> Result<(), Error> {
        let made = make(&self.files, contents, &self.name)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = made;
        Ok(())
    }

    fn expiry(&self) -> Expiry {
        self.current.read().unwrap_or_else(PoisonError::into_inner).expiry.clone()
    }
}

/// A caller's certificate, of a CA of this cluster.
pub struct Certified {
    certificate: CertificateDer<'static>,
    cluster: String,
}

impl Certified {
    /// Whether the certificate is that of node `id` of this cluster.
    ///
    /// # Errors
    /// What it is instead.
    pub fn is_node(&self, id: u64) -> Result<(), String> {
        let name = server_name(&self.cluster, id)
            .map_err(|()| "the cluster's name is no DNS name".to_owned())?;
        is_made_out_to(&self.certificate, &name)
    }
}
