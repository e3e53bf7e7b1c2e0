//! Strict reading of the JSON bodies of requests. No HTTP here: bytes in, values or errors out.
//!
//! An audit entry is evidence, so its text is checked and compacted but never made again:
//! [`entry()`], or [`imported()`] if it has its id and time. The other bodies are read in one pass
//! into what they mean: [`check`], [`reset`], [`query()`], [`policy`], [`credit`]. A batch is taken apart into such bodies:
//! [`batch()`]. Every error names the member and, where there is one, the bound.

mod batch;
mod compact;
mod entry;
mod imported;
mod limiter;
mod query;
mod value;

pub use batch::batch;
pub use entry::{LogEntry, entry};
pub use imported::{PastEntry, imported};
pub use limiter::{CheckBody, Config, CreditBody, ResetBody, check, credit, policy, reset};
pub use query::{QueryBody, query};

use crate::error::{Error, Result};
use crate::limits;

/// `malformed_json`: the body is not JSON, or not an object.
fn malformed(error: impl std::fmt::Display) -> Error {
    Error::invalid("malformed_json", format!("the body must be a JSON object: {error}"))
}

/// What serde_json says of a body that it cannot read: `lone_surrogate` if an escape is half of a
/// surrogate pair, as of entries; else as [`malformed`].
fn unreadable(error: &serde_json::Error) -> Error {
    let text = error.to_string();
    // It has no other way to tell, and says the second of nothing but the first half of a pair.
    let is_surrogate = ["lone leading surrogate", "unexpected end of hex escape"];
    if is_surrogate.iter().any(|said| text.starts_with(said)) {
        return Error::invalid("lone_surrogate", format!("the body has a lone surrogate: {text}"));
    }
    malformed(text)
}

/// `invalid_field`: a member is missing, of the wrong type or out of bounds.
fn invalid(member: &str, rule: impl std::fmt::Display) -> Error {
    Error::invalid("invalid_field", format!("{member} must {rule}"))
}

/// `duplicate_key`: an object has two members of one name.
fn duplicate(member: &str) -> Error {
    Error::invalid("duplicate_key", format!("{member} stands there twice"))
}

/// As much of a client's text as an error repeats.
fn shown(text: &str) -> String {
    text.chars().take(limits::NAME_BYTES_MAX / 8).collect()
}

/// Refuses a name that is empty, too long, or has control characters.
pub(super) fn check_name(member: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > limits::NAME_BYTES_MAX {
        let bound = limits::NAME_BYTES_MAX;
        return Err(invalid(member, format_args!("be a string of 1 to {bound} bytes")));
    }
    if name.chars().any(char::is_control) {
        return Err(invalid(member, "not contain control characters"));
    }
    Ok(())
}
