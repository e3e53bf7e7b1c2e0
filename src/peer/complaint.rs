//! Log lines that others can cause: once in a while, and how many were left out.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::limits;

/// Whether the next line is due.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    state: Mutex<(Option<Instant>, u64)>,
}

impl Complaint {
    /// If a line is due, how many were left out since the one before.
    pub(super) fn due(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, left_out) = &mut *state;
        if said.is_some_and(|said| said.elapsed() < limits::PEER_COMPLAINT_INTERVAL) {
            *left_out += 1;
            return None;
        }
        *said = Some(Instant::now());
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_is_due_once_in_an_interval() {
        let complaint = Complaint::default();
        assert_eq!(complaint.due(), Some(0));
        assert_eq!(complaint.due(), None);
        assert_eq!(complaint.due(), None);
        tokio::time::advance(limits::PEER_COMPLAINT_INTERVAL).await;
        assert_eq!(complaint.due(), Some(2));
        assert_eq!(complaint.due(), None);
    }
}
