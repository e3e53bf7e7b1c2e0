//! Ids of traces and spans, and `traceparent`, by which one process tells another of them
//! (W3C Trace Context, <https://www.w3.org/TR/trace-context/>).

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the four fields of `traceparent`, and of the dashes between them.
const FIELDS: usize = 55;

/// The id of a trace: 16 bytes, not all of them zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

/// The id of a span: 8 bytes, not all of them zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(u64);

/// A span of another process, from which a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace that both belong to.
    pub trace: TraceId,
    /// The other's span.
    pub span: SpanId,
    /// Whether the other process keeps its span, and wants to have ours.
    pub is_sampled: bool,
}

/// Where unique numbers come from: the system is asked for randomness once, for it is asked in the way
/// of every request.
struct Numbers {
    /// Which process this is; not 0.
    process: u64,
    next: AtomicU64,
}

static NUMBERS: LazyLock<Numbers> = LazyLock::new(|| Numbers {
    process: rand::random::<u64>() | 1,
    next: AtomicU64::new(rand::random()),
});

impl Numbers {
    /// A number that this process gives once, and whose bits look like chance.
    fn next(&self) -> u64 {
        scattered(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): no two numbers come to the same one.
fn scattered(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl TraceId {
    /// One that nobody else has: 63 random bits of the process, and a number of the process's own.
    pub fn unique() -> Self {
        Self((u128::from(NUMBERS.process) << 64) | u128::from(NUMBERS.next()))
    }

    /// Its 32 hexadecimal digits.
    pub fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        hex::encode_to_slice(self.0.to_be_bytes(), &mut digits).expect("two digits a byte");
        digits
    }

    /// The half by which it is decided whether a trace is sampled.
    pub(super) fn low(self) -> u64 {
        self.0 as u64
    }
}

impl SpanId {
    /// One that no other span of this process has.
    pub fn unique() -> Self {
        Self(NUMBERS.next().max(1))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Context {
    /// Reads the value of a `traceparent` header. One that is malformed is none, as the standard asks:
    /// the request is taken as if it had not been there.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (fields, rest) = value.split_at_checked(FIELDS)?;
        let version = number(&fields[..2])?;
        // A later version has the same four fields, and may have more behind another dash.
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        let dashes = [fields[2], fields[35], fields[52]];
        if !is_whole || dashes != [b'-'; 3] {
            return None;
        }
        let trace = number(&fields[3..35])?;
        let span = u64::try_from(number(&fields[36..52])?).ok()?;
        let flags = number(&fields[53..])?;
        (trace != 0 && span != 0).then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            is_sampled: flags & 1 == 1,
        })
    }
}

/// Reads hexadecimal digits, at most 32, of which the letters are small.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_context_is_read_as_the_standard_has_it() {
        for (value, sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), false),
            (format!("00-{TRACE}-{SPAN}-03"), true),
            // Of a later version: what is known of it counts.
            (format!("cc-{TRACE}-{SPAN}-01"), true),
            (format!("01-{TRACE}-{SPAN}-01-what-comes"), true),
            (format!("01-{TRACE}-{SPAN}-01-"), true),
        ] {
            let context = Context::parse(value.as_bytes()).unwrap_or_else(|| panic!("{value}"));
            assert_eq!(context.trace.to_string(), TRACE);
            assert_eq!(context.trace.digits(), TRACE.as_bytes());
            assert_eq!(context.span.to_string(), SPAN);
            assert_eq!(context.is_sampled, sampled, "{value}");
        }
    }

    #[test]
    fn what_is_malformed_is_as_good_as_nothing() {
        let zeros = "0".repeat(32);
        for value in [
            String::new(),
            "00".into(),
            format!("00-{TRACE}-{SPAN}-0"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-011"),
            format!("01-{TRACE}-{SPAN}-01.more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{}é-{SPAN}-01", &TRACE[..30]),
            format!("00-{}-{SPAN}0-01", &TRACE[1..]),
        ] {
            assert_eq!(Context::parse(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn ids_are_unique_and_spread() {
        let mut seen = HashSet::new();
        let mut low_halves = 0;
        for _ in 0..10_000 {
            let id = TraceId::unique();
            assert!(seen.insert(id.0), "{id}");
            low_halves += u32::from(id.low() < 1 << 63);
            let digits = String::from_utf8(id.digits().to_vec()).unwrap();
            assert_eq!(digits, id.to_string());
        }
        // Of 10,000 throws of a coin; six standard deviations are 300.
        assert!((4_700..5_300).contains(&low_halves), "{low_halves}");
    }
}
