//! The HTTP API on three real processes: every endpoint, bound and error, on every node.
//!
//! What is asserted here is in SPEC sections 2 and 3 and in the guide; the bytes are written out, so
//! that a change of the program cannot change what is expected of it.

mod cluster;

#[path = "cluster_api/checks.rs"]
mod checks;
#[path = "cluster_api/errors.rs"]
mod errors;
#[path = "cluster_api/exports.rs"]
mod exports;
#[path = "cluster_api/logs.rs"]
mod logs;
#[path = "cluster_api/objects.rs"]
mod objects;
#[path = "cluster_api/operators.rs"]
mod operators;
#[path = "cluster_api/queries.rs"]
mod queries;
#[path = "cluster_api/retention.rs"]
mod retention;
