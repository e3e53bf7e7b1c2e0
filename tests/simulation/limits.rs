//! Invariant: a limiter never admits more than its limit in a window, and never less.
//!
//! A window is known by its end, which every answer tells. Limiters that nobody resets have one window
//! after the other.

use std::collections::BTreeMap;

use tallykeep::machine::Decision;

use crate::history::{Ask, History, Told};
use crate::workload;

/// What was told of one window.
#[derive(Default)]
struct Window {
    admitted: Vec<u64>,
    refused: u64,
}

/// # Errors
/// If a limiter was over its limit, or refused below it.
pub fn check(history: &History) -> Result<(), String> {
    for key in 0..workload::LIMITERS {
        let (limit, window_ms) = workload::limited(key);
        let calls = history.calls.iter().filter(|call| call.ask == Ask::Limited { key });
        let (mut windows, mut unknown) = (BTreeMap::<u64, Window>::new(), 0);
        for call in calls {
            match &call.told {
                Told::Decided(decision) => note(&mut windows, decision, window_ms)?,
                Told::Unknown => unknown += 1,
                _ => {}
            }
        }
        let mut before = 0;
        for (end_ms, mut window) in windows {
            let is_after = end_ms.saturating_sub(window_ms) >= before;
            if !is_after {
                return Err(format!(
                    "limiter {key}: a window that ends at {end_ms} overlaps another"
                ));
            }
            before = end_ms;
            window.admitted.sort_unstable();
            let admitted = window.admitted.len() as u64;
            let is_twice = window.admitted.windows(2).any(|two| two[0] == two[1]);
            if is_twice || admitted > limit {
                return Err(format!(
                    "limiter {key} of {limit}: admitted {admitted} in the window that ends at \
                     {end_ms}, with {:?} remaining",
                    window.admitted
                ));
            }
            if window.refused > 0 && admitted + unknown < limit {
                return Err(format!(
                    "limiter {key} of {limit}: refused after {admitted} in the window that ends at \
                     {end_ms}"
                ));
            }
        }
    }
    Ok(())
}

fn note(
    windows: &mut BTreeMap<u64, Window>,
    decision: &Decision,
    window_ms: u64,
) -> Result<(), String> {
    let Decision { allowed, remaining, reset_ms, now_ms, .. } = *decision;
    let window = windows.entry(reset_ms).or_default();
    if !allowed {
        window.refused += 1;
        return Ok(());
    }
    window.admitted.push(remaining);
    if now_ms < reset_ms.saturating_sub(window_ms) || now_ms >= reset_ms {
        return Err(format!("admitted at {now_ms} in a window that ends at {reset_ms}"));
    }
    Ok(())
}
