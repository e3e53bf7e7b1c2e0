//! The client against servers that fail in chosen ways, and against real nodes. One program, so that
//! it is linked once.

mod cluster;
mod fake;
mod faults;
mod nodes;
mod readme;
mod wait;
