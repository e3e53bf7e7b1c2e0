//! Whether a node's process still runs. What it leaves behind when it is killed can do nothing more:
//! its disk and its network ask here first.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

pub struct Life {
    ended: AtomicBool,
    told: Notify,
}

impl Life {
    pub fn new() -> Self {
        Self { ended: AtomicBool::new(false), told: Notify::new() }
    }

    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.told.notify_waiters();
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// # Errors
    /// If the process was killed.
    pub fn check(&self) -> io::Result<()> {
        if self.has_ended() { Err(io::Error::other("the process was killed")) } else { Ok(()) }
    }

    /// Returns once the process was killed.
    pub async fn ended(&self) {
        let told = self.told.notified();
        if !self.has_ended() {
            told.await;
        }
    }
}
