//! What a node is called in its certificate.

use rustls::pki_types::ServerName;

/// The name of node `id` of `cluster`, which its certificate must have as a DNS name among its
/// subject's alternative names: `node-1.local.tallykeep.internal`. Nobody looks it up: the top-level
/// domain `internal` is set apart for names that are not in the DNS.
///
/// A DNS name and not a URI, for the check of a server's name, which every TLS library has, then is
/// the check of a node's identity, and every CA can issue it.
pub fn node_name(cluster: &str, id: u64) -> String {
    format!("node-{id}.{cluster}.tallykeep.internal")
}

/// Whether nodes of a cluster of this name can have certificates: letters, of which the case does not
/// count, digits, `-`, `_`, and dots between them.
///
/// # Errors
/// One sentence that names the cluster.
pub fn check_cluster_name(cluster: &str) -> Result<(), String> {
    server_name(cluster, u64::MAX).map(|_| ()).map_err(|()| {
        format!(
            "the cluster's name {cluster:?} cannot be part of a DNS name, which nodes' certificates \
             need: letters, digits, - and _, at most 63 of them between dots"
        )
    })
}

/// Checks what a node's certificate is to be made out to: a DNS name or an IP address.
///
/// # Errors
/// One sentence that names it.
pub fn check_host(host: &str) -> Result<(), String> {
    ServerName::try_from(host)
        .map(|_| ())
        .map_err(|_| format!("{host:?} is neither a DNS name nor an IP address"))
}

pub(super) fn server_name(cluster: &str, id: u64) -> Result<ServerName<'static>, ()> {
    match ServerName::try_from(node_name(cluster, id)) {
        Ok(name @ ServerName::DnsName(_)) => Ok(name),
        _ => Err(()),
    }
}
