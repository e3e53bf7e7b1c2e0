//! `tallykeep status`: what each node says of itself.

use std::process::ExitCode;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, Fault};
use super::terminal::columns;
use super::{Endpoints, Error, exit};
use crate::limits::CLIENT_PAUSE;

/// Arguments of `tallykeep status`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The nodes.
    #[command(flatten)]
    pub endpoints: Endpoints,
    /// Wait so long until every endpoint is ready; exit 1 if one is not by then, 3 if none answers.
    #[arg(long, value_name = "SECONDS")]
    pub wait_ready: Option<u64>,
}

/// `GET /admin/cluster`, as far as the table needs it.
#[derive(Deserialize)]
struct View {
    id: u64,
    term: u64,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: u64,
    role: String,
    applied: Option<u64>,
    disk: Option<String>,
}

/// One line of the table.
struct Row {
    endpoint: String,
    ready: bool,
    view: Option<View>,
    /// Why the node that answers does not tell how it is.
    rejected: Option<String>,
}

/// Prints a table: endpoint, node, role, term, applied, disk, ready. Exit 0 when a node answered; with
/// `wait_ready`, when every one is ready, and otherwise 1. Exit 3 when none answered.
///
/// # Errors
/// When no HTTP client can be made, or no node tells how it is since the token is not good for it. A node
/// that does not answer is a line of the table.
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let cluster = Cluster::new(&args.endpoints)?;
    let deadline = Instant::now() + Duration::from_secs(args.wait_ready.unwrap_or(0));
    let rows = loop {
        let rows = look(&cluster).await;
        if rows.iter().all(|row| row.ready) || Instant::now() >= deadline {
            break rows;
        }
        sleep(CLIENT_PAUSE).await;
    };
    print!("{}", table(&rows));
    if rows.iter().all(|row| row.view.is_none()) {
        if let Some(why) = rows.into_iter().find_map(|row| row.rejected) {
            return Err(Error::Rejected(why));
        }
        return Ok(ExitCode::from(exit::UNREACHABLE));
    }
    Ok(exit::of(args.wait_ready.is_none() || rows.iter().all(|row| row.ready)))
}

/// Asks every node at once, each for itself.
async fn look(cluster: &Cluster) -> Vec<Row> {
    let nodes = cluster.endpoints().iter().enumerate().map(|(turn, endpoint)| async move {
        let ready = cluster.send(turn, Method::GET, "/readyz", None::<&()>).await.is_ok();
        let view = cluster.send(turn, Method::GET, "/admin/cluster", None::<&()>).await;
        let (view, rejected) = match view.and_then(|answer| answer.json()) {
            Ok(view) => (Some(view), None),
            Err(Fault::Rejected(why)) => (None, Some(why)),
            Err(Fault::Unchanged(_) | Fault::Unknown(_)) => (None, None),
        };
        Row { endpoint: endpoint.as_str().trim_end_matches('/').into(), ready, view, rejected }
    });
    futures_util::future::join_all(nodes).await
}

/// The rows under a heading, in columns.
fn table(rows: &[Row]) -> String {
    let mut cells =
        vec![["ENDPOINT", "NODE", "ROLE", "TERM", "APPLIED", "DISK", "READY"].map(String::from)];
    for row in rows {
        let ready = if row.ready { "yes" } else { "no" }.to_owned();
        let endpoint = row.endpoint.clone();
        cells.push(match &row.view {
            None => {
                let unknown = || "-".to_owned();
                let role = if row.rejected.is_some() { unknown() } else { "down".into() };
                [endpoint, unknown(), role, unknown(), unknown(), unknown(), ready]
            }
            Some(view) => {
                let own = view.nodes.iter().find(|node| node.id == view.id);
                let role = own.map_or("-".into(), |node| node.role.clone());
                let applied = own.and_then(|node| node.applied);
                let applied = applied.map_or("-".into(), |index| index.to_string());
                let disk = own.and_then(|node| node.disk.clone()).unwrap_or("-".into());
                [endpoint, view.id.to_string(), role, view.term.to_string(), applied, disk, ready]
            }
        });
    }
    columns(&cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_a_leader_and_a_node_that_is_down() {
        let view = r#"{"id":2,"leader":2,"term":13,"nodes":[
            {"id":1,"http":"a","peer":"b","role":"follower","lastLog":9,"applied":null,
             "ready":false,"disk":null},
            {"id":2,"http":"a","peer":"b","role":"leader","lastLog":41,"applied":40,"ready":true,
             "disk":"low"}],
            "stateHash":{"applied":40,"hash":"00"}}"#;
        let view = serde_json::from_str(view).expect("the view is as the API gives it");
        let rows = [
            Row {
                endpoint: "http://127.0.0.1:7001".into(),
                ready: false,
                view: None,
                rejected: None,
            },
            Row {
                endpoint: "http://127.0.0.1:7002".into(),
                ready: true,
                view: Some(view),
                rejected: None,
            },
        ];
        assert_eq!(
            table(&rows),
            "ENDPOINT               NODE  ROLE    TERM  APPLIED  DISK  READY\n\
             http://127.0.0.1:7001  -     down    -     -        -     no\n\
             http://127.0.0.1:7002  2     leader  13    40       low   yes\n"
        );
    }
}
