//! Makes groups of what waits on this node, and hands out their outcomes by position.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Pending;
use super::forward::Forwarder;
use crate::error::Error;
use crate::limits;
use crate::machine::Request;
use crate::metrics::counted;

/// One group at a time: what comes while one is under way is the next. Runs until the queue is
/// closed.
pub(super) async fn run(
    mut forwarder: Forwarder,
    mut waiting: mpsc::Receiver<Pending>,
    waiting_bytes: Arc<AtomicUsize>,
) {
    // The one request that was taken from the queue and did not fit into the last group.
    let mut left_over = None;
    loop {
        let first = match left_over.take() {
            Some(first) => first,
            None => match waiting.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let mut bytes = first.bytes;
        let mut changes = super::changes(&first.request);
        let mut group = vec![first];
        while changes < limits::GROUP_COMMANDS_MAX {
            let Ok(next) = waiting.try_recv() else { break };
            let more = super::changes(&next.request);
            if bytes + next.bytes > limits::GROUP_BYTES_MAX
                || changes + more > limits::GROUP_COMMANDS_MAX
            {
                left_over = Some(next);
                break;
            }
            bytes += next.bytes;
            changes += more;
            group.push(next);
        }
        waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let group = still_wanted(group);
        if !group.is_empty() {
            counted().group_requests.observe(group.len() as f64);
            deliver(&mut forwarder, group).await;
        }
    }
}

/// Those of `group` for which there is somebody to tell and time to do it. Nothing was done for the
/// others.
fn still_wanted(group: Vec<Pending>) -> Vec<Pending> {
    let now = Instant::now();
    let waited = &counted().queue_seconds;
    let mut wanted = Vec::with_capacity(group.len());
    for pending in group {
        waited.observe(now.duration_since(pending.since).as_secs_f64());
        if let Some(traced) = &pending.traced {
            traced.part("queue", pending.since.into_std(), now.into_std(), None);
        }
        if pending.reply.is_closed() {
            continue;
        }
        if pending.deadline <= now {
            let error = Error::overloaded("its turn did not come in time");
            let _ = pending.reply.send(Err(error));
            continue;
        }
        wanted.push(pending);
    }
    wanted
}

async fn deliver(forwarder: &mut Forwarder, group: Vec<Pending>) {
    let began = Instant::now();
    let mut deadline = began;
    let mut requests = Vec::<Request>::with_capacity(group.len());
    let mut replies = Vec::with_capacity(group.len());
    let mut traced = Vec::new();
    for pending in group {
        deadline = deadline.max(pending.deadline);
        requests.push(pending.request);
        replies.push(pending.reply);
        traced.extend(pending.traced);
    }
    let delivered = forwarder.deliver(Arc::new(requests), deadline).await;
    if !traced.is_empty() {
        // Before its reply: with that a request may end.
        let (ended, leader) = (Instant::now(), forwarder.leader());
        for traced in traced {
            traced.part("commit", began.into_std(), ended.into_std(), leader);
        }
    }
    // A reply whose receiver is gone belongs to a client that went away: nothing to tell.
    match delivered {
        Ok(outcomes) if outcomes.len() == replies.len() => {
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                let _ = reply.send(Ok(outcome));
            }
        }
        Ok(outcomes) => {
            let (wanted, got) = (replies.len(), outcomes.len());
            tracing::error!(wanted, got, "a group came back with another number of outcomes");
            for reply in replies {
                let _ = reply.send(Err(Error::internal("a group lost its outcomes")));
            }
        }
        Err(error) => {
            for reply in replies {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}
