//! A backup: a checkpoint of the state on this node, with what it is of.

use std::fs::File;
use std::io;

use super::blocking::blocking;
use super::disk::Disk;
use super::node::Node;
use super::types::LogId;
use crate::archive::{self, Contents};
use crate::codec;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::storage::Passing;

/// A backup, whose files are there for as long as this is.
pub struct Backup {
    contents: Contents,
    files: Passing,
}

impl Node {
    /// A backup that holds everything that any node had acknowledged when this was called. It takes
    /// disk space as the files of the state that it shares are replaced.
    ///
    /// # Errors
    /// As [`super::Reads::barrier`]; `StorageFull` if this node's disk is.
    pub async fn backup(&self) -> Result<Backup> {
        let inner = self.inner.clone();
        if inner.disks.own() == Disk::Full {
            return Err(no_space());
        }
        self.reads().barrier(tokio::time::Instant::now() + limits::REQUEST_TIMEOUT).await?;
        let made = blocking(move || {
            let (files, (marks, machine)) = inner.snapshots.pass(|path| {
                let marks = inner.state.checkpoint(path)?;
                Ok((marks, inner.state.machine_at(path)?))
            })?;
            let applied = marks.applied.ok_or_else(|| io::Error::other("an empty state"))?;
            let applied: LogId = codec::decode(&applied)?;
            let listed = files.files()?.into_iter();
            let contents = Contents {
                format: archive::FORMAT,
                tallykeep: env!("CARGO_PKG_VERSION").to_owned(),
                cluster: inner.settings.cluster.clone(),
                node: inner.settings.id,
                term: applied.leader_id.term,
                applied: applied.index,
                clock_ms: machine.now_ms(),
                state_hash: hex::encode(machine.hash()),
                version: machine.version(),
                files: listed.map(|(name, bytes)| archive::File { name, bytes }).collect(),
            };
            Ok(Backup { contents, files })
        });
        let backup = made.await.map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => no_space(),
            _ => Error::internal(error.to_string()),
        })?;
        let (applied, bytes) = (backup.contents.applied, backup.contents.state_bytes());
        tracing::info!(applied, bytes, "a backup begins");
        Ok(backup)
    }
}

impl Backup {
    /// What it is of.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Opens one of its files.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(&self, file: &archive::File) -> io::Result<File> {
        self.files.open(&file.name)
    }
}

fn no_space() -> Error {
    Error::new(
        Kind::StorageFull,
        "insufficient_storage",
        "this node's disk has no space for the checkpoint of a backup: ask another node",
    )
}
