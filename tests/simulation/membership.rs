//! Changes of the members while everything else goes on: one machine takes the place of another, or
//! two come and two go. What becomes of a change is told by the cluster itself, in the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tallykeep::raft::{Change, Leadership};
use tokio::time::{sleep, timeout};

use crate::host::Host;
use crate::liveness::PATIENCE;
use crate::network::address;
use crate::world::World;

/// Attempts at one step.
const ATTEMPTS: u32 = 60;
const PAUSE: Duration = Duration::from_millis(250);

/// What is to change.
pub enum Plan {
    /// The host at the second position comes in place of the one at the first, which may have died
    /// for good before.
    Replace { going: usize, coming: usize, is_dead: bool },
    /// Two come, and then two go.
    GrowAndShrink { coming: [usize; 2], going: [usize; 2] },
}

/// Carries a plan out, as far as the cluster lets it.
pub async fn carry_out(world: Arc<World>, hosts: Arc<Vec<Host>>, mut rng: StdRng, plan: Plan) {
    let mut steps = Steps { world: &world, hosts: hosts.clone(), rng: &mut rng };
    match plan {
        Plan::Replace { going, coming, is_dead } => {
            let going_id = hosts[going].id;
            world.fault("replacement", format_args!("of node {going_id}, dead: {is_dead}"));
            if is_dead {
                hosts[going].retire();
            }
            if steps.come(coming, Some(going_id)).await {
                hosts[going].retire();
            }
        }
        Plan::GrowAndShrink { coming, going } => {
            world.fault("growth", format_args!("by two, and back"));
            for position in coming {
                if !steps.come(position, None).await {
                    return;
                }
            }
            for position in going {
                if steps.step(Change::Remove { id: hosts[position].id, force: false }).await {
                    hosts[position].retire();
                }
            }
        }
    }
}

struct Steps<'a> {
    world: &'a World,
    hosts: Arc<Vec<Host>>,
    rng: &'a mut StdRng,
}

impl Steps<'_> {
    /// A new machine comes, and is given a vote. False if the cluster has not said so.
    async fn come(&mut self, position: usize, instead_of: Option<u64>) -> bool {
        self.hosts[position].enlist();
        let (hosts, id) = (self.hosts.clone(), self.hosts[position].id);
        // Not left half done, when this is.
        if tokio::spawn(async move { hosts[position].start().await }).await.is_err() {
            return false;
        }
        let (http, peer) = (Host::http(id), address(id));
        self.step(Change::Add { id, http, peer }).await
            && self.step(Change::Promote { id, instead_of, force: false }).await
    }

    /// Has one step made, by whatever node answers.
    async fn step(&mut self, change: Change) -> bool {
        for _ in 0..ATTEMPTS {
            let host = &self.hosts[self.rng.random_range(0..self.hosts.len())];
            if let Some(process) = host.process() {
                let answer = tokio::select! {
                    biased;
                    () = process.life.ended() => None,
                    answer = process.node.change(change.clone()) => Some(answer),
                };
                if let Some(answer) = answer {
                    let is_done = answer.is_ok();
                    let why = answer.err().map(|error| error.code);
                    self.world.note(format_args!("{change:?} at node {}: {why:?}", host.id));
                    if is_done {
                        return true;
                    }
                }
            }
            sleep(PAUSE).await;
        }
        false
    }
}

/// Once nothing goes wrong any more: takes those into service, and only those, that the cluster counts
/// as its members, when it has said the same for some seconds.
///
/// # Errors
/// If there is no such moment within [`PATIENCE`].
pub async fn settle(hosts: &[Host]) -> Result<(), String> {
    let settled = async {
        let (mut before, mut same) = (BTreeSet::new(), 0);
        while same < 4 {
            sleep(Duration::from_secs(1)).await;
            let members = members(hosts).await.unwrap_or_default();
            same = if !members.is_empty() && members == before { same + 1 } else { 0 };
            before = members;
        }
        before
    };
    let members = timeout(PATIENCE, settled).await;
    let members = members.map_err(|_| "the members do not come to rest".to_owned())?;
    for host in hosts {
        if members.contains(&host.id) {
            host.enlist();
            host.start().await;
        } else {
            host.retire();
        }
    }
    Ok(())
}

/// The members, as the leader counts them.
async fn members(hosts: &[Host]) -> Option<BTreeSet<u64>> {
    for process in hosts.iter().filter_map(Host::process) {
        if matches!(process.node.leadership(), Leadership::Here { .. }) {
            let stays = Change::Lead { id: process.node.id() };
            let changed = process.node.change(stays).await.ok()?;
            return Some(changed.members.iter().map(|member| member.id).collect());
        }
    }
    None
}
