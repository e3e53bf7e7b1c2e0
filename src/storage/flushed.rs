//! How far the state on disk has come, and so how far the log may be purged.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The entries whose effects the state instance has on disk: a handle that the state raises and the
/// log asks.
///
/// The state is written without a write-ahead log, so what it has applied since its last flush is
/// gone after a crash and is applied again from the log. Hence the one rule about purging, which
/// `allow_purge` below keeps: **an entry leaves the log only after its effects are on disk.**
#[derive(Clone, Debug, Default)]
pub struct Flushed {
    /// The first index that is not on disk: 0 if none is.
    next: Arc<AtomicU64>,
}

impl Flushed {
    /// Whether the effects of entry `index`, and of all before it, are on disk.
    pub fn covers(&self, index: u64) -> bool {
        index < self.next.load(Ordering::Acquire)
    }

    /// Notes that the effects of all entries up to and including `index` are on disk. A lower index
    /// than was noted before changes nothing.
    pub fn raise(&self, index: u64) {
        self.next.fetch_max(index.saturating_add(1), Ordering::AcqRel);
    }

    /// The first index that is not on disk.
    pub(super) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Allows the log to forget all entries up to and including `index`, or refuses.
    ///
    /// # Errors
    /// `InvalidInput` if the state on disk lacks the effects of one of them: flush the state first.
    pub(super) fn allow_purge(&self, index: u64) -> io::Result<()> {
        if self.covers(index) {
            return Ok(());
        }
        let next = self.next();
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the log may not be purged to entry {index}: the state on disk lacks {next}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_what_the_state_on_disk_lacks() {
        let flushed = Flushed::default();
        assert!(flushed.allow_purge(0).is_err());
        flushed.clone().raise(7);
        flushed.raise(3);
        assert!(flushed.allow_purge(0).is_ok());
        assert!(flushed.allow_purge(7).is_ok());
        let refusal = flushed.allow_purge(8).unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::InvalidInput);
        assert!(refusal.to_string().contains("lacks 8"), "{refusal}");
    }
}
