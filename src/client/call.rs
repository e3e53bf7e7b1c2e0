//! One request of a command that may be repeated: to one node after the other, until one answers it.
//!
//! What changes something carries an `Idempotency-Key`, the same at every node, so it is carried out
//! once however often it is sent.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::cluster::{Answer, Cluster, Fault, Turns};
use super::{Endpoints, Error};
use crate::limits::{CLIENT_TIMEOUT, COMMAND_KEY_TTL_S, COMMAND_TIMEOUT_MAX};

/// Which nodes are asked, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Nodes {
    /// How long to try, one node after the other, to get an answer.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = patience)]
    timeout: Duration,
    #[command(flatten)]
    endpoints: Endpoints,
}

/// Reads how long somebody is ready to wait.
fn patience(text: &str) -> Result<Duration, String> {
    let patience = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_millis(1)..=COMMAND_TIMEOUT_MAX).contains(&patience) {
        Ok(patience)
    } else {
        Err(format!("at least 1ms and at most {}", humantime::format_duration(COMMAND_TIMEOUT_MAX)))
    }
}

impl Nodes {
    /// The nodes, for requests.
    pub(super) fn cluster(&self) -> Result<Cluster, Error> {
        Cluster::new(&self.endpoints)
    }

    /// The nodes, for answers that may be long.
    pub(super) fn cluster_of_streams(&self) -> Result<Cluster, Error> {
        Cluster::of_streams(&self.endpoints)
    }

    /// How long to try.
    pub(super) fn patience(&self) -> Duration {
        self.timeout
    }
}

/// The request.
pub(super) struct Call {
    path: Vec<String>,
    body: Bytes,
    key: Option<Key>,
}

/// The key of a request that changes something.
struct Key {
    /// As the header has it.
    header: String,
    /// The key itself, if the user can send the request again under it.
    name: Option<String>,
}

impl Call {
    /// A question: it changes nothing. The path is given by its segments.
    pub(super) fn question(path: Vec<String>, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("a body is plain data").into();
        Self { path, body, key: None }
    }

    /// What changes something, by its JSON; under the user's key or, which is kept only for as long as
    /// it is of use, one of its own.
    pub(super) fn change(path: Vec<String>, body: Vec<u8>, key: Option<&str>) -> Self {
        let (name, header) = match key {
            Some(name) => (name.to_owned(), quoted(name)),
            None => own_key(),
        };
        Self { path, body: body.into(), key: Some(Key { header, name: Some(name) }) }
    }

    /// The same for a part of what a command does, which the user cannot send by itself.
    pub(super) fn part(path: Vec<String>, body: Vec<u8>, key: Option<String>) -> Self {
        let header = key.map_or_else(|| own_key().1, |name| quoted(&name));
        Self { path, body: body.into(), key: Some(Key { header, name: None }) }
    }

    /// Sends it until it is answered, first to the node `first`; gives the node that answered too.
    ///
    /// # Errors
    /// [`Error::Rejected`] if a node does not take it, [`Error::Cluster`] if none answered in time.
    pub(super) async fn send(
        &self,
        cluster: &Cluster,
        first: usize,
        patience: Duration,
    ) -> Result<(Answer, usize), Error> {
        let mut turns = Turns::new(cluster, first, patience);
        let timeout = share(cluster, patience);
        let key = self.key.as_ref().map(|key| key.header.as_str());
        let mut is_lost = false;
        loop {
            let turn = turns.turn();
            let sent = cluster.call(turn, &self.path, key, self.body.clone(), timeout).await;
            let why = match sent {
                Ok(answer) => return Ok((answer, turn)),
                Err(Fault::Rejected(why)) => return Err(Error::Rejected(why)),
                Err(Fault::Unchanged(why)) => why,
                Err(Fault::Unknown(why)) => {
                    is_lost = true;
                    why
                }
            };
            if !turns.failed(why).await {
                break;
            }
        }
        Err(turns.gave_up(&match &self.key {
            Some(Key { name: Some(name), .. }) if is_lost => format!(
                "no node answered in time, and the request may have been carried out: with \
                 --idempotency-key {name} it can be sent again and counts once"
            ),
            Some(_) if is_lost => {
                "no node answered in time, and the request may have been carried out".to_owned()
            }
            Some(_) => "no node took the request in time; nothing was changed".to_owned(),
            None => "no node answered in time".to_owned(),
        }))
    }
}

/// How long one node is waited for: one that is paused takes a request and never answers, and the
/// others must have a turn too.
pub(super) fn share(cluster: &Cluster, patience: Duration) -> Duration {
    let nodes = u32::try_from(cluster.endpoints().len()).unwrap_or(u32::MAX);
    (patience / nodes).min(CLIENT_TIMEOUT)
}

/// A key that nobody else has, and the header with it.
fn own_key() -> (String, String) {
    let name = Uuid::now_v7().to_string();
    let header = format!("{};ttl={COMMAND_KEY_TTL_S}", quoted(&name));
    (name, header)
}

/// A String of RFC 9651.
fn quoted(key: &str) -> String {
    format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Reads an idempotency key.
pub(super) fn key(text: &str) -> Result<String, String> {
    use crate::limits::IDEMPOTENCY_KEY_BYTES_MAX as BOUND;
    let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_printable && (1..=BOUND).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!("a key is 1 to {BOUND} printable characters of ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_the_header_has_them() {
        assert_eq!(quoted(r#"say "so" \"#), r#""say \"so\" \\""#);
        let key = |call: Call| call.key.map(|key| (key.header, key.name)).unwrap();
        let (header, name) = key(Call::change(vec![], vec![], Some("mine")));
        assert_eq!((header.as_str(), name.as_deref()), ("\"mine\"", Some("mine")));
        let (header, name) = key(Call::change(vec![], vec![], None));
        assert_eq!(header, format!("\"{}\";ttl=600", name.unwrap()));
        assert_eq!(key(Call::part(vec![], vec![], Some("a:1".into()))), ("\"a:1\"".into(), None));
        let long = "k".repeat(255);
        for (text, good) in
            [("a b", true), (long.as_str(), true), ("", false), ("é", false), ("a\n", false)]
        {
            assert_eq!(super::key(text).is_ok(), good, "{text}");
        }
        assert!(super::key(&format!("{long}k")).is_err());
    }

    #[test]
    fn patience_is_bounded() {
        assert_eq!(patience("1500ms"), Ok(Duration::from_millis(1500)));
        for wrong in ["0s", "2days", "soon"] {
            assert!(patience(wrong).is_err(), "{wrong}");
        }
    }
}
