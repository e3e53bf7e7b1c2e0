//! openraft's calls to other nodes, over links of our own.
//!
//! Entries, heartbeats with votes, and snapshots have a connection each, so that a heartbeat never
//! waits behind a megabyte.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::snapshot::{self, Handle};
use super::types::{LogId, NodeAddress, Snapshot, TypeConfig, Vote};
use crate::codec;
use crate::limits;
use crate::peer::{Dial, Hello, Kind, Link};

/// A connection on which a peer owes an answer for this long is given up. For snapshots it is
/// [`snapshot::INSTALL_TIMEOUT`].
const SILENCE: Duration = Duration::from_secs(2);

/// Makes the connections of one node to its peers.
pub struct Network {
    cluster: String,
    id: u64,
    dial: Arc<dyn Dial>,
}

impl Network {
    pub(super) fn new(cluster: &str, id: u64, dial: Arc<dyn Dial>) -> Self {
        Self { cluster: cluster.to_owned(), id, dial }
    }

    fn connect(&self, target: u64, node: &NodeAddress, silence: Duration) -> Peer {
        let hello = Hello::new(&self.cluster, self.id, target);
        Peer { link: Link::new(self.dial.clone(), node.peer.clone(), hello, silence) }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &NodeAddress) -> Peer {
        self.connect(target, node, SILENCE)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &NodeAddress) -> Peer {
        self.connect(target, node, SILENCE)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &NodeAddress) -> Peer {
        self.connect(target, node, snapshot::INSTALL_TIMEOUT)
    }
}

/// One connection to one peer.
pub struct Peer {
    link: Link,
}

type RpcError = RPCError<TypeConfig>;

fn unreachable_peer(error: io::Error) -> RpcError {
    RPCError::Unreachable(Unreachable::new(&error))
}

impl Peer {
    async fn rpc<Q: Serialize, A: DeserializeOwned>(
        &self,
        kind: Kind,
        request: &Q,
        option: &RPCOption,
    ) -> Result<A, RpcError> {
        let call = self.link.call(kind, codec::encode(request));
        let reply = match tokio::time::timeout(option.soft_ttl(), call).await {
            Ok(reply) => reply.map_err(unreachable_peer)?,
            Err(_) => return Err(unreachable_peer(io::ErrorKind::TimedOut.into())),
        };
        codec::decode(&reply).map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }
}

impl NetBackoff<TypeConfig> for Peer {
    fn backoff(&self) -> Option<Backoff> {
        // openraft's own, from its configuration.
        None
    }
}

impl NetStreamAppend<TypeConfig> for Peer {
    /// Pipelined: a request is written as soon as openraft has it, replies come in order.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>, RpcError>,
    >
    where
        S: futures_util::Stream<Item = AppendEntriesRequest<TypeConfig>>
            + OptionalSend
            + Unpin
            + 'static,
    {
        let link = self.link.clone();
        let patience = option.soft_ttl().max(SILENCE);
        let mut stall = Stall::default();
        let input = input.take_while(move |request| std::future::ready(!stall.is_reached(request)));
        let replies = ride(input)
            .map(move |request| {
                let previous = request.prev_log_id;
                let last = request.entries.last().map(|entry| entry.log_id).or(previous);
                // Called here and not in the future, so that requests leave in their order.
                let call = link.call(Kind::Append, codec::encode(&request));
                async move {
                    let reply = tokio::time::timeout(patience, call)
                        .await
                        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                        .map_err(unreachable_peer)?;
                    let reply: AppendEntriesResponse<TypeConfig> = codec::decode(&reply)
                        .map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
                    Ok(reply.into_stream_result(previous, last))
                }
            })
            .buffered(limits::APPENDS_IN_FLIGHT_MAX);
        Box::pin(async move {
            let replies: BoxStream<'s, _> = Box::pin(until_first_failure(replies));
            Ok(replies)
        })
    }
}

/// Lets a request that only tells what is committed wait a little for one with entries, which tells
/// it too: under load every entry would else cost each follower two requests. Nobody waits for it:
/// who reads on a follower makes a round of heartbeats, and they tell it as well.
fn ride<S>(input: S) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
{
    stream::unfold(input.fuse(), async |mut input| {
        let mut next = input.next().await?;
        let deadline = Instant::now() + limits::COMMIT_RIDE_TIMEOUT;
        while next.entries.is_empty() {
            match timeout_at(deadline, input.next()).await {
                // Of one stream each request tells at least what the one before does.
                Ok(Some(later)) => next = later,
                // The last of its stream, such as one that asks how long the follower's log is.
                Ok(None) | Err(_) => break,
            }
        }
        Some((next, input))
    })
}

/// Finds a stream that stands still.
///
/// openraft goes on with the stream of entries to a follower although they have been purged, if the
/// follower's log was allowed to revert meanwhile: it then sends the same empty request for ever and
/// does not look for what it has to do instead, such as to go on behind a snapshot. Ending the stream
/// makes it look.
#[derive(Default)]
struct Stall {
    /// The position of the last request, if it carried none of the entries that are committed.
    idle_at: Option<Option<LogId>>,
}

impl Stall {
    fn is_reached(&mut self, request: &AppendEntriesRequest<TypeConfig>) -> bool {
        let is_idle = request.entries.is_empty() && request.leader_commit > request.prev_log_id;
        let before = std::mem::replace(&mut self.idle_at, is_idle.then_some(request.prev_log_id));
        // Once may be a race with the commit; the next request would carry the entries.
        is_idle && before == Some(request.prev_log_id)
    }
}

/// Ends a stream behind its first failure: what was sent after it has no meaning any more.
fn until_first_failure<S>(
    replies: S,
) -> impl futures_util::Stream<Item = Result<StreamAppendResult<TypeConfig>, RpcError>>
where
    S: futures_util::Stream<Item = Result<StreamAppendResult<TypeConfig>, RpcError>>,
{
    replies.scan(false, |failed, reply| {
        let before = std::mem::replace(failed, !matches!(reply, Ok(Ok(_))));
        std::future::ready((!before).then_some(reply))
    })
}

impl NetVote<TypeConfig> for Peer {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.rpc(Kind::Vote, &request, &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.rpc(Kind::PreVote, &request, &option).await
    }
}

impl NetSnapshot<TypeConfig> for Peer {
    type SnapshotData = Handle;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let reply = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            sent = snapshot::send(&self.link, vote, &snapshot.snapshot) => sent,
        };
        reply.and_then(|reply| codec::decode(&reply)).map_err(|error| {
            tracing::warn!(%error, "a snapshot did not reach its follower");
            StreamingError::Unreachable(Unreachable::new(&error))
        })
    }
}

impl NetTransferLeader<TypeConfig> for Peer {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        self.rpc(Kind::TransferLeader, &request, &option).await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::raft::types::Entry;

    fn log_id(index: u64) -> LogId {
        LogId::new_term_index(1, index)
    }

    fn request(previous: u64, entries: &[u64], commit: u64) -> AppendEntriesRequest<TypeConfig> {
        AppendEntriesRequest {
            vote: Vote::new_committed(1, 1),
            prev_log_id: Some(log_id(previous)),
            entries: entries
                .iter()
                .map(|index| Entry {
                    log_id: log_id(*index),
                    payload: openraft::EntryPayload::Blank,
                })
                .collect(),
            leader_commit: Some(log_id(commit)),
        }
    }

    #[tokio::test]
    async fn a_commit_rides_on_entries_but_not_for_long() {
        let (requests, input) = tokio::sync::mpsc::unbounded_channel();
        let input = stream::unfold(input, async |mut input| Some((input.recv().await?, input)));
        let mut riding = pin!(ride(Box::pin(input)));
        let mut next = async || riding.next().await.map(|request| request.to_string());
        let some = |request: AppendEntriesRequest<TypeConfig>| Some(request.to_string());
        requests.send(request(5, &[], 4)).unwrap();
        requests.send(request(5, &[], 5)).unwrap();
        requests.send(request(5, &[6], 5)).unwrap();
        assert_eq!(next().await, some(request(5, &[6], 5)));
        // Nothing follows for now: it is sent by itself.
        requests.send(request(6, &[], 6)).unwrap();
        assert_eq!(next().await, some(request(6, &[], 6)));
        requests.send(request(6, &[], 7)).unwrap();
        drop(requests);
        assert_eq!(next().await, some(request(6, &[], 7)));
        assert_eq!(next().await, None);
    }

    #[test]
    fn a_stream_that_stands_still_is_found_and_no_other() {
        let mut stall = Stall::default();
        for fine in [
            request(5, &[], 5),
            request(5, &[], 5),
            request(5, &[], 6),
            request(5, &[6], 6),
            request(6, &[], 7),
            request(7, &[], 8),
        ] {
            assert!(!stall.is_reached(&fine), "{fine}");
        }
        assert!(stall.is_reached(&request(7, &[], 9)));
    }
}
