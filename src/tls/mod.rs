//! TLS: who a node talks to, and proof of who it is. Alone knows rustls.
//!
//! Between peers both sides show a certificate ([`Peers`]): it must be signed by a CA of the cluster's
//! own file and be made out to the node, by the name that [`node_name`] gives. So neither another
//! certificate of the same CA nor one of another cluster makes a peer. Clients are shown a
//! certificate and asked for none ([`Clients`]).
//!
//! Everything is made from PEM files ([`Files`]), which may be replaced while the node runs:
//! [`watch`] looks at them, takes new ones that are good, and keeps the old where they are not.
//!
//! Known by `peer`, `http` and `client`, which hand it their streams. Decision 0030 says why it is as
//! it is.

mod certificate;
mod clients;
mod configs;
mod expiry;
mod files;
mod name;
mod peers;
#[cfg(test)]
pub(crate) mod tests;
mod trust;
mod watch;

pub use certificate::Certificate;
pub use clients::{ClientStream, Clients, speaks_tls};
pub use expiry::Expiry;
pub use files::{Contents, Error, Files};
pub use name::{check_cluster_name, check_host, node_name};
pub use peers::{CalledStream, CallerStream, Certified, Peers};
pub use trust::{Trust, TrustedStream};
pub use watch::{Watched, watch};
