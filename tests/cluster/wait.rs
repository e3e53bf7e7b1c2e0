//! The one way to wait.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Long enough for a busy machine of two cores; reached only by what does not happen.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks again and again until `probe` gives a value; an error says what was seen instead.
///
/// # Panics
/// After a minute, with `what` was waited for and what was seen last.
pub async fn wait_until<T>(what: &str, mut probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(seen) if began.elapsed() > DEADLINE => {
                panic!("waited {DEADLINE:?} in vain until {what}; seen last: {seen}")
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}
