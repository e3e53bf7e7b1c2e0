//! tallykeep: exact rate limits and a durable audit log, replicated over three machines.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod clock;
pub mod codec;
pub mod error;
pub mod limits;
pub mod machine;
pub mod peer;
pub mod propose;
pub mod query;
pub mod raft;
pub mod storage;
