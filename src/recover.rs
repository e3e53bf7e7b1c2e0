//! `tallykeep recover`: a cluster that has lost most of its machines goes on with what one has.

use std::io;

use crate::config::Settings;
use crate::raft::{self, NodeAddress};
use crate::server::open_stores;

/// Shows what the stopped node has; with `forget`, makes it a cluster of itself.
///
/// # Errors
/// If the node runs, has no whole data, or its data cannot be read or written.
pub async fn run(settings: Settings, forget: bool) -> io::Result<()> {
    if !settings.data.is_dir() {
        return Err(io::Error::other(format!("there is no folder {}", settings.data.display())));
    }
    let (log, state, _) = open_stores(&settings).await?;
    let id = settings.id;
    let held = raft::holdings(&settings.data, &log, &state).await?;
    println!("node {id} has entries up to index {} of term {}", held.index, held.term);
    if forget {
        let node =
            NodeAddress { http: settings.http().to_owned(), peer: settings.peer().to_owned() };
        raft::forget_others(&settings.data, &log, &state, id, node).await?;
        println!(
            "node {id} is a cluster of its own now: start it, and add new nodes to it.\n\
             Never start the others again with the data that they have."
        );
    } else {
        println!(
            "Nothing was changed. With --unsafe-forget-others this node goes on alone with these \
             entries:\nwhat a majority without it has acknowledged beyond them is lost, and the \
             others must never\ncome back. If several nodes are left, compare: the greatest term, \
             and then the greatest\nindex, has the most."
        );
    }
    let closed = tokio::task::spawn_blocking(move || log.close());
    closed.await.map_err(io::Error::other)?
}
