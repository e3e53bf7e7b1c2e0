//! A thread for work that nobody waits for.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::limits;

/// Something to be done in the background, or `None` to end.
type Job = Option<Box<dyn FnOnce() + Send>>;

/// One thread that does jobs in turn. Dropping it waits for the jobs that were accepted.
pub(super) struct Background {
    jobs: Jobs,
    thread: Option<JoinHandle<()>>,
}

/// A way to hand jobs to a [`Background`].
#[derive(Clone)]
pub(super) struct Jobs(SyncSender<Job>);

impl Background {
    pub(super) fn start(name: &str) -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(limits::BACKGROUND_JOBS_MAX);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || queue.into_iter().map_while(|job| job).for_each(|job| job()))?;
        Ok(Self { jobs: Jobs(jobs), thread: Some(thread) })
    }

    pub(super) fn jobs(&self) -> Jobs {
        self.jobs.clone()
    }
}

impl Jobs {
    /// Accepts a job if the queue has room. A job refused is no loss where it gives disk space back:
    /// that comes back with RocksDB's own compactions, later.
    pub(super) fn offer(&self, job: impl FnOnce() + Send + 'static) -> bool {
        let is_accepted = self.0.try_send(Some(Box::new(job))).is_ok();
        if !is_accepted {
            tracing::debug!("a queue of background work is full");
        }
        is_accepted
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // If the thread is gone, joining it tells. Other senders may be left, so the end is told.
        let _ = self.jobs.0.send(None);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a thread of background work has panicked");
        }
    }
}
