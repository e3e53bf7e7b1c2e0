//! The settings of TLS, and where a node may listen without it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Settings;
use crate::tls::{Files, check_cluster_name};

/// The certificates of the two listeners. Their files may be replaced while the node runs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// For peers, on both sides of a connection.
    pub peers: Option<PeerFiles>,
    /// For clients.
    pub clients: Option<CertificateFiles>,
}

/// PEM files that prove to peers which node this is, and to this node which they are.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct PeerFiles {
    /// The cluster's CA, or several.
    pub ca: PathBuf,
    /// This node's certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// PEM files that prove to clients whom they talk to.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The certificate, and those between it and its CA.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsSettings {
    pub(super) fn relative_to(&mut self, folder: &Path) {
        let peers = self
            .peers
            .iter_mut()
            .flat_map(|peers| [&mut peers.ca, &mut peers.certificate, &mut peers.key]);
        let clients = self
            .clients
            .iter_mut()
            .flat_map(|clients| [&mut clients.certificate, &mut clients.key]);
        for path in peers.chain(clients) {
            *path = folder.join(&*path);
        }
    }

    pub(super) fn validate(&self, cluster: &str) -> Result<(), String> {
        if self.peers.is_some() { check_cluster_name(cluster) } else { Ok(()) }
    }
}

impl From<PeerFiles> for Files {
    fn from(PeerFiles { ca, certificate, key }: PeerFiles) -> Self {
        Self { ca: Some(ca), certificate, key }
    }
}

impl From<CertificateFiles> for Files {
    fn from(CertificateFiles { certificate, key }: CertificateFiles) -> Self {
        Self { ca: None, certificate, key }
    }
}

impl Settings {
    /// The listeners that others than this machine can reach and that have no TLS: for whom they are,
    /// and their addresses.
    pub fn exposed(&self) -> Vec<(&'static str, &str)> {
        let clients = self.tls.clients.is_none().then(|| ("clients", self.http()));
        let peers = self.tls.peers.is_none().then(|| ("peers", self.peer()));
        let listeners = clients.into_iter().chain(peers);
        listeners.filter(|(_, address)| !is_loopback(address)).collect()
    }
}

/// Whether only this machine can connect to `host:port`. A name is taken for another machine's but
/// for `localhost`: what it means is up to the DNS.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().map_or(host == "localhost", |ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let file = format!(
            "cluster = \"test\"\nid = 1\ndata = \"data\"\n{text}\n\
             [[nodes]]\nid = 1\nhttp = \"127.0.0.1:1\"\npeer = \"[::1]:2\"\n"
        );
        Settings::parse(&file, Path::new("/etc/tallykeep")).unwrap()
    }

    #[test]
    fn what_others_can_reach_without_tls_is_exposed() {
        let none: Vec<(&str, &str)> = Vec::new();
        assert_eq!(settings("").exposed(), none);
        assert_eq!(settings("http = \"localhost:80\"").exposed(), none);
        assert_eq!(settings("http = \"0.0.0.0:80\"").exposed(), [("clients", "0.0.0.0:80")]);
        assert_eq!(settings("peer = \"[::]:80\"").exposed(), [("peers", "[::]:80")]);
        let open = "http = \"10.0.0.1:80\"\npeer = \"one.example:81\"\n";
        let both = [("clients", "10.0.0.1:80"), ("peers", "one.example:81")];
        assert_eq!(settings(open).exposed(), both);
        let clients = "[tls.clients]\ncertificate = \"a\"\nkey = \"b\"";
        assert_eq!(settings(&format!("{open}{clients}")).exposed(), both[1..]);
        let peers = "[tls.peers]\nca = \"c\"\ncertificate = \"a\"\nkey = \"/b\"";
        assert_eq!(settings(&format!("{open}{peers}")).exposed(), both[..1]);
        let all = settings(&format!("{open}{clients}\n{peers}"));
        assert_eq!(all.exposed(), none);
        let peers = all.tls.peers.unwrap();
        assert_eq!(peers.ca, Path::new("/etc/tallykeep/c"));
        assert_eq!(peers.key, Path::new("/b"));
    }

    #[test]
    fn peers_with_certificates_need_a_name_that_can_stand_in_them() {
        let peers = "[tls.peers]\nca = \"c\"\ncertificate = \"a\"\nkey = \"b\"";
        let tls = settings(peers).tls;
        for good in ["local", "eu-1.production", "black_box", "Wix"] {
            tls.validate(good).unwrap();
        }
        for bad in ["my cluster", "dot.", "ä", &"a".repeat(64)] {
            assert!(tls.validate(bad).unwrap_err().contains("DNS name"), "{bad}");
        }
        TlsSettings::default().validate("my cluster").unwrap();
    }
}
