//! Log lines that a collector can cause by what it answers.

use tokio::time::Instant;

use crate::limits;

/// What the log was told of a collector that does not take spans.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// When it was told last that one begins.
    told: Option<Instant>,
    /// Whether it was not yet told that this one is over.
    is_open: bool,
}

impl Outage {
    /// Spans were refused: whether the log is to be told. That is once in an outage, and once in
    /// [`limits::SPANS_COMPLAINT_INTERVAL`], however often it begins.
    pub(super) fn begins(&mut self) -> bool {
        let is_early = |told: Instant| told.elapsed() < limits::SPANS_COMPLAINT_INTERVAL;
        if self.is_open || self.told.is_some_and(is_early) {
            return false;
        }
        *self = Self { told: Some(Instant::now()), is_open: true };
        true
    }

    /// Spans were taken: whether the log is to be told, as it is of the end of each outage that it knows of.
    pub(super) fn ends(&mut self) -> bool {
        std::mem::take(&mut self.is_open)
    }
}

/// As much of a reason as a line of the log has room for.
pub(super) fn beginning(why: &str) -> &str {
    let rest = why.char_indices().nth(limits::SPANS_REASON_CHARS_MAX);
    rest.map_or(why, |(end, _)| &why[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_log_is_told_once_in_an_interval_and_of_each_end() {
        let mut outage = Outage::default();
        assert!(!outage.ends(), "there is none");
        assert!(outage.begins());
        assert!(!outage.begins(), "it goes on");
        assert!(outage.ends());
        for _ in 0..100 {
            assert!(!outage.begins() && !outage.ends(), "neither, since it comes and goes");
        }
        tokio::time::advance(limits::SPANS_COMPLAINT_INTERVAL).await;
        assert!(outage.begins());
        tokio::time::advance(limits::SPANS_COMPLAINT_INTERVAL).await;
        assert!(!outage.begins(), "it goes on");
        assert!(outage.ends() && !outage.ends());
        assert!(outage.begins(), "the last line of one is old enough");
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let whole = "é".repeat(limits::SPANS_REASON_CHARS_MAX);
        assert_eq!(beginning(&whole), whole);
        assert_eq!(beginning(&format!("{whole}é")), whole);
        assert_eq!(beginning(""), "");
    }
}
