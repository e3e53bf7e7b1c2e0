//! Invariant: checks, resets, credits and reads are linearizable (Herlihy and Wing, 1990).
//!
//! Of a counter every admitted check has a place of its own, and a read tells how many there were, so
//! it is enough that places and counts never go back in real time. Limiters that are full, reset and
//! credited need the search in `search.rs`.

use std::collections::BTreeSet;

use crate::history::{Ask, Call, History, Told};
use crate::workload::{self, COUNT_LIMIT};

/// # Errors
/// If no order of the requests explains the answers.
pub fn check_counters(history: &History) -> Result<(), String> {
    for key in 0..workload::COUNTERS {
        let mut known: Vec<(&Call, u64, bool)> = Vec::new();
        for call in &history.calls {
            match (&call.ask, &call.told) {
                (Ask::Count { key: of }, Told::Decided(decision)) if *of == key => {
                    known.push((call, COUNT_LIMIT - decision.remaining, true));
                }
                (Ask::ReadCount { key: of }, Told::Count(count)) if *of == key => {
                    known.push((call, *count, false));
                }
                _ => {}
            }
        }
        never_back(key, &known)?;
    }
    Ok(())
}

/// Whoever begins after another has ended comes behind it; a check behind all that were counted.
fn never_back(key: u64, calls: &[(&Call, u64, bool)]) -> Result<(), String> {
    let mut ended: Vec<(u64, u64, &Call)> =
        calls.iter().filter_map(|(call, place, _)| Some((call.told_at?, *place, *call))).collect();
    ended.sort_unstable_by_key(|(told_at, _, _)| *told_at);
    let (mut ended, mut highest) = (ended.into_iter().peekable(), None::<(u64, &Call)>);
    for (call, place, is_check) in calls {
        while let Some((_, place, earlier)) = ended.next_if(|(at, _, _)| *at < call.asked_at) {
            if highest.is_none_or(|(highest, _)| place > highest) {
                highest = Some((place, earlier));
            }
        }
        let Some((before, earlier)) = highest else { continue };
        if *place < before + u64::from(*is_check) {
            return Err(format!(
                "counter {key}: a request at {place} began after one at {before} had ended: \
                 {earlier}; then {call}"
            ));
        }
    }
    Ok(())
}

/// Every entry that was acknowledged before a read began is seen by it.
///
/// # Errors
/// If one was not.
pub fn check_reads_of_entries(history: &History) -> Result<(), String> {
    // Clients read only what was acknowledged before.
    let acknowledged: BTreeSet<u64> = history.logged().iter().copied().collect();
    for call in &history.calls {
        let Ask::ReadLog { number } = call.ask else { continue };
        if call.told == Told::Found(false) && acknowledged.contains(&number) {
            return Err(format!("entry {number} was acknowledged, and then not found: {call}"));
        }
    }
    Ok(())
}
