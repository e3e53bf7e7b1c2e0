//! Three known bugs that a run can be given, to show that it would find them. They are made of what
//! the simulation puts around the node, so that the product has no switch for any of them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tallykeep::codec;
use tallykeep::machine::{Group, GroupOutcome, Outcome, Request};
use tallykeep::peer::{Handler, Kind, Ordered, Reply};
use tallykeep::propose::{ForwardReply, Leader, SubmitError};
use tallykeep::server::PeerRequests;
use tokio::sync::mpsc;

/// Which bugs are there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planted {
    /// The disk says that the log is synced as soon as it is written: acknowledged before fsync.
    pub acknowledges_before_sync: bool,
    /// Each attempt to carry out a forwarded group counts as the first: session dedup off.
    pub forgets_sessions: bool,
    /// A node that believes to lead reads its own state: no round with a majority.
    pub reads_without_quorum: bool,
}

impl Planted {
    pub const NAMES: [&str; 3] = ["ack-before-sync", "no-sessions", "read-without-quorum"];

    /// The bug of one of [`Planted::NAMES`], or none.
    pub fn named(name: &str) -> Self {
        let [early, sessions, reads] = Self::NAMES.map(|known| known == name);
        Self {
            acknowledges_before_sync: early,
            forgets_sessions: sessions,
            reads_without_quorum: reads,
        }
    }
}

/// Gives every group that comes over the wire a session of its own, so that one that is sent again
/// is carried out again.
pub struct Forgetful {
    pub requests: PeerRequests,
    pub opened: AtomicU64,
}

impl Handler for Forgetful {
    fn call(
        &self,
        from: u64,
        kind: Kind,
        payload: Bytes,
    ) -> BoxFuture<'static, io::Result<Vec<u8>>> {
        if kind != Kind::Forward {
            return self.requests.call(from, kind, payload);
        }
        // A node that there is not, so that no session is ended by the next.
        let node = from * 1_000_000 + self.opened.fetch_add(1, Ordering::Relaxed);
        let leader = self.requests.leader.clone();
        Box::pin(async move {
            let group: Group<Request> = codec::decode(&payload)?;
            let reply = match anew(&leader, node, group).await {
                Ok(outcome) => ForwardReply::Decided(outcome),
                Err(error) => ForwardReply::Refused(error),
            };
            Ok(codec::encode(&reply))
        })
    }

    fn appends(
        &self,
        requests: mpsc::Receiver<Ordered>,
        replies: mpsc::Sender<Reply>,
    ) -> BoxFuture<'static, ()> {
        self.requests.appends(requests, replies)
    }
}

async fn anew(
    leader: &Leader,
    node: u64,
    mut group: Group<Request>,
) -> Result<GroupOutcome, SubmitError> {
    if group.session != 0 {
        let open = vec![Request::OpenSession { node }];
        let open = Group::outside_session(open.into());
        let opened = leader.submit(open).await?;
        let GroupOutcome::Done(outcomes) = &opened else { return Ok(opened) };
        if let [Outcome::SessionOpened { session }] = outcomes[..] {
            group = Group { session, sequence: 1, answered_below: 0, commands: group.commands };
        }
    }
    leader.submit(group).await
}
