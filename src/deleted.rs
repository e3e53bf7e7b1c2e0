//! Classes that a migration takes away, and what the cluster still holds of them.
//!
//! At Cloudflare a migration that deletes a class deletes its objects. Here nothing is deleted on account
//! of a file: a node whose file takes a class away refuses to run as long as there are objects of it, and
//! says how to go on. It looks when it has opened its state, before it serves anybody, and once more when
//! it has caught up, for its own state may have been behind.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bindings::Gone;
use crate::limits;
use crate::machine::{View, object};
use crate::raft::Node;

/// So many objects are counted.
const COUNTED: usize = 1000;
/// So many of them are named.
const NAMED: usize = 5;
/// Between two tries to catch up.
const PAUSE: Duration = Duration::from_millis(200);

/// What `view` holds of classes that are gone, in one sentence; `None` if there is nothing.
///
/// # Errors
/// If the view cannot be read.
pub(crate) fn left(view: &dyn View, gone: &[Gone]) -> io::Result<Option<String>> {
    for one in gone {
        let objects = object::in_namespace(view, one.namespace.id(), COUNTED)?;
        if objects.is_empty() {
            continue;
        }
        let noun = if objects.len() == 1 { "object" } else { "objects" };
        let least = if objects.len() == COUNTED { "at least " } else { "" };
        let names: Vec<_> =
            objects.iter().filter_map(|object| object.name.as_deref()).take(NAMED).collect();
        let more = if names.len() < objects.len() { ", …" } else { "" };
        let Gone { class, unique_key, migration, .. } = one;
        let class = class.name();
        return Ok(Some(format!(
            "{migration} takes the class {class} away, and {unique_key} still has {least}{} {noun} \
             ({}{more}); nothing was deleted. To reach them, take that migration back: then export what \
             an audit log holds (GET /export), and reset limiters, or let their windows end. To go on \
             without them, set abandoned_classes = [\"{class}\"] in the node's configuration (tallykeep \
             dev: --abandon-class {class}): they stay where they are, out of reach, until their windows \
             and the retention are over",
            objects.len(),
            names.join(", "),
        )));
    }
    Ok(None)
}

/// The same of a node once it has applied all that was acknowledged when this was called.
///
/// # Errors
/// If the state cannot be read.
pub(crate) async fn left_after_catching_up(
    node: &Node,
    gone: &[Gone],
) -> io::Result<Option<String>> {
    while node.reads().barrier(Instant::now() + limits::REQUEST_TIMEOUT).await.is_err() {
        sleep(PAUSE).await;
    }
    left(node.state(), gone)
}
