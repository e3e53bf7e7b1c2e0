//! The search for an order of checks, resets and credits of one limiter that explains their answers
//! (Wing and Gong, "Testing and verifying concurrent objects", 1993, with Lowe's memory of what was
//! tried).
//!
//! Requests of unknown fate may stand anywhere behind their beginning, or nowhere. Those of a kind are
//! alike, so of them only the earliest is tried.

use std::collections::BTreeSet;

use crate::history::{Ask, Call, History, Told};
use crate::workload;

/// Steps of one search. It is given up, and counted, behind that.
const STEPS_MAX: u64 = 300_000;

/// What a limiter holds: nothing, or the end of its window, if any answer told it, and the count.
type Cell = Option<(Option<u64>, u64)>;

/// A request that may have been carried out.
struct Step<'a> {
    call: &'a Call,
    told_at: u64,
}

/// Gives the searches that were given up.
///
/// # Errors
/// If there is no such order.
pub fn check(history: &History) -> Result<u64, String> {
    let mut given_up = 0;
    for key in 0..workload::CONTENDED {
        let of_key = [Ask::Contended { key }, Ask::Reset { key }, Ask::Credit { key }];
        let is_of_key = |call: &&Call| of_key.contains(&call.ask);
        let changes = |call: &&Call| !matches!(call.told, Told::Unchanged(_));
        let calls = history.calls.iter().filter(is_of_key).filter(changes);
        let steps: Vec<Step> =
            calls.map(|call| Step { call, told_at: call.told_at.unwrap_or(u64::MAX) }).collect();
        match search(&steps, workload::contended(key)) {
            Some(true) => {}
            Some(false) => {
                let all: Vec<String> = steps.iter().map(|step| step.call.to_string()).collect();
                return Err(format!(
                    "limiter {key} of {}: no order explains these answers:\n{}",
                    workload::contended(key),
                    all.join("\n")
                ));
            }
            None => given_up += 1,
        }
    }
    Ok(given_up)
}

/// Whether there is an order; none if the search was given up.
fn search(steps: &[Step], limit: u64) -> Option<bool> {
    // What is still to come behind the first that is, and what the limiter holds.
    let start: (Vec<u32>, Cell) = ((0..u32::try_from(steps.len()).ok()?).collect(), None);
    let mut seen = BTreeSet::from([start.clone()]);
    let mut open = vec![start];
    let mut tried = 0;
    while let Some((left, cell)) = open.pop() {
        let of = |position: &u32| &steps[*position as usize];
        let first_end = left.iter().map(|position| of(position).told_at).min();
        if first_end.is_none_or(|end| end == u64::MAX) {
            return Some(true);
        }
        tried += 1;
        if tried > STEPS_MAX {
            return None;
        }
        let mut unknown: Vec<&Ask> = Vec::new();
        for (place, position) in left.iter().enumerate() {
            let step = of(position);
            if Some(step.call.asked_at) > first_end {
                break;
            }
            if step.told_at == u64::MAX {
                if unknown.contains(&&step.call.ask) {
                    continue;
                }
                unknown.push(&step.call.ask);
            }
            let Some(next) = carry_out(step.call, cell, limit) else { continue };
            let mut rest = left.clone();
            rest.remove(place);
            let next = (rest, next);
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    Some(false)
}

/// What the limiter holds after a request, if that explains its answer.
fn carry_out(call: &Call, cell: Cell, limit: u64) -> Option<Cell> {
    if matches!(call.ask, Ask::Reset { .. }) {
        return Some(None);
    }
    if matches!(call.ask, Ask::Credit { .. }) {
        return credit(call, cell);
    }
    let (end, count) = cell.unwrap_or((None, 0));
    let Told::Decided(decision) = &call.told else {
        // Of unknown fate; a refusal would change nothing.
        return (count < limit).then_some(Some((end, count + 1)));
    };
    let is_same = end.is_none_or(|end| end == decision.reset_ms);
    let is_right = match decision.allowed {
        true => count < limit && decision.remaining == limit - count - 1,
        false => count >= limit,
    };
    let after = if decision.allowed { count + 1 } else { count };
    (is_same && is_right).then_some(Some((Some(decision.reset_ms), after)))
}

/// The same, of a credit: the window stays, and its count becomes less.
fn credit(call: &Call, cell: Cell) -> Option<Cell> {
    let credited = cell.map_or(0, |(_, count)| count.min(workload::CREDITED));
    let Told::Credited(told) = &call.told else {
        return Some(cell.map(|(end, count)| (end, count - credited)));
    };
    if told.credited != credited || told.window.is_some() != cell.is_some() {
        return None;
    }
    let Some(((end, count), window)) = cell.zip(told.window) else { return Some(None) };
    let is_same = end.is_none_or(|end| end == window.ends_ms);
    let after = (Some(window.ends_ms), count - credited);
    (is_same && window.count == after.1).then_some(Some(after))
}
