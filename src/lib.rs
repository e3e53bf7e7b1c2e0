//! tallykeep: exact rate limits and a durable audit log, replicated over three machines.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod bindings;
pub mod clock;
pub mod codec;
pub mod config;
pub mod error;
pub mod http;
pub mod limits;
pub mod machine;
pub mod peer;
pub mod propose;
pub mod query;
pub mod raft;
pub mod storage;
