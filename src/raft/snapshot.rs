//! Snapshots: checkpoint directories, built by hard links, sent as files, installed as a whole.
//!
//! A transfer is a [`Begin`] with the list of files, a [`Chunk`] after another, and an [`End`] that
//! is answered once the snapshot is installed. The files are checked against the list's checksums
//! before anything is touched.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::storage::RaftSnapshotBuilder;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use super::blocking::blocking;
use super::types::{Snapshot, SnapshotMeta, TypeConfig, Vote};
use crate::codec;
use crate::limits;
use crate::metrics::counted;
use crate::peer::{Kind, Link};
use crate::storage::{Manifest, SnapshotDir, Snapshots, StateStorage};

/// How long a peer may take to begin a snapshot, and to take a piece of it.
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may take to check and install a snapshot.
pub(super) const INSTALL_TIMEOUT: Duration = Duration::from_secs(600);

/// openraft's handle of a snapshot: a complete directory that lives as long as the handle.
pub type Handle = SnapshotDir;

/// Builds snapshots, beside apply.
pub struct Builder {
    store: Arc<dyn StateStorage>,
    snapshots: Snapshots,
}

impl Builder {
    pub(super) fn new(store: Arc<dyn StateStorage>, snapshots: Snapshots) -> Self {
        Self { store, snapshots }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Handle;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let (store, snapshots) = (self.store.clone(), self.snapshots.clone());
        let began = Instant::now();
        let built = blocking(move || {
            snapshots.build(|path| {
                // Where the checkpoint itself stands: apply goes on meanwhile.
                let marks = store.checkpoint(path)?;
                let membership = marks.membership.as_deref().map(codec::decode).transpose()?;
                Ok(codec::encode(&SnapshotMeta {
                    last_log_id: marks.applied.as_deref().map(codec::decode).transpose()?,
                    last_membership: membership.unwrap_or_default(),
                }))
            })
        });
        let handle = built.await?;
        let (bytes, copied_bytes) = (handle.manifest().bytes(), handle.copied_bytes()?);
        let snapshot = describe(handle)?;
        let applied = snapshot.meta.last_log_id.map(|id| id.index);
        let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        counted().snapshot_seconds.observe(began.elapsed().as_secs_f64());
        counted().snapshots.with_label_values(&["built"]).inc();
        tracing::info!(applied, elapsed_ms, bytes, copied_bytes, "built a snapshot");
        Ok(snapshot)
    }
}

/// The newest complete snapshot on disk.
pub(super) fn current(snapshots: &Snapshots) -> io::Result<Option<Snapshot>> {
    snapshots.newest().map(describe).transpose()
}

fn describe(handle: Handle) -> io::Result<Snapshot> {
    let meta: SnapshotMeta = codec::decode(handle.meta())?;
    Ok(Snapshot { meta, snapshot: handle })
}

/// A snapshot follows.
#[derive(Serialize, Deserialize)]
pub(super) struct Begin {
    /// The leader's vote.
    pub vote: Vote,
    /// Its files, and what it holds.
    pub manifest: Manifest,
}

/// A piece of a file.
#[derive(Serialize, Deserialize)]
pub(super) struct Chunk {
    /// The file, as the manifest names it.
    pub file: String,
    /// Where in the file the bytes belong.
    pub offset: u64,
    /// At most [`limits::SNAPSHOT_CHUNK_BYTES`].
    #[serde(with = "serde_bytes_vec")]
    pub bytes: Vec<u8>,
}

/// Every file was sent: check and install.
#[derive(Serialize, Deserialize)]
pub(super) struct End {
    /// The leader's vote.
    pub vote: Vote,
}

/// `Vec<u8>` as one run of bytes and not as a sequence of numbers.
mod serde_bytes_vec {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        Bytes::deserialize(from).map(Vec::from)
    }
}

/// Sends a snapshot over `link`; gives the receiver's reply to [`End`].
pub(super) async fn send(link: &Link, vote: Vote, snapshot: &Handle) -> io::Result<Vec<u8>> {
    let manifest = snapshot.manifest().clone();
    let begin = codec::encode(&Begin { vote, manifest: manifest.clone() });
    within(PIECE_TIMEOUT, link.call(Kind::SnapshotBegin, begin)).await?;
    for file in &manifest.files {
        let mut offset = 0;
        while offset < file.bytes {
            let (handle, name) = (snapshot.clone(), file.name.clone());
            let read = move || handle.read(&name, offset, limits::SNAPSHOT_CHUNK_BYTES);
            let bytes = blocking(read).await?;
            if bytes.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("snapshot file {} is shorter than its manifest says", file.name),
                ));
            }
            let sent = bytes.len() as u64;
            let chunk = Chunk { file: file.name.clone(), offset, bytes };
            let call = link.call(Kind::SnapshotChunk, codec::encode(&chunk));
            within(PIECE_TIMEOUT, call).await?;
            offset += sent;
        }
    }
    let end = link.call(Kind::SnapshotEnd, codec::encode(&End { vote }));
    Ok(within(INSTALL_TIMEOUT, end).await?.to_vec())
}

async fn within(
    limit: Duration,
    call: impl Future<Output = io::Result<Bytes>>,
) -> io::Result<Bytes> {
    timeout(limit, call).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
