//! tallykeep: exact rate limits and a durable audit log, replicated over three machines.
//!
//! The tour, from the door to the cellar. Each room knows only those below it; the single way back
//! up is over the wire, through [`peer`].
//!
//! - [`server`]: the composition root; [`recover`] and [`restore`] open a node that does not run
//! - [`http`]: the front door, the only room that knows axum
//! - [`propose`]: the hallway, the one way to change state
//! - [`raft`]: the stairs, the only room that knows openraft
//! - [`query`]: reading the audit log, pure
//! - [`storage`]: the cellar, the only room that knows RocksDB
//! - [`machine`]: the quiet room, the replicated state machine, pure
//! - [`peer`]: the wire between nodes
//! - [`client`]: the commands that talk to a cluster from outside
//!
//! Beside the rooms: [`archive`], [`bindings`], [`certs`], [`check_config`], [`clock`], [`codec`],
//! [`config`], [`descriptors`], [`error`], [`limits`], [`manual`], [`metrics`], [`secret`],
//! [`spreadsheet`], [`telemetry`], [`tls`], [`trace`].
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod archive;
pub mod bindings;
pub mod certs;
pub mod check_config;
pub mod client;
pub mod clock;
pub mod codec;
pub mod config;
mod deleted;
pub mod descriptors;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod limits;
mod listener;
pub mod machine;
pub mod manual;
pub mod metrics;
pub mod peer;
pub mod propose;
pub mod query;
pub mod raft;
pub mod recover;
pub mod restore;
pub mod secret;
pub mod server;
pub mod spreadsheet;
pub mod storage;
pub mod telemetry;
pub mod tls;
pub mod trace;
