//! Whose turn it is to send: at once in a closed loop, by the schedule in an open one.
//!
//! In an open loop a thread of its own looks at the clock and lets the requests that are due go,
//! as permits of a semaphore on which free connections wait. It is a thread because tokio's timers
//! go by milliseconds, which is as long as a request takes: requests would leave late, and in
//! bursts.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::plan::Plan;
use crate::client::summary::Latencies;
use crate::limits::BENCH_TICK;

/// Leave to send one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// When it was to be sent. Its latency begins here, whenever a connection was free for it.
    pub(super) intended: Instant,
    /// Whether it counts, the warm-up being over.
    pub(super) is_counted: bool,
}

/// Hands out turns to the connections of one run.
pub(super) struct Pace {
    plan: Plan,
    began: Instant,
    /// Turns handed out.
    sent: Cell<u64>,
    /// In an open loop, how long after its intended start each counted request was sent.
    lateness: RefCell<Latencies>,
    /// In an open loop, a permit for each request that is due and not sent.
    due: Option<Arc<Semaphore>>,
}

impl Pace {
    /// Begins the run, now, over so many connections.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn begin(plan: Plan, connections: usize) -> io::Result<Self> {
        let began = Instant::now();
        let due = match plan.rate {
            None => None,
            Some(_) => {
                let due = Arc::new(Semaphore::new(0));
                let permits = due.clone();
                thread::Builder::new()
                    .name("bench-pace".into())
                    .spawn(move || release(&plan, began, connections, &permits))?;
                Some(due)
            }
        };
        Ok(Self { plan, began, sent: Cell::new(0), lateness: RefCell::new(Latencies::new()), due })
    }

    /// Waits for leave to send the next request; none when the run is over.
    pub(super) async fn turn(&self) -> Option<Turn> {
        if let Some(due) = &self.due {
            due.acquire().await.ok()?.forget();
        }
        let now = Instant::now();
        let index = self.sent.get();
        if self.plan.is_over(index, now - self.began) {
            return None;
        }
        self.sent.set(index + 1);
        let intended = self.plan.due(index).map_or(now, |due| self.began + due);
        let is_counted = intended - self.began >= self.plan.warm_up;
        if is_counted && self.is_open() {
            self.lateness.borrow_mut().record(now.saturating_duration_since(intended));
        }
        Some(Turn { intended, is_counted })
    }

    /// Whether turns go by a schedule.
    pub(super) fn is_open(&self) -> bool {
        self.due.is_some()
    }

    /// Whether no further turn will be given.
    pub(super) fn is_over(&self) -> bool {
        self.plan.is_over(self.sent.get(), self.began.elapsed())
    }

    /// When the first request that counts was to be sent.
    pub(super) fn counts_from(&self) -> Instant {
        self.began + self.plan.warm_up
    }

    /// Of the requests that count, how many were never sent.
    pub(super) fn unsent(&self) -> u64 {
        self.plan.unsent(self.sent.get())
    }

    /// In an open loop, how late requests were sent.
    pub(super) fn into_lateness(self) -> Option<Latencies> {
        self.is_open()
            .then(|| std::mem::replace(&mut *self.lateness.borrow_mut(), Latencies::new()))
    }
}

impl Drop for Pace {
    /// Ends the thread, at its next look.
    fn drop(&mut self) {
        if let Some(due) = &self.due {
            due.close();
        }
    }
}

/// Releases a permit for each request as it comes due; when all have, one for each connection, so
/// that it learns that the run is over.
fn release(plan: &Plan, began: Instant, connections: usize, permits: &Semaphore) {
    let mut released = 0;
    while !permits.is_closed() {
        let elapsed = began.elapsed();
        let due = plan.due_by(elapsed).unwrap_or(0);
        // Never cut short: a run has fewer requests than a semaphore takes permits.
        permits.add_permits(usize::try_from(due - released).unwrap_or(Semaphore::MAX_PERMITS));
        released = due;
        if released == plan.total() {
            permits.add_permits(connections);
            return;
        }
        let next = plan.due(released).unwrap_or(Duration::MAX);
        thread::sleep(next.saturating_sub(elapsed).max(BENCH_TICK));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use futures_util::future::join_all;

    use super::super::plan::End;
    use super::*;

    #[tokio::test]
    async fn an_open_loop_hands_out_each_request_once_and_ends() {
        let plan = Plan {
            rate: NonZeroU64::new(100_000),
            warm_up: Duration::ZERO,
            end: End::Requests(1_000),
        };
        let pace = Pace::begin(plan, 7).unwrap();
        let intended = RefCell::new(Vec::new());
        let connection = async || {
            while let Some(turn) = pace.turn().await {
                assert!(turn.is_counted && Instant::now() >= turn.intended);
                intended.borrow_mut().push(turn.intended - pace.counts_from());
            }
        };
        join_all((0..7).map(|_| connection())).await;
        let expected: Vec<_> = (0..1_000).map(|index| plan.due(index).unwrap()).collect();
        assert_eq!(intended.into_inner(), expected);
        assert_eq!(pace.unsent(), 0);
        assert_eq!(pace.into_lateness().unwrap().len(), 1_000);
    }

    #[tokio::test]
    async fn a_schedule_that_nobody_serves_is_told() {
        let plan = Plan {
            rate: NonZeroU64::new(1_000_000),
            warm_up: Duration::from_millis(1),
            end: End::After(Duration::from_millis(1)),
        };
        let pace = Pace::begin(plan, 1).unwrap();
        // The only connection comes back to take a turn when all time is over.
        while !pace.is_over() {
            tokio::task::yield_now().await;
        }
        assert!(pace.turn().await.is_none());
        assert_eq!(pace.unsent(), 1_000);
    }
}
