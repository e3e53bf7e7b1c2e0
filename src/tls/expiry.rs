//! When certificates end, and who is told.

use super::certificate::Certificate;
use super::files::{Error, Files, Parsed};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// With so many days left, the log warns …
const WARN_DAYS: u64 = 30;
/// … and with so many it tells of an error.
const ERROR_DAYS: u64 = 7;

/// The last moments of what is in use, in ms since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Of the certificate, or of one between it and its CA.
    pub certificate_ms: u64,
    /// Of the CA; of several, of the last one that ends.
    pub ca_ms: Option<u64>,
    /// The certificate's serial number, in hexadecimal.
    pub serial: String,
}

/// How urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    None,
    Warn,
    Error,
}

impl Expiry {
    pub(super) fn of(parsed: &Parsed, files: &Files) -> Result<Self, Error> {
        let refused = |why| Error::new(&files.certificate, why);
        let chain = parsed.chain.iter().map(Certificate::of).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(refused)?;
        let certificate_ms = chain.iter().map(|one| one.not_after_ms).min().unwrap_or(0);
        let serial = chain.into_iter().next().map_or_else(String::new, |own| own.serial);
        let mut ca_ms = None;
        if let (Some(ca), Some(path)) = (&parsed.ca, &files.ca) {
            for der in &ca.certificates {
                let one = Certificate::of(der).map_err(|why| Error::new(path, why))?;
                ca_ms = ca_ms.max(Some(one.not_after_ms));
            }
        }
        Ok(Self { certificate_ms, ca_ms, serial })
    }

    /// How urgent it is at `now_ms`, and what there is to say.
    pub(super) fn at(&self, now_ms: u64) -> (Urgency, String) {
        let ca = self.ca_ms.filter(|ca_ms| *ca_ms < self.certificate_ms);
        let (what, end_ms) = match ca {
            Some(ca_ms) => ("the CA", ca_ms),
            None => ("the certificate", self.certificate_ms),
        };
        let Some(left_ms) = end_ms.checked_sub(now_ms) else {
            return (Urgency::Error, format!("{what} has expired"));
        };
        let days = left_ms / DAY_MS;
        let urgency = match days {
            0..ERROR_DAYS => Urgency::Error,
            ERROR_DAYS..WARN_DAYS => Urgency::Warn,
            _ => Urgency::None,
        };
        (urgency, format!("{what} expires in {days} days"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_end_is_told_the_more_urgently_the_nearer_it_is() {
        let at = 1_000 * DAY_MS;
        let ends = |certificate_days: u64, ca_days: Option<u64>| {
            let expiry = Expiry {
                certificate_ms: at + certificate_days * DAY_MS,
                ca_ms: ca_days.map(|days| at + days * DAY_MS),
                serial: String::new(),
            };
            expiry.at(at)
        };
        assert_eq!(ends(30, None).0, Urgency::None);
        assert_eq!(ends(29, None), (Urgency::Warn, "the certificate expires in 29 days".into()));
        assert_eq!(ends(7, Some(365)).0, Urgency::Warn);
        assert_eq!(ends(6, Some(365)).0, Urgency::Error);
        assert_eq!(ends(365, Some(6)), (Urgency::Error, "the CA expires in 6 days".into()));
        let over = Expiry { certificate_ms: at - 1, ca_ms: None, serial: String::new() };
        assert_eq!(over.at(at), (Urgency::Error, "the certificate has expired".into()));
    }
}
