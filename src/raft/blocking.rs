//! Work that waits for the disk, kept off the threads that serve.

use std::io;

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does `work`, which waits for the disk, on a thread that may.
///
/// On a runtime of one thread it is done right here: there, things happen one after the other, and
/// a simulation, whose time stands still meanwhile, relies on their order.
///
/// # Errors
/// What `work` fails with, or if it panics or the runtime ends.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?,
    }
}
