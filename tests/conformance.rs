//! openraft's storage suite over our log and state machine, on the real RocksDB.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tallykeep::clock::SystemClock;
use tallykeep::machine::VERSION_MAX;
use tallykeep::raft::log::Log;
use tallykeep::raft::{StateMachine, TypeConfig};
use tallykeep::storage::{Flushed, LogStore, Snapshots, StateOptions, StateStore};
use tempfile::TempDir;

struct Builder;

impl StoreBuilder<TypeConfig, Log, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Log, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let options = StateOptions { block_cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20 };
        let state = StateStore::open(&dir.path().join("state"), options).expect("a new state");
        // The suite purges entries that it has not applied, which our log refuses: so this log
        // takes its leave from nobody.
        let flushed = Flushed::default();
        flushed.raise(1_000);
        let log = LogStore::open(&dir.path().join("log"), flushed, 1 << 20).expect("a new log");
        let snapshots = Snapshots::open(dir.path()).expect("no snapshots");
        let clock = Arc::new(SystemClock::new());
        let (machine, _) = StateMachine::open(Arc::new(state), snapshots, clock, VERSION_MAX)
            .expect("a new machine");
        Ok((dir, Log::new(Arc::new(log)), machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storage_suite_passes() {
    Suite::test_all(Builder).await.unwrap();
}
