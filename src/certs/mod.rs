//! `tallykeep certs`: a private CA for one cluster, certificates of its nodes, and a look at them.
//!
//! A convenience, and no service: who has a CA of their own has it issue certificates with the names
//! that [`node_name`](crate::tls::node_name) gives, and needs none of this. Nothing here talks to a
//! node.

mod authority;
mod folder;
mod show;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::clock::{Clock, SystemClock};
use crate::limits::{CA_DAYS, CERTIFICATE_DAYS_DEFAULT};
use crate::tls::{self, check_cluster_name, check_host};

use authority::Authority;
use folder::Folder;

/// The commands.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Make a CA, and a certificate for each node.
    ///
    /// FOLDER gets ca.crt, ca.key, and `node<ID>.crt` and `node<ID>.key` for each node. A node needs ca.crt
    /// and its own two. ca.key can make nodes: keep it where no node is.
    Init {
        /// Where they go; made if it is not there. Nothing in it is overwritten.
        folder: PathBuf,
        /// The cluster's name, as in the nodes' configurations.
        #[arg(long, value_name = "NAME")]
        cluster: String,
        /// For whom.
        #[command(flatten)]
        nodes: Nodes,
    },
    /// Make certificates for further nodes, with the CA of FOLDER.
    Issue {
        /// The folder that `init` has made.
        folder: PathBuf,
        /// For whom.
        #[command(flatten)]
        nodes: Nodes,
    },
    /// Replace nodes' certificates by new ones for the same names, with new keys.
    Renew {
        /// The folder that `init` has made.
        folder: PathBuf,
        /// A node's id; without it, all that have a certificate there.
        #[arg(long = "node", value_name = "ID")]
        nodes: Vec<u64>,
        /// How long they are valid.
        #[arg(long, value_name = "DAYS", default_value_t = CERTIFICATE_DAYS_DEFAULT, value_parser = days())]
        days: u32,
    },
    /// Show whose certificates they are, for which names, and how long they are valid.
    Show {
        /// A PEM file, or a folder with files that end in .crt.
        path: PathBuf,
    },
}

/// For whom.
#[derive(Clone, Debug, clap::Args)]
pub struct Nodes {
    /// A node's id, and the names and IP addresses at which clients reach it; once for each node.
    #[arg(long = "node", value_name = "ID=HOST,…", required = true, value_parser = node)]
    nodes: Vec<Node>,
    /// How long the certificates are valid.
    #[arg(long, value_name = "DAYS", default_value_t = CERTIFICATE_DAYS_DEFAULT, value_parser = days())]
    days: u32,
}

/// One node, as a certificate names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    id: u64,
    hosts: Vec<String>,
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(CA_DAYS))
}

/// Reads `1=one.example,10.0.0.1`.
fn node(text: &str) -> Result<Node, String> {
    let example = "an example: 1=one.example,10.0.0.1";
    let (id, hosts) = text.split_once('=').ok_or(example)?;
    let id = id.parse().ok().filter(|id| *id > 0).ok_or(example)?;
    let hosts: Vec<String> = hosts.split(',').map(|host| host.trim().to_owned()).collect();
    for host in &hosts {
        check_host(host).map_err(|why| format!("{why}; {example}"))?;
    }
    Ok(Node { id, hosts })
}

/// Why nothing was done, or not all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster's name, or the nodes.
    #[error("{0}")]
    Arguments(String),
    /// A file would be overwritten.
    #[error("{} is there already: nothing was made", .0.display())]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds no certificate.
    #[error("{0}")]
    Certificate(#[from] tls::Error),
    /// The CA cannot be used.
    #[error("{}: {why}", path.display())]
    Authority {
        /// Its certificate.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// Carries a command out, and prints which files it has made, or what is in them.
///
/// # Errors
/// If it cannot. Files that are there are never overwritten, but by `renew`.
pub fn run(command: Command) -> Result<(), Error> {
    let now_ms = SystemClock::new().wall_ms();
    match command {
        Command::Init { folder, cluster, nodes } => init(&folder, &cluster, &nodes, now_ms),
        Command::Issue { folder, nodes } => issue(&folder, &nodes, now_ms),
        Command::Renew { folder, nodes, days } => renew(&folder, nodes, days, now_ms),
        Command::Show { path } => {
            print!("{}", show::show(&path, now_ms)?);
            Ok(())
        }
    }
}

fn init(path: &Path, cluster: &str, nodes: &Nodes, now_ms: u64) -> Result<(), Error> {
    check_cluster_name(cluster).map_err(Error::Arguments)?;
    let authority = Authority::new(cluster, now_ms)?;
    let folder = Folder::new(path);
    let mut files = vec![folder.ca(authority.pair())];
    files.extend(issued(&folder, &authority, nodes, now_ms)?);
    folder.create(&files)?;
    folder.announce(&files);
    Ok(())
}

fn issue(path: &Path, nodes: &Nodes, now_ms: u64) -> Result<(), Error> {
    let folder = Folder::new(path);
    let authority = folder.load_ca(now_ms)?;
    let files = issued(&folder, &authority, nodes, now_ms)?;
    folder.create(&files)?;
    folder.announce(&files);
    Ok(())
}

/// A certificate for each of the nodes.
fn issued(
    folder: &Folder,
    authority: &Authority,
    Nodes { nodes, days }: &Nodes,
    now_ms: u64,
) -> Result<Vec<folder::Pair>, Error> {
    let mut ids = BTreeSet::new();
    nodes
        .iter()
        .map(|Node { id, hosts }| {
            if !ids.insert(*id) {
                return Err(Error::Arguments(format!("node {id} is named twice")));
            }
            let name = authority.node_name(*id);
            let names = std::iter::once(name.clone()).chain(hosts.iter().cloned()).collect();
            Ok(folder.node(*id, authority.issue(&name, names, *days, now_ms)?))
        })
        .collect()
}

fn renew(path: &Path, ids: Vec<u64>, days: u32, now_ms: u64) -> Result<(), Error> {
    let folder = Folder::new(path);
    let authority = folder.load_ca(now_ms)?;
    let ids = if ids.is_empty() { folder.node_ids()? } else { ids };
    if ids.is_empty() {
        return Err(Error::Arguments(format!("{} has no node's certificate", path.display())));
    }
    let mut files = Vec::new();
    for id in ids {
        let name = authority.node_name(id);
        let names = folder.names_of(id, &name)?;
        files.push(folder.node(id, authority.issue(&name, names, days, now_ms)?));
    }
    folder.replace(&files)?;
    folder.announce(&files);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::tls::Certificate;

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    fn nodes(texts: &[&str]) -> Nodes {
        Nodes { nodes: texts.iter().map(|text| node(text).unwrap()).collect(), days: 30 }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn nodes_are_read() {
        let one = Node { id: 1, hosts: vec!["one.example".into(), "::1".into()] };
        assert_eq!(node("1=one.example, ::1"), Ok(one));
        for wrong in ["1", "=a", "0=a", "x=a", "1=", "1=a,,b", "1=a b", "1=10.0.0.1:7001"] {
            assert!(node(wrong).unwrap_err().contains("1=one.example"), "{wrong}");
        }
    }

    #[test]
    fn a_cluster_gets_its_certificates_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("certs");
        let now_ms = SystemClock::new().wall_ms() / 1000 * 1000;
        init(&folder, "local", &nodes(&["1=127.0.0.1", "2=two.example"]), now_ms).unwrap();
        assert_eq!(mode(&folder), 0o700);
        for name in ["ca.key", "node1.key", "node2.key"] {
            assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
        }
        let load = |name: &str| Certificate::load(&folder.join(name)).unwrap().remove(0);
        let ca = load("ca.crt");
        assert!(ca.is_ca && ca.names.is_empty());
        assert_eq!(ca.organization.as_deref(), Some("local"));
        let node = load("node2.crt");
        assert_eq!(node.names, ["node-2.local.tallykeep.internal", "two.example"]);
        assert_eq!(node.issuer, ca.subject);
        assert!(!node.is_ca);
        assert_eq!(node.not_after_ms, now_ms + 30 * DAY_MS);

        let before = fs::read(folder.join("node1.key")).unwrap();
        let again = init(&folder, "local", &nodes(&["1=127.0.0.1"]), now_ms);
        assert!(matches!(again, Err(Error::Exists(_))), "{again:?}");
        let again = issue(&folder, &nodes(&["3=three.example", "1=127.0.0.1"]), now_ms);
        assert!(matches!(again, Err(Error::Exists(_))), "{again:?}");
        assert!(!folder.join("node3.crt").exists());
        assert_eq!(fs::read(folder.join("node1.key")).unwrap(), before);

        issue(&folder, &nodes(&["3=three.example"]), now_ms).unwrap();
        renew(&folder, vec![1], 60, now_ms).unwrap();
        assert_ne!(fs::read(folder.join("node1.key")).unwrap(), before);
        let renewed = load("node1.crt");
        assert_eq!(renewed.names, ["node-1.local.tallykeep.internal", "127.0.0.1"]);
        assert_eq!(renewed.not_after_ms, now_ms + 60 * DAY_MS);
        assert_eq!(load("node2.crt"), node);
        assert_eq!(mode(&folder.join("node1.key")), 0o600);
        renew(&folder, Vec::new(), 60, now_ms).unwrap();
        assert_ne!(load("node3.crt").serial, load("node2.crt").serial);
        assert_eq!(load("node2.crt").names, node.names);
        let shown = show::show(&folder, now_ms).unwrap();
        assert!(shown.contains("node-3.local.tallykeep.internal, three.example"), "{shown}");
        assert!(shown.contains("60 days left"), "{shown}");
        let nobody = renew(&folder, vec![9], 60, now_ms);
        assert!(nobody.unwrap_err().to_string().contains("node9.crt"));
    }

    #[test]
    fn a_certificate_does_not_outlive_its_ca() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("certs");
        let now_ms = SystemClock::new().wall_ms();
        let long_ago_ms = now_ms - u64::from(CA_DAYS - 10) * DAY_MS;
        init(&folder, "local", &nodes(&["1=127.0.0.1"]), long_ago_ms).unwrap();
        renew(&folder, Vec::new(), 365, now_ms).unwrap();
        let load = |name: &str| Certificate::load(&folder.join(name)).unwrap().remove(0);
        assert_eq!(load("node1.crt").not_after_ms, load("ca.crt").not_after_ms);
        let late = renew(&folder, Vec::new(), 365, now_ms + 11 * DAY_MS);
        assert!(late.unwrap_err().to_string().contains("expired"));
        assert!(init(&dir.path().join("b"), "my cluster", &nodes(&["1=a"]), now_ms).is_err());
        assert!(init(&dir.path().join("b"), "b", &nodes(&["1=a", "1=b"]), now_ms).is_err());
        assert!(!dir.path().join("b").exists());
    }
}
