//! Ports that stay free while no node listens on them.
//!
//! A port that the system picks may be given to any outgoing connection as soon as a node that is
//! to come back later lets go of it. So ports are taken from below the range that systems pick
//! from, and a locked file per port keeps tests that run beside each other apart.

use std::fs::{self, File};
use std::net::TcpListener;
use std::ops::Range;

use rand::Rng;

/// Below the ports that Linux (from 32768) and others (from 49152) give to outgoing connections.
const RANGE: Range<u16> = 12_000..32_000;

/// Some ports of this machine, for as long as this lives.
pub struct Ports {
    numbers: Vec<u16>,
    /// Unlocked when they are dropped, also by a crash.
    _locks: Vec<File>,
}

impl Ports {
    /// Reserves ports.
    pub fn reserve(count: usize) -> Self {
        let dir = std::env::temp_dir().join("tallykeep-test-ports");
        fs::create_dir_all(&dir).expect("a folder for locks");
        let (mut numbers, mut locks) = (Vec::new(), Vec::new());
        while numbers.len() < count {
            let port = rand::rng().random_range(RANGE);
            let lock = File::create(dir.join(port.to_string())).expect("a lock's file");
            if lock.try_lock().is_ok() && is_free(port) {
                numbers.push(port);
                locks.push(lock);
            }
        }
        Self { numbers, _locks: locks }
    }

    /// Their numbers.
    pub fn numbers(&self) -> &[u16] {
        &self.numbers
    }
}

/// Whether nobody listens on a port.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
