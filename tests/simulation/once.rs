//! Invariant: each acknowledged command was carried out exactly once, and is still there; one of
//! unknown fate at most once; one that was refused not at all.

use std::collections::BTreeMap;

use crate::history::{Ask, Call, History, Told};
use crate::workload::{self, COUNT_LIMIT};

/// `counts` is what each counter has come to, in the end.
///
/// # Errors
/// If a check was counted twice, or not at all.
pub fn check_counts(history: &History, counts: &[u64]) -> Result<(), String> {
    for (key, count) in (0..).zip(counts) {
        let calls: Vec<&Call> =
            history.calls.iter().filter(|call| call.ask == Ask::Count { key }).collect();
        let mut places = BTreeMap::new();
        for call in &calls {
            let Told::Decided(decision) = &call.told else { continue };
            let place = COUNT_LIMIT - decision.remaining;
            if let Some(other) = places.insert(place, call) {
                return Err(format!(
                    "counter {key}: place {place} was given twice: {other}; {call}"
                ));
            }
        }
        let acknowledged = places.len() as u64;
        let unknown = calls.iter().filter(|call| call.told == Told::Unknown).count() as u64;
        let last = places.last_key_value().map_or(0, |(place, _)| *place);
        if *count < last.max(acknowledged) {
            return Err(format!(
                "counter {key} has come to {count}, but {acknowledged} checks were acknowledged, \
                 the last as number {last}"
            ));
        }
        if *count > acknowledged + unknown {
            return Err(format!(
                "counter {key} has come to {count}, but only {acknowledged} checks were \
                 acknowledged and {unknown} are unknown: some were counted twice"
            ));
        }
    }
    Ok(())
}

/// `entries` are the bodies of all entries of a node, oldest first.
///
/// # Errors
/// If an entry is missing, there twice, out of order, or was never asked for.
pub fn check_entries(history: &History, node: u64, entries: &[bytes::Bytes]) -> Result<(), String> {
    let mut places = BTreeMap::new();
    for (place, body) in entries.iter().enumerate() {
        let number = workload::number_in(body);
        let number = number.ok_or_else(|| format!("node {node}: an entry that nobody wrote"))?;
        if places.insert(number, place).is_some() {
            return Err(format!("node {node}: entry {number} is there twice"));
        }
    }
    let mut latest = Vec::new();
    for call in &history.calls {
        let Ask::Log { number } = call.ask else { continue };
        match (&call.told, places.remove(&number)) {
            (Told::Logged, Some(place)) => latest.push((call, place)),
            (Told::Logged, None) => {
                return Err(format!("node {node}: entry {number} was acknowledged and is missing"));
            }
            (Told::Unchanged(why), Some(_)) => {
                return Err(format!(
                    "node {node}: entry {number} is there, but was refused: {why}"
                ));
            }
            _ => {}
        }
    }
    if let Some(number) = places.keys().next() {
        return Err(format!("node {node}: entry {number} was never asked for"));
    }
    in_order(node, &latest)
}

/// An entry that was asked for after another was acknowledged stands behind it.
fn in_order(node: u64, entries: &[(&Call, usize)]) -> Result<(), String> {
    let mut told: Vec<(u64, usize)> =
        entries.iter().filter_map(|(call, place)| Some((call.told_at?, *place))).collect();
    told.sort_unstable();
    let (mut told, mut last) = (told.into_iter().peekable(), None);
    for (call, place) in entries {
        while let Some((_, before)) = told.next_if(|(told_at, _)| *told_at < call.asked_at) {
            last = last.max(Some(before));
        }
        if last > Some(*place) {
            return Err(format!("node {node}: the entry of {call} stands before an earlier one"));
        }
    }
    Ok(())
}
