//! What has to hold for any input: a function of bytes per decoder, which panics if it does not.
//!
//! `fuzz/` runs these under libFuzzer, `tests/bad_input.rs` over the corpus and mutations of it. A
//! target asks for more than that nothing panics: what is taken is within its bounds and reads the
//! same when it is written again, what is refused is refused with an error of the client's kind, and
//! neither takes memory out of proportion to the input.

mod allocation;
mod archives;
mod bodies;
mod cursors;
mod headers;
mod machine;
mod manifests;
mod paths;
mod peers;
mod store;
mod stored;

use tallykeep::error::{Error, Kind};

pub use machine::same_everywhere;
pub use store::Store;

/// Whether a decoder took an input. A corpus needs both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Taken,
    Refused,
}

/// A target: its name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]) -> Verdict);

/// Every target.
pub const TARGETS: [Target; 14] = [
    ("check_body", bodies::check),
    ("log_body", bodies::log),
    ("query_body", bodies::query),
    ("batch_body", bodies::batch),
    ("members_body", bodies::members),
    ("export_parameters", paths::parameters),
    ("object_path", paths::object),
    ("idempotency_key", headers::key),
    ("cursor", cursors::cursor),
    ("peer_message", peers::message),
    ("stored_value", stored::value),
    ("machine", machine::batches),
    ("manifest", manifests::manifest),
    ("archive", archives::archive),
];

/// Runs one target, for a fuzzer.
///
/// # Panics
/// If there is no such target, or if what it asks for does not hold.
#[allow(dead_code, reason = "fuzz/ alone calls it")]
pub fn run(name: &str, input: &[u8]) {
    let (_, body) = TARGETS.iter().find(|(target, _)| *target == name).expect("a target");
    body(input);
}

/// Characters of an error's sentence, beside what it repeats of the input.
const SENTENCE_CHARS_MAX: usize = 2048;

/// Asserts that an error is one that tells the client what is wrong with this input.
fn refused(error: &Error, input: &[u8]) -> Verdict {
    assert!(
        matches!(error.kind, Kind::Invalid | Kind::NotFound | Kind::TooLarge),
        "not the client's fault: {error:?}"
    );
    assert!(error.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{error:?}");
    assert!(!error.message.is_empty());
    // Escaped, a byte has at most six characters.
    assert!(error.message.len() <= SENTENCE_CHARS_MAX + 6 * input.len(), "{error:?}");
    Verdict::Refused
}

/// Asserts that what `again` reads and writes is stable from its first writing on: two nodes that
/// pass a value on to each other pass on the same.
fn stable(
    input: &[u8],
    again: impl Fn(&[u8]) -> std::io::Result<Vec<u8>>,
    codec_error: impl Fn(&std::io::Error) -> bool,
) -> Verdict {
    match allocation::bounded(input, allocation::VALUE, || again(input)) {
        Ok(written) => {
            let read = again(&written).expect("what was written can be read");
            assert_eq!(read, written, "reading and writing changes a value");
            Verdict::Taken
        }
        Err(error) => {
            assert!(codec_error(&error), "{error:?}");
            Verdict::Refused
        }
    }
}

/// Whether an error says that the data is not what it should be.
fn is_invalid_data(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData && !error.to_string().is_empty()
}
