//! What a node counts and times, for Prometheus to read at `/metrics`.
//!
//! One registry for the process, for a node is one: a handle in each place that counts would be passed
//! through every constructor to say the same. What counts itself is counted where it happens; what
//! merely is ([`Gauges`]) is looked at when somebody asks. Names have base units; labels have few values,
//! and never a client's: no identifier, no object's name.

mod buckets;
mod handles;

use std::sync::LazyLock;

use prometheus::{Encoder, Registry, TextEncoder};

pub use handles::{Counted, Gauges};
pub use prometheus::{Histogram, IntCounter, IntGaugeVec};

use crate::error::Error;

/// The form of [`text`], as `Content-Type` has it.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let registry = Registry::new();
    // CPU time, memory, descriptors, threads: where the system has them.
    #[cfg(target_os = "linux")]
    registry
        .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
        .expect("the first of its names");
    registry
});
static COUNTED: LazyLock<Counted> = LazyLock::new(|| Counted::new(&REGISTRY));
static GAUGES: LazyLock<Gauges> = LazyLock::new(|| Gauges::new(&REGISTRY));

/// What is counted where it happens.
pub fn counted() -> &'static Counted {
    &COUNTED
}

/// What is set when somebody asks, and not before.
pub fn gauges() -> &'static Gauges {
    &GAUGES
}

/// All of it, in Prometheus' text format.
///
/// # Errors
/// If it cannot be encoded: a fault of this program.
pub fn text() -> Result<Vec<u8>, Error> {
    // Those of which nothing was counted yet are there from the first time on.
    let _ = (counted(), gauges());
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&REGISTRY.gather(), &mut text)
        .map_err(|error| Error::internal(format!("the metrics cannot be written: {error}")))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The names of all families that a node gives, whether or not anything was counted.
    fn names() -> BTreeSet<String> {
        let (counted, gauges) = (Counted::new(&Registry::new()), Gauges::new(&Registry::new()));
        counted.names().into_iter().chain(gauges.names()).collect()
    }

    #[test]
    fn the_page_of_metrics_has_each_and_no_other() {
        let page = fs::read_to_string(Path::new("docs/metrics.md")).unwrap();
        let told = page.lines().filter_map(|line| {
            let name = line.strip_prefix("| `")?.split(['`', '{']).next()?;
            name.starts_with("tallykeep_").then(|| name.to_owned())
        });
        assert_eq!(told.collect::<BTreeSet<_>>(), names());
    }

    #[test]
    fn names_have_base_units_and_counters_say_so() {
        for name in names() {
            let unit = ["_ms", "_milliseconds", "_us", "_minutes", "_kib", "_mib", "_percent"];
            assert!(!unit.iter().any(|unit| name.contains(unit)), "{name}");
        }
        let text = String::from_utf8(text().unwrap()).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        }
    }
}
