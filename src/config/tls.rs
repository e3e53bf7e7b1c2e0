//! The settings of TLS, and where a node may listen without it, or without tokens.

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

/// A listener that others than this machine can reach, and that lacks what keeps them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposed<'a> {
    /// Clients or peers.
    pub whom: &'static str,
    /// `host:port`
    pub address: &'a str,
    /// What it lacks.
    pub lacks: &'static str,
}

impl Settings {
    /// The listeners that others than this machine can reach and that have no TLS, or, for clients, no
    /// tokens. Peers need none: their certificates say who they are.
    pub fn exposed(&self) -> Vec<Exposed<'_>> {
        let lacks = match (self.tls.clients.is_some(), self.auth.is_some()) {
            (true, true) => None,
            (false, true) => Some("TLS"),
            (true, false) => Some("tokens"),
            (false, false) => Some("TLS and tokens"),
        };
        let clients = lacks.map(|lacks| Exposed { whom: "clients", address: self.http(), lacks });
        let peers = self.tls.peers.is_none();
        let peers = peers.then(|| Exposed { whom: "peers", address: self.peer(), lacks: "TLS" });
        let listeners = clients.into_iter().chain(peers);
        listeners.filter(|listener| !is_loopback(listener.address)).collect()
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
    fn what_others_can_reach_without_tls_or_tokens_is_exposed() {
        let exposed = |text: &str| {
            let settings = settings(text);
            let show = |one: &Exposed| format!("{} {} {}", one.whom, one.address, one.lacks);
            settings.exposed().iter().map(show).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(exposed(""), none);
        assert_eq!(exposed("http = \"localhost:80\""), none);
        let everything = "TLS and tokens";
        assert_eq!(exposed("http = \"0.0.0.0:80\""), [format!("clients 0.0.0.0:80 {everything}")]);
        assert_eq!(exposed("peer = \"[::]:80\""), ["peers [::]:80 TLS"]);
        let open = "http = \"10.0.0.1:80\"\npeer = \"one.example:81\"\n";
        let peer = "peers one.example:81 TLS";
        let clients = "[tls.clients]\ncertificate = \"a\"\nkey = \"b\"\n";
        let peers = "[tls.peers]\nca = \"c\"\ncertificate = \"a\"\nkey = \"/b\"\n";
        let hash = "00".repeat(32);
        let auth = format!("[auth]\noperator_sha256 = [\"{hash}\"]\n");
        for (more, lacks) in [
            ("", Some(everything)),
            (clients, Some("tokens")),
            (&*auth, Some("TLS")),
            (&*format!("{clients}{auth}"), None),
        ] {
            let client = lacks.map(|lacks| format!("clients 10.0.0.1:80 {lacks}"));
            let expected: Vec<String> = client.iter().cloned().chain([peer.to_owned()]).collect();
            assert_eq!(exposed(&format!("{open}{more}")), expected);
            let expected: Vec<String> = client.into_iter().collect();
            assert_eq!(exposed(&format!("{open}{more}{peers}")), expected);
        }
        let all = settings(&format!("{open}{clients}\n{peers}"));
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
