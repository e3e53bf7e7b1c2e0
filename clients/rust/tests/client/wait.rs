//! Waits for a condition, never for a time.

use std::time::{Duration, Instant};

/// Tries `condition` until it holds; fails with `what` if it does not.
pub(crate) async fn wait_for(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < end, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
