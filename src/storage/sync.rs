//! The thread that makes the log durable: one sync for all that waits.
//!
//! A caller writes first and submits afterwards, so a sync that begins after a submission covers
//! the write behind it. While one sync runs the next submissions gather; there is no timer.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

/// Called once, on the sync thread, when all that was written before is on disk or never will be.
/// It should be quick: the next sync waits for it.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// The sync thread, its queue, and its memory of a failure.
pub(super) struct Syncer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Not bounded here: who writes is bounded by the appends that Raft has under way.
#[derive(Default)]
struct Queue {
    waiting: Vec<Done>,
    closed: bool,
    /// The first failure. What is on disk since then is unknown, so nothing is accepted after it.
    failure: Option<(io::ErrorKind, String)>,
}

impl Syncer {
    /// Starts the thread; `sync` makes durable all that was written before it was called.
    pub(super) fn start(
        mut sync: impl FnMut() -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let thread = thread::Builder::new().name("log-sync".to_owned()).spawn({
            let shared = shared.clone();
            move || {
                let ended = Ended(&shared);
                while let Some(waiting) = ended.0.next() {
                    let result = ended.0.sync(&mut sync);
                    for done in waiting {
                        done(copy(&result));
                    }
                }
            }
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Ok as long as nothing has failed and the log is open.
    pub(super) fn check(&self) -> io::Result<()> {
        self.shared.lock().check()
    }

    /// Has `done` called after the next sync. If this is an error, `done` is not called.
    pub(super) fn submit(&self, done: Done) -> io::Result<()> {
        let mut queue = self.shared.lock();
        queue.check()?;
        queue.waiting.push(done);
        // Let go of first, or the thread would wake up only to wait for it.
        drop(queue);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Notes a failed write: everything fails from now on, what waits included.
    pub(super) fn fail(&self, error: &io::Error) {
        self.shared.lock().fail(error);
    }

    /// Syncs all that was written, calls what waits, and ends the thread.
    pub(super) fn stop(&self) -> io::Result<()> {
        {
            let mut queue = self.shared.lock();
            if !queue.closed {
                // Not every write is submitted, but the last sync covers every write.
                queue.waiting.push(Box::new(|_| ()));
                queue.closed = true;
            }
            self.shared.changed.notify_one();
        }
        let thread = self.thread.lock().expect("no holder panics").take();
        // The last handle may be dropped by a `Done`, on the thread itself, which then just ends.
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            return Err(io::Error::other("the log's sync thread has panicked"));
        }
        self.shared.lock().failed()
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "the log was closed after a failure");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no holder panics")
    }

    /// Waits for what the next sync is for. `None` once the log is closed and nothing waits.
    fn next(&self) -> Option<Vec<Done>> {
        let queue = self.lock();
        let mut queue = self
            .changed
            .wait_while(queue, |queue| queue.waiting.is_empty() && !queue.closed)
            .expect("no holder panics");
        (!queue.waiting.is_empty()).then(|| std::mem::take(&mut queue.waiting))
    }

    fn sync(&self, sync: &mut impl FnMut() -> io::Result<()>) -> io::Result<()> {
        self.lock().failed()?;
        let result = sync();
        if let Err(error) = &result {
            // Before anybody hears of it, so that nobody can get past it.
            self.lock().fail(error);
        }
        result
    }
}

impl Queue {
    fn check(&self) -> io::Result<()> {
        self.failed()?;
        if self.closed { Err(io::Error::other("the log is closed")) } else { Ok(()) }
    }

    fn failed(&self) -> io::Result<()> {
        match &self.failure {
            None => Ok(()),
            Some((kind, message)) => {
                Err(io::Error::new(*kind, format!("the log has failed before: {message}")))
            }
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.failure.get_or_insert_with(|| (error.kind(), error.to_string()));
    }
}

/// Closes the queue however the thread ends, a panic in a [`Done`] included: nobody waits for a
/// thread that is gone.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.closed = true;
        let waiting = std::mem::take(&mut queue.waiting);
        // A `Done` may own the last handle to the log, whose drop takes the lock.
        drop(queue);
        drop(waiting);
    }
}

fn copy(result: &io::Result<()>) -> io::Result<()> {
    result.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// A `Done` and where its result comes out.
    fn done() -> (Done, Receiver<io::Result<()>>) {
        let (result, results) = channel();
        (Box::new(move |synced| result.send(synced).expect("the test listens")), results)
    }

    #[test]
    fn many_submissions_share_a_sync_and_complete_only_after_it() {
        let (began, begins) = channel();
        let (permit, permits) = channel::<()>();
        let syncer = Syncer::start(move || {
            began.send(()).expect("the test listens");
            permits.recv().map_err(io::Error::other)
        })
        .unwrap();
        // Dropped before the syncer, however the test ends: else stopping it would wait for it.
        let permit = permit;

        let (first, first_result) = done();
        syncer.submit(first).unwrap();
        begins.recv().unwrap();
        let results: Vec<_> = (0..50)
            .map(|_| {
                let (done, result) = done();
                syncer.submit(done).unwrap();
                result
            })
            .collect();
        assert!(first_result.try_recv().is_err(), "done before its sync");
        permit.send(()).unwrap();
        first_result.recv().unwrap().unwrap();

        begins.recv().unwrap();
        assert!(results.iter().all(|result| result.try_recv().is_err()), "done before its sync");
        permit.send(()).unwrap();
        results.iter().for_each(|result| result.recv().unwrap().unwrap());
        permit.send(()).unwrap();
        syncer.stop().unwrap();
        begins.recv().expect("the sync of closing");
        assert!(begins.try_recv().is_err(), "fifty-one submissions took more than two syncs");
    }

    #[test]
    fn after_a_failed_sync_everything_fails() {
        let mut syncs = 0;
        let syncer = Syncer::start(move || {
            syncs += 1;
            if syncs == 1 { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
        })
        .unwrap();
        let (first, result) = done();
        syncer.submit(first).unwrap();
        assert!(result.recv().unwrap().unwrap_err().to_string().contains("the disk is gone"));
        let refusal = syncer.submit(done().0).unwrap_err().to_string();
        assert!(refusal.contains("failed before: the disk is gone"), "{refusal}");
        assert!(syncer.check().is_err());
        assert!(syncer.stop().is_err());
    }

    #[test]
    fn stopping_syncs_what_waits_and_refuses_the_rest() {
        let syncer = Syncer::start(|| Ok(())).unwrap();
        let (last, result) = done();
        syncer.submit(last).unwrap();
        syncer.stop().unwrap();
        result.recv().unwrap().unwrap();
        assert!(syncer.submit(done().0).unwrap_err().to_string().contains("closed"));
    }
}
