//! Nodes that end at a chosen step of what they do to their disk.
//!
//! [`Shim`] is `steps.c`, loaded into a node by `LD_PRELOAD`: it counts the steps, kills the node at
//! one of them, and notes what a power cut would take ([`power`]). A [`Point`] is a step and how the
//! node ends there. A [`Subject`] goes from point to point: [`Lane`] is a node by itself, and a [`Book`]
//! what a client was told by it, which must hold afterwards; [`Joiner`] is a node of three that has lost
//! its data; [`Restorer`] is one that is restored from a backup. [`Results`] are of all points that were tried.

mod book;
mod joiner;
mod lane;
mod point;
mod power;
mod restorer;
mod results;
mod shim;
mod subject;

pub use joiner::Joiner;
pub use lane::{Lane, Scenario};
pub use point::{Plan, Steps};
pub use restorer::Restorer;
pub use results::Results;
pub use shim::Shim;
