//! The state of one process on its node's simulated disk. Checkpoints of it are real files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tallykeep::codec;
use tallykeep::machine::{Effects, Machine, Row, Table, View};
use tallykeep::query::Snapshot;
use tallykeep::storage::{Flushed, Marks, StateStorage};

use crate::disk::{Commit, Disk, StateImage};
use crate::life::Life;
use crate::world::lock;

/// See [`StateStorage`].
pub struct ProcessState {
    disk: Disk,
    life: Arc<Life>,
    flushed: Flushed,
}

/// A checkpoint's one file.
const FILE: &str = "rows";

/// What is in it.
#[derive(Serialize, Deserialize)]
struct Checkpoint {
    tables: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
    index: Option<u64>,
    applied: Option<Vec<u8>>,
    membership: Option<Vec<u8>>,
}

impl ProcessState {
    pub fn open(disk: Disk, life: Arc<Life>) -> Self {
        let flushed = Flushed::default();
        if let Some(index) = lock(&disk.state).durable.marks.index {
            flushed.raise(index);
        }
        Self { disk, life, flushed }
    }

    /// How far it is on disk.
    pub fn flushed(&self) -> Flushed {
        self.flushed.clone()
    }

    fn image(&self) -> Arc<StateImage> {
        lock(&self.disk.state).read.clone()
    }
}

impl View for ProcessState {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.life.check()?;
        Moment(self.image()).get(table, key)
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>> {
        self.life.check()?;
        Moment(self.image()).scan(table, from, to, limit)
    }
}

impl StateStorage for ProcessState {
    fn commit(
        &self,
        effects: Effects,
        index: u64,
        applied: Vec<u8>,
        membership: Option<Vec<u8>>,
    ) -> io::Result<()> {
        self.life.check()?;
        let commit = Commit { effects, index, applied, membership };
        let world = &self.disk.world;
        if let Err(what) = lock(&world.replicas).note(self.disk.node, &commit) {
            world.violate("replicas are equal at equal index", what);
        }
        let mut state = lock(&self.disk.state);
        Arc::make_mut(&mut state.read).make(&commit);
        state.written.push_back(commit);
        Ok(())
    }

    fn marks(&self) -> io::Result<Marks> {
        self.life.check()?;
        Ok(self.image().marks.clone())
    }

    fn audit_snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(Moment(self.image()))
    }

    fn content_hash(&self) -> io::Result<(Marks, [u8; 32])> {
        self.life.check()?;
        let image = self.image();
        let hash = Sha256::digest(codec::encode(&image.tables.to_vec()));
        Ok((image.marks.clone(), hash.into()))
    }

    fn flush(&self) -> io::Result<()> {
        self.life.check()?;
        let mut state = lock(&self.disk.state);
        let commits = state.written.len();
        state.keep(commits);
        if let Some(index) = state.durable.marks.index {
            self.flushed.raise(index);
        }
        Ok(())
    }

    fn checkpoint(&self, into: &Path) -> io::Result<Marks> {
        self.flush()?;
        let image = self.image();
        let Marks { index, applied, membership } = image.marks.clone();
        let tables = image.tables.to_vec();
        fs::create_dir_all(into)?;
        let checkpoint = Checkpoint { tables, index, applied, membership };
        fs::write(into.join(FILE), codec::encode(&checkpoint))?;
        Ok(image.marks.clone())
    }

    fn machine_at(&self, checkpoint: &Path) -> io::Result<Machine> {
        let checkpoint: Checkpoint = codec::decode(&fs::read(checkpoint.join(FILE))?)?;
        let tables = checkpoint.tables.try_into();
        let tables = tables.map_err(|_| io::Error::other("a checkpoint of other tables"))?;
        Machine::load(&Moment(Arc::new(StateImage { tables, marks: Marks::default() })))
    }

    fn install(&self, verified: &Path) -> io::Result<()> {
        self.life.check()?;
        let checkpoint: Checkpoint = codec::decode(&fs::read(verified.join(FILE))?)?;
        let Checkpoint { tables, index, applied, membership } = checkpoint;
        if index.is_none_or(|index| lock(&self.disk.state).durable.marks.index > Some(index)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an old checkpoint"));
        }
        let tables =
            tables.try_into().map_err(|_| io::Error::other("a checkpoint of other tables"))?;
        let image = StateImage { tables, marks: Marks { index, applied, membership } };
        let mut state = lock(&self.disk.state);
        state.written.clear();
        state.durable = image.clone();
        state.read = Arc::new(image);
        index.into_iter().for_each(|index| self.flushed.raise(index));
        Ok(())
    }
}

/// The state as of one moment.
struct Moment(Arc<StateImage>);

impl Moment {
    fn rows(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Vec<u8>)> {
        let to = to.max(from);
        let range = (Bound::Included(from), Bound::Excluded(to));
        // An empty range of one key is none that a map takes.
        let rows = (from < to).then(|| self.0.tables[table as usize].range::<[u8], _>(range));
        rows.into_iter().flatten()
    }
}

impl View for Moment {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.tables[table as usize].get(key).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>> {
        let rows = self.rows(table, from, to).take(limit);
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl Snapshot for Moment {
    fn scan_back(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> io::Result<Vec<Row>> {
        let rows = self.rows(table, from, to).rev().take(limit);
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn get_each(
        &self,
        table: Table,
        keys: &[Vec<u8>],
        _near: bool,
    ) -> io::Result<Vec<Option<Vec<u8>>>> {
        keys.iter().map(|key| self.get(table, key)).collect()
    }
}
