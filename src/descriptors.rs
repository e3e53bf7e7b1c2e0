//! File descriptors: a process may often have 1,024 without asking, and many more if it asks.
//!
//! A connection takes one, and so does each of RocksDB's files, whose lack would end the node. So
//! clients get only what is left beside a reserve.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::{CLIENT_CONNECTIONS_MAX, DESCRIPTORS_RESERVED};

/// Raises this process's limit as far as it may, and gives how many clients may connect under it.
pub fn raise() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // What it was stays in force if it cannot be raised, and is asked for below.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = getrlimit(Resource::Nofile).current;
    let connections = connections(limit);
    if connections < CLIENT_CONNECTIONS_MAX {
        tracing::warn!(
            limit,
            connections,
            "few file descriptors are allowed (ulimit -n), so fewer clients may connect"
        );
    }
    connections
}

/// How many clients may connect under a limit; `None` is no limit.
fn connections(limit: Option<u64>) -> usize {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    (limit - DESCRIPTORS_RESERVED.min(limit / 2)).min(CLIENT_CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_the_reserve_leaves() {
        assert_eq!(connections(None), CLIENT_CONNECTIONS_MAX);
        assert_eq!(connections(Some(1 << 20)), CLIENT_CONNECTIONS_MAX);
        assert_eq!(connections(Some(4096)), 4096 - DESCRIPTORS_RESERVED);
        assert_eq!(connections(Some(1024)), 512);
    }
}
