//! A thread for work that gives disk space back and that nobody waits for.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::limits;

/// Something to be done in the background.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// One thread that does jobs in turn. Dropping it waits for the jobs that were accepted.
pub(super) struct Background {
    jobs: Option<SyncSender<Job>>,
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
            .spawn(move || queue.into_iter().for_each(|job| job()))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    pub(super) fn jobs(&self) -> Jobs {
        Jobs(self.jobs.clone().expect("taken only when dropped"))
    }
}

impl Jobs {
    /// Accepts a job if the queue has room. A job refused is no loss: the space that it would have
    /// given back comes back with RocksDB's own compactions, later.
    pub(super) fn offer(&self, job: impl FnOnce() + Send + 'static) {
        if self.0.try_send(Box::new(job)).is_err() {
            tracing::debug!("the queue for giving disk space back is full");
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that gives disk space back has panicked");
        }
    }
}
