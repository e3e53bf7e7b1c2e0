//! Files that may be replaced while the node runs.
//!
//! They are read every few seconds and compared. What is new must stand unchanged from one look to
//! the next before it is tried, for a certificate and its key are two files and cannot be replaced
//! in one step. SIGHUP is for who does not want to wait: what is there then is tried at once.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::expiry::{Expiry, Urgency};
use super::files::{Contents, Error, Files};
use crate::clock::Clock;
use crate::limits;

/// Something that is made of [`Files`].
pub trait Watched: Send + Sync + 'static {
    /// Whom it is for: `peers` or `clients`.
    fn whom(&self) -> &'static str;
    /// Where its files are.
    fn files(&self) -> &Files;
    /// Takes new contents; without effect if they are no good.
    ///
    /// # Errors
    /// What is wrong with them.
    fn take(&self, contents: &Contents) -> Result<(), Error>;
    /// When what it uses ends.
    fn expiry(&self) -> Expiry;
}

/// Looks at the files of all of `watched` for ever, each with the contents it was made of, and warns
/// before a certificate ends, at once and then every day.
pub async fn watch(watched: Vec<(Arc<dyn Watched>, Contents)>, clock: Arc<dyn Clock>) {
    let mut looks: Vec<Look> =
        watched.into_iter().map(|(one, used)| Look::new(one, used)).collect();
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be caught: certificates are not looked at any more");
        return;
    };
    for look in &looks {
        if look.watched.files().key_is_open() {
            let key = look.watched.files().key.display().to_string();
            tracing::warn!(key, "everybody on this machine can use the private key");
        }
    }
    let mut ticks = interval(limits::CERTIFICATE_LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let at_once = tokio::select! {
            _ = ticks.tick() => false,
            _ = hangup.recv() => true,
        };
        for look in &mut looks {
            let watched = look.watched.clone();
            let read = tokio::task::spawn_blocking(move || watched.files().read()).await;
            let Ok(read) = read else { return };
            look.see(read, at_once);
            look.warn(clock.wall_ms());
        }
    }
}

/// What was seen of one set of files.
struct Look {
    watched: Arc<dyn Watched>,
    /// What is in use.
    used: Contents,
    /// What was there at the last look.
    last: Result<Contents, Error>,
    /// Whether that was tried and refused: once is enough to say so.
    refused: bool,
    /// When a warning of the end of a certificate is due again, in ms.
    warn_at_ms: u64,
}

impl Look {
    fn new(watched: Arc<dyn Watched>, used: Contents) -> Self {
        Self { watched, last: Ok(used.clone()), used, refused: false, warn_at_ms: 0 }
    }

    fn see(&mut self, read: Result<Contents, Error>, at_once: bool) {
        let is_still = self.last == read;
        if !is_still {
            self.refused = false;
            self.last = read;
        }
        if self.last.as_ref().is_ok_and(|last| *last == self.used) {
            return;
        }
        if !at_once && (self.refused || !is_still) {
            return;
        }
        let whom = self.watched.whom();
        match self.last.clone().and_then(|new| self.watched.take(&new).map(|()| new)) {
            Ok(new) => {
                self.used = new;
                self.warn_at_ms = 0;
                let serial = self.watched.expiry().serial;
                tracing::info!(whom, serial, "new certificates are in use");
            }
            Err(error) => {
                self.refused = true;
                tracing::error!(whom, %error, "the certificate's files have changed and cannot be used: those of before are still in use");
            }
        }
    }

    fn warn(&mut self, now_ms: u64) {
        if now_ms < self.warn_at_ms {
            return;
        }
        self.warn_at_ms = now_ms + limits::CERTIFICATE_WARN_INTERVAL_MS;
        let (urgency, why) = self.watched.expiry().at(now_ms);
        let (whom, certificate) =
            (self.watched.whom(), self.watched.files().certificate.display().to_string());
        match urgency {
            Urgency::None => {}
            Urgency::Warn => tracing::warn!(whom, certificate, "{why}"),
            Urgency::Error => tracing::error!(whom, certificate, "{why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;

    use super::*;

    /// Takes any certificate but `bad`, and remembers it.
    struct Fake {
        files: Files,
        taken: Mutex<u32>,
    }

    impl Watched for Fake {
        fn whom(&self) -> &'static str {
            "tests"
        }

        fn files(&self) -> &Files {
            &self.files
        }

        fn take(&self, _: &Contents) -> Result<(), Error> {
            if fs::read(&self.files.certificate).unwrap() == b"bad" {
                return Err(Error::new(&self.files.certificate, "bad"));
            }
            *self.taken.lock().unwrap() += 1;
            Ok(())
        }

        fn expiry(&self) -> Expiry {
            Expiry { certificate_ms: 0, ca_ms: None, serial: String::new() }
        }
    }

    #[test]
    fn what_stands_still_is_taken_once_and_what_is_bad_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files {
            ca: None,
            certificate: dir.path().join("certificate"),
            key: dir.path().join("key"),
        };
        let put = |text: &str| fs::write(&files.certificate, text).unwrap();
        put("one");
        fs::write(&files.key, "key").unwrap();
        let fake = Arc::new(Fake { files: files.clone(), taken: Mutex::new(0) });
        let mut look = Look::new(fake.clone(), files.read().unwrap());
        let mut seen = |at_once| {
            look.see(files.read(), at_once);
            (*fake.taken.lock().unwrap(), look.refused)
        };
        assert_eq!(seen(true), (0, false));
        put("two");
        assert_eq!(seen(false), (0, false));
        assert_eq!(seen(false), (1, false));
        assert_eq!(seen(false), (1, false));
        put("three");
        assert_eq!(seen(true), (2, false));
        put("bad");
        assert_eq!(seen(false), (2, false));
        assert_eq!(seen(false), (2, true));
        assert_eq!(seen(false), (2, true));
        // Gone for a moment, as when a folder is changed for another.
        fs::remove_file(&files.certificate).unwrap();
        assert_eq!(seen(false), (2, false));
        put("four");
        assert_eq!(seen(false), (2, false));
        assert_eq!(seen(false), (3, false));
        put("five");
        assert_eq!(seen(false), (3, false));
        put("four");
        assert_eq!(seen(false), (3, false));
    }
}
