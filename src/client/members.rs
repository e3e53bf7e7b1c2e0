//! `tallykeep members`: which nodes belong to the cluster, and changing that.
//!
//! Each command is made of steps that the leader takes one at a time (`POST /admin/members`), and each
//! step may be repeated: so a command that was broken off is simply given again.

use std::process::ExitCode;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, Fault, Turns};
use super::terminal::columns;
use super::{Endpoints, Error};
use crate::limits::CLIENT_PAUSE;

/// How long nodes are asked for one step, or for how the cluster is.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `tallykeep members`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The nodes.
    #[command(flatten)]
    endpoints: Endpoints,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Show the nodes of the cluster.
    List,
    /// Add a node: without a vote until it has caught up, then with one.
    ///
    /// Start it first, on an empty data folder, with a configuration that names itself and at least
    /// one node of the cluster.
    Add(NewNode),
    /// Remove a node. Stop it afterwards, and remove its data.
    Remove {
        /// Its id.
        id: u64,
        /// Also if no majority of the nodes that are left answers: until one does, the cluster can
        /// decide nothing, and if those nodes are gone for good, what it holds can be lost.
        #[arg(long)]
        unsafe_without_quorum: bool,
    },
    /// Put a new node in the place of another, such as one whose machine is gone.
    Replace {
        /// The id of the node that goes.
        old: u64,
        #[command(flatten)]
        new: NewNode,
    },
    /// Have another node lead.
    TransferLeader {
        /// Its id.
        id: u64,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct NewNode {
    /// The new node's id: one that no node of this cluster ever had.
    #[arg(long = "id", value_name = "ID")]
    id: u64,
    /// Where it listens for clients.
    #[arg(long, value_name = "HOST:PORT")]
    http: String,
    /// Where it listens for its peers.
    #[arg(long, value_name = "HOST:PORT")]
    peer: String,
    /// How long it may take to catch up.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

/// `GET /admin/cluster`, as far as it is shown here.
#[derive(Deserialize)]
struct View {
    nodes: Vec<Status>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(flatten)]
    member: Member,
    role: String,
    applied: Option<u64>,
}

#[derive(Deserialize)]
struct Member {
    id: u64,
    http: String,
    peer: String,
    voter: bool,
}

/// The answer to a step.
#[derive(Deserialize)]
struct Changed {
    members: Vec<Member>,
}

/// Carries out the command, and prints the nodes of the cluster as they are then.
///
/// After a change these are what the leader says: another node may not know of it yet.
///
/// # Errors
/// If a step was refused, or no node took it in time.
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let cluster = Cluster::new(&args.endpoints)?;
    let table = match &args.command {
        Command::List => statuses(&view(&cluster).await?.nodes),
        Command::Add(new) => {
            add(&cluster, new).await?;
            promote(&cluster, new, None).await?
        }
        Command::Remove { id, unsafe_without_quorum } => {
            let remove = json!({"remove": {"id": id, "force": unsafe_without_quorum}});
            take(&cluster, &remove).await?
        }
        Command::Replace { old, new } => {
            add(&cluster, new).await?;
            promote(&cluster, new, Some(*old)).await?
        }
        Command::TransferLeader { id } => {
            let lead = json!({"lead": {"id": id}});
            take(&cluster, &lead).await?
        }
    };
    print!("{table}");
    Ok(ExitCode::SUCCESS)
}

/// Adds a node that was perhaps started only a moment ago.
async fn add(cluster: &Cluster, new: &NewNode) -> Result<(), Error> {
    let NewNode { id, http, peer, .. } = new;
    let add = json!({"add": {"id": id, "http": http, "peer": peer}});
    take_when(cluster, &add, NOT_REACHED, PATIENCE).await?;
    eprintln!("node {id} is added, and catches up");
    Ok(())
}

/// Gives a vote to a node as soon as it has caught up.
async fn promote(cluster: &Cluster, new: &NewNode, old: Option<u64>) -> Result<String, Error> {
    let promote = json!({"promote": {"id": new.id, "insteadOf": old}});
    take_when(cluster, &promote, NOT_CAUGHT_UP, Duration::from_secs(new.timeout)).await
}

/// What is in the answer about a node that does not answer.
const NOT_REACHED: &str = "node_not_reached";
/// What is in the answer about a node that has not caught up.
const NOT_CAUGHT_UP: &str = "not_caught_up";

/// Takes a step that is refused for a reason which passes.
async fn take_when(
    cluster: &Cluster,
    change: &Value,
    passing: &str,
    patience: Duration,
) -> Result<String, Error> {
    let deadline = Instant::now() + patience;
    loop {
        match take(cluster, change).await {
            Err(Error::Rejected(why)) if why.contains(passing) && Instant::now() < deadline => {
                sleep(CLIENT_PAUSE).await;
            }
            taken => return taken,
        }
    }
}

/// Has one step taken by whichever node answers, and gives a table of the members. A step of unknown
/// fate is taken again: it does nothing the second time.
async fn take(cluster: &Cluster, change: &Value) -> Result<String, Error> {
    let mut turns = Turns::new(cluster, 0, PATIENCE);
    loop {
        let sent = cluster.send(turns.turn(), Method::POST, "/admin/members", Some(change)).await;
        let why = match sent.and_then(|answer| answer.json::<Changed>()) {
            Ok(changed) => return Ok(changes(&changed.members)),
            Err(Fault::Rejected(why)) => return Err(Error::Rejected(why)),
            Err(Fault::Unchanged(why) | Fault::Unknown(why)) => why,
        };
        if !turns.failed(why).await {
            return Err(turns.gave_up("no node took the step in time"));
        }
    }
}

async fn view(cluster: &Cluster) -> Result<View, Error> {
    let mut turns = Turns::new(cluster, 0, PATIENCE);
    loop {
        let path = "/admin/cluster";
        let asked = cluster.send(turns.turn(), Method::GET, path, None::<&()>).await;
        match asked.and_then(|answer| answer.json()) {
            Ok(view) => return Ok(view),
            Err(Fault::Rejected(why) | Fault::Unchanged(why) | Fault::Unknown(why)) => {
                if !turns.failed(why).await {
                    return Err(turns.gave_up("no node says how the cluster is"));
                }
            }
        }
    }
}

fn statuses(nodes: &[Status]) -> String {
    let mut rows = vec![["NODE", "VOTE", "HTTP", "PEER", "ROLE", "APPLIED"].map(String::from)];
    rows.extend(nodes.iter().map(|node| {
        let [id, vote, http, peer] = cells(&node.member);
        let applied = node.applied.map_or("-".into(), |index| index.to_string());
        [id, vote, http, peer, node.role.clone(), applied]
    }));
    columns(&rows)
}

fn changes(members: &[Member]) -> String {
    let mut rows = vec![["NODE", "VOTE", "HTTP", "PEER"].map(String::from)];
    rows.extend(members.iter().map(cells));
    columns(&rows)
}

fn cells(member: &Member) -> [String; 4] {
    let vote = if member.voter { "yes" } else { "no" };
    [member.id.to_string(), vote.into(), member.http.clone(), member.peer.clone()]
}
