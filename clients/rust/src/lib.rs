//! Exact rate limits and an audit log, kept by a tallykeep cluster.
//!
//! [`Client`] makes the calls. Any node takes any request: what one does not answer is asked of the
//! next, with the same `Idempotency-Key`, so that the cluster counts it once. The README tells when
//! and for how long, and has samples.

#![warn(missing_docs)]

mod api;
mod call;
mod circuit;
mod client;
mod entry;
mod error;
mod export;
mod filter;
mod limiter;
mod retry_after;

pub use client::{Builder, Client};
pub use entry::{Entry, NewEntry, Page};
pub use error::{Error, ErrorKind, Result};
pub use export::{Export, Format};
pub use filter::{Filter, Order, Query};
pub use limiter::{Decision, Limit};
