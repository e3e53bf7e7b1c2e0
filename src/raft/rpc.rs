//! Raft's requests from other nodes: what `network.rs` sends arrives here.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use openraft::raft::AppendEntriesRequest;
use serde::Serialize;
use tokio::sync::mpsc;

use super::blocking::blocking;
use super::bootstrap::Gate;
use super::disk::{Disk, Disks};
use super::snapshot::{Begin, Chunk, End};
use super::types::{Raft, Snapshot, TypeConfig};
use crate::codec;
use crate::limits;
use crate::peer::{Kind, Ordered, Reply};
use crate::storage::{Incoming, Snapshots};

/// Answers Raft's requests on one node.
pub(super) struct Rpc {
    raft: Raft,
    gate: Arc<Gate>,
    disks: Arc<Disks>,
    snapshots: Snapshots,
    /// The snapshot that each peer is sending. A new transfer of a peer replaces its last.
    incoming: Mutex<BTreeMap<u64, Arc<Mutex<Incoming>>>>,
}

impl Rpc {
    pub(super) fn new(
        raft: Raft,
        gate: Arc<Gate>,
        disks: Arc<Disks>,
        snapshots: Snapshots,
    ) -> Self {
        Self { raft, gate, disks, snapshots, incoming: Mutex::default() }
    }

    /// Answers one request other than an append.
    pub(super) async fn call(&self, from: u64, kind: Kind, payload: &[u8]) -> io::Result<Vec<u8>> {
        match kind {
            Kind::Vote => {
                self.gate.check_may_vote()?;
                answer(self.raft.vote(codec::decode(payload)?).await)
            }
            Kind::PreVote => {
                self.gate.check_may_vote()?;
                answer(self.raft.pre_vote(codec::decode(payload)?).await)
            }
            Kind::TransferLeader => {
                self.gate.check_may_vote()?;
                answer(self.raft.handle_transfer_leader(codec::decode(payload)?).await)
            }
            Kind::SnapshotBegin => self.begin(from, codec::decode(payload)?).await,
            Kind::SnapshotChunk => self.chunk(from, codec::decode(payload)?).await,
            Kind::SnapshotEnd => self.end(from, codec::decode(payload)?).await,
            other => Err(io::Error::other(format!("{other:?} is not a request of Raft"))),
        }
    }

    /// Answers the appends of one connection, in order.
    pub(super) async fn appends(
        &self,
        requests: mpsc::Receiver<Ordered>,
        replies: mpsc::Sender<Reply>,
    ) {
        // Futures are first polled in the order in which they are made, so openraft gets the
        // requests in the order of the connection, and the next before the last is synced.
        let requests = futures_util::stream::unfold(requests, |mut requests| async move {
            requests.recv().await.map(|ordered: Ordered| (ordered, requests))
        });
        let answered = requests
            .map(|ordered| async move {
                let reply = self.append(&ordered.payload).await;
                ordered.reply(reply)
            })
            .buffered(limits::APPENDS_IN_FLIGHT_MAX);
        let mut answered = std::pin::pin!(answered);
        while let Some(reply) = answered.next().await {
            if replies.send(reply).await.is_err() {
                return;
            }
        }
    }

    async fn append(&self, payload: &[u8]) -> io::Result<Vec<u8>> {
        let request: AppendEntriesRequest<TypeConfig> = codec::decode(payload)?;
        self.gate.check_may_follow(request.vote.leader_id.term)?;
        if !request.entries.is_empty() {
            self.check_disk()?;
        }
        answer(self.raft.append_entries(request).await)
    }

    /// `StorageFull` if nothing more is to be stored here for now.
    fn check_disk(&self) -> io::Result<()> {
        match self.disks.own() {
            Disk::Ample | Disk::Low => Ok(()),
            Disk::Full => Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full")),
        }
    }

    async fn begin(&self, from: u64, begin: Begin) -> io::Result<Vec<u8>> {
        self.gate.check_may_follow(begin.vote.leader_id.term)?;
        self.check_disk()?;
        tracing::info!(from, files = begin.manifest.files.len(), "a snapshot is coming");
        let snapshots = self.snapshots.clone();
        let incoming = blocking(move || snapshots.receive(begin.manifest)).await?;
        self.incoming().insert(from, Arc::new(Mutex::new(incoming)));
        Ok(Vec::new())
    }

    async fn chunk(&self, from: u64, chunk: Chunk) -> io::Result<Vec<u8>> {
        let incoming = self.incoming().get(&from).cloned().ok_or_else(no_transfer)?;
        blocking(move || {
            let mut incoming = incoming.lock().unwrap_or_else(PoisonError::into_inner);
            incoming.write(&chunk.file, chunk.offset, &chunk.bytes)
        })
        .await?;
        Ok(Vec::new())
    }

    async fn end(&self, from: u64, end: End) -> io::Result<Vec<u8>> {
        self.gate.check_may_follow(end.vote.leader_id.term)?;
        let incoming = self.incoming().remove(&from).ok_or_else(no_transfer)?;
        let handle = blocking(move || {
            let incoming = Arc::into_inner(incoming).ok_or_else(no_transfer)?;
            incoming.into_inner().unwrap_or_else(PoisonError::into_inner).finish()
        })
        .await?;
        let meta = codec::decode(handle.meta())?;
        answer(self.raft.install_full_snapshot(end.vote, Snapshot { meta, snapshot: handle }).await)
    }

    fn incoming(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Mutex<Incoming>>>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_transfer() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no such snapshot transfer; begin again")
}

fn answer<T: Serialize, E: std::error::Error>(result: Result<T, E>) -> io::Result<Vec<u8>> {
    match result {
        Ok(value) => Ok(codec::encode(&value)),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}
