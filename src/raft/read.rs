//! Linearizable reads on every node, with the leader's read index (Ongaro's dissertation, 6.4).
//!
//! A reader asks the leader which log index was committed when it asked; the leader first makes
//! sure, by a round of heartbeats, that it still is the leader. Once that index is applied here,
//! the state here holds everything that was acknowledged before the reader came. Readers that wait
//! together share one round, and the reading itself is done on this node.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::raft::ReadPolicy;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Inner, Leadership, Progress};
use crate::codec;
use crate::error::{Error, Result};
use crate::limits;
use crate::metrics::counted;
use crate::peer::Kind;
use crate::query::{Snapshot, Source};
use crate::storage::StateStorage;

/// Before the leader is asked again after it did not answer.
const PAUSE: Duration = Duration::from_millis(20);
/// How long one round may take before it is tried again, perhaps with another leader.
const ROUND_TIMEOUT: Duration = Duration::from_millis(1000);

/// A handle for linearizable reads on this node.
#[derive(Clone)]
pub struct Reads {
    inner: Arc<Inner>,
    waiting: mpsc::Sender<oneshot::Sender<ReadPoint>>,
}

/// What a read that starts now has to see, and what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReadPoint {
    /// The log index that has to be applied.
    pub(super) index: u64,
    /// The cluster's clock on the leader, in ms since the Unix epoch.
    pub(super) now_ms: u64,
}

impl Reads {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        let (waiting, readers) = mpsc::channel(limits::READS_WAITING_MAX);
        tokio::spawn(rounds(inner.clone(), readers));
        Self { inner, waiting }
    }

    /// A consistent state of this node in which everything is applied that any node had
    /// acknowledged when this was called.
    ///
    /// # Errors
    /// `Overloaded` if too many readers wait; `Unavailable` if no leader could be asked within
    /// [`limits::REQUEST_TIMEOUT`], and at once if it is known that there is no quorum.
    pub async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.barrier(Instant::now() + limits::REQUEST_TIMEOUT).await?;
        Ok(self.inner.state.audit_snapshot())
    }

    /// The cluster's clock, in ms since the Unix epoch, and where objects of any kind can be read from
    /// in states of this node that hold everything that any node had acknowledged when this was called.
    ///
    /// # Errors
    /// As [`Reads::snapshot`].
    pub async fn objects(&self) -> Result<(u64, Box<dyn Source>)> {
        let now_ms = self.barrier(Instant::now() + limits::REQUEST_TIMEOUT).await?;
        let source: Box<dyn Source> = Box::new(Here(self.inner.state.clone()));
        Ok((now_ms, source))
    }

    /// Returns once everything is applied here that any node had acknowledged when this was called,
    /// with the cluster's clock on the leader, in ms since the Unix epoch.
    ///
    /// # Errors
    /// As [`Reads::snapshot`], by `deadline`.
    pub async fn barrier(&self, deadline: Instant) -> Result<u64> {
        self.inner.check_quorum()?;
        let ReadPoint { index, now_ms } = self.point(deadline).await?;
        // A leader that has not yet applied all that came before it may be behind with its clock; what
        // is applied here is not behind of anything that was acknowledged.
        let now_ms = |progress: &Progress| now_ms.max(progress.now_ms);
        let is_applied = |progress: &Progress| progress.applied >= Some(index);
        {
            let progress = self.inner.progress.borrow();
            if is_applied(&progress) {
                return Ok(now_ms(&progress));
            }
        }
        let mut progress = self.inner.progress.clone();
        match timeout_at(deadline, progress.wait_for(is_applied)).await {
            Ok(Ok(progress)) => Ok(now_ms(&progress)),
            _ => Err(Error::unavailable("this node could not catch up with the leader in time")),
        }
    }

    /// The outcome of a round that begins after this was called.
    pub(super) async fn point(&self, deadline: Instant) -> Result<ReadPoint> {
        let (reply, point) = oneshot::channel();
        self.waiting.try_send(reply).map_err(|_| Error::overloaded("too many readers wait"))?;
        match timeout_at(deadline, point).await {
            Ok(Ok(point)) => Ok(point),
            _ => Err(Error::unavailable("no leader answered in time")),
        }
    }
}

/// The state of this node.
struct Here(Arc<dyn StateStorage>);

impl Source for Here {
    fn with_cells(&self, keys: Vec<Vec<u8>>) -> Box<dyn Snapshot> {
        self.0.snapshot_with(keys)
    }

    fn whole(&self) -> io::Result<Box<dyn Snapshot>> {
        self.0.whole_snapshot()
    }
}

/// Answers all readers that wait with the outcome of one round that began after they came.
async fn rounds(inner: Arc<Inner>, mut readers: mpsc::Receiver<oneshot::Sender<ReadPoint>>) {
    let mut waiting = Vec::new();
    while readers.recv_many(&mut waiting, limits::READS_WAITING_MAX).await > 0 {
        let point = loop {
            let began = Instant::now();
            match timeout(ROUND_TIMEOUT, read_point(&inner)).await {
                Ok(Ok(point)) => {
                    counted().read_rounds.observe(began.elapsed().as_secs_f64());
                    break Some(point);
                }
                Ok(Err(error)) => tracing::debug!(%error, "a read index was not to be had"),
                Err(_) => tracing::debug!("a read index did not come in time"),
            }
            waiting.retain(|reader: &oneshot::Sender<ReadPoint>| !reader.is_closed());
            if inner.check_quorum().is_err() {
                // Dropped, so told: nobody has to wait for what is known not to come.
                waiting.clear();
            }
            if waiting.is_empty() {
                break None;
            }
            sleep(PAUSE).await;
        };
        for reader in waiting.drain(..) {
            if let Some(point) = point {
                // A reader that gave up has closed its end.
                let _ = reader.send(point);
            }
        }
    }
}

async fn read_point(inner: &Inner) -> io::Result<ReadPoint> {
    match inner.leadership() {
        Leadership::Here { .. } => {
            let index = inner.read_index_as_leader().await?;
            Ok(ReadPoint { index, now_ms: inner.now_ms() })
        }
        Leadership::There(leader) => {
            let link = inner.peers.link(leader).ok_or(io::ErrorKind::NotFound)?;
            tokio::select! {
                reply = link.call(Kind::ReadIndex, Vec::new()) => codec::decode(&reply?),
                // It may be this node by now, or one that answers sooner.
                () = inner.leadership_other_than(Leadership::There(leader)) => {
                    Err(io::Error::other("the leader changed"))
                }
            }
        }
        Leadership::Nowhere => Err(io::Error::other("there is no leader")),
    }
}

impl Inner {
    /// The index that a read which starts now has to see applied.
    pub(super) async fn read_index_as_leader(&self) -> io::Result<u64> {
        let (index, _) = self
            .raft
            .get_read_log_id(ReadPolicy::ReadIndex)
            .await
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(index.index())
    }
}
