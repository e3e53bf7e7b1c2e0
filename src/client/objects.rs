//! `tallykeep objects`: what objects there are, what one holds, how a limiter stands, which refuse most; and
//! what is given back of a limiter's count.
//!
//! All but the last changes nothing, so each question goes to one node after the other until one answers;
//! only which limiters refuse most is asked of every node, because each knows of its own clients alone. A
//! credit is sent under a key, and so given once.

use std::collections::BTreeMap;
use std::process::ExitCode;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::call::{Call, Nodes, key};
use super::cluster::{Answer, Cluster, Fault, Turns};
use super::policy::encoded;
use super::target::segment;
use super::terminal::{self, Table, columns, cut, plain};
use super::{Error, time};
use crate::limits::{
    COMMAND_CELL_COLUMNS, OBJECTS_LIMIT_MAX, REQUESTS_MAX, TOP_LIMIT_DEFAULT, TOP_LIMIT_MAX,
};

/// Arguments of `tallykeep objects`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Print JSON, as the API gives it; of several pages one a line.
    #[arg(long, global = true)]
    json: bool,
    /// The nodes.
    #[command(flatten)]
    nodes: Nodes,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Show the bindings, and how much is there of each.
    Bindings,
    /// Show the objects of a binding, in the order of their ids.
    List {
        /// The binding.
        #[arg(long, value_name = "BINDING")]
        binding: String,
        /// Only those whose names begin so.
        #[arg(long, value_name = "TEXT", default_value = "")]
        prefix: String,
        #[command(flatten)]
        pages: Pages,
    },
    /// Show what an object holds: its keys and values, as a Durable Object would have them.
    Get {
        #[command(flatten)]
        object: Object,
        #[command(flatten)]
        pages: Pages,
    },
    /// Show how a limiter stands. Nothing is counted.
    Limiter {
        #[command(flatten)]
        object: Object,
        /// Whose count, if it is not what the name has behind the type.
        #[arg(long)]
        identifier: Option<String>,
        /// Whose policy is the limit, if it is not what the name has before the identifier.
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
    },
    /// Give back some of what a limiter has counted. Its window stays as it is.
    Credit {
        #[command(flatten)]
        object: Object,
        /// How many requests; more than were counted are as many as were.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=REQUESTS_MAX))]
        amount: u64,
        /// Whose count, if it is not what the name has behind the type.
        #[arg(long)]
        identifier: Option<String>,
        /// Whose policy is shown, if it is not what the name has before the identifier.
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Sent again under the same key, it is given once. By default each run has a key of its own, for
        /// its retries.
        #[arg(long, value_name = "KEY", value_parser = key)]
        idempotency_key: Option<String>,
    },
    /// Show which limiters have refused most in the last minutes, on all nodes that are named.
    Top {
        /// Only those of this binding.
        #[arg(long, value_name = "BINDING")]
        binding: Option<String>,
        /// How many at most.
        #[arg(
            long,
            value_name = "N",
            default_value_t = TOP_LIMIT_DEFAULT as u64,
            value_parser = clap::value_parser!(u64).range(1..=TOP_LIMIT_MAX as u64)
        )]
        limit: u64,
    },
}

/// Which object.
#[derive(Clone, Debug, clap::Args)]
struct Object {
    /// The object's name, such as `wix:user-123` or `2024-01-15`.
    #[arg(value_parser = segment, required_unless_present = "id", conflicts_with = "id")]
    name: Option<String>,
    /// Its id instead, 64 hexadecimal digits.
    #[arg(long, value_name = "ID", value_parser = segment)]
    id: Option<String>,
    /// The object's binding.
    #[arg(long, value_name = "BINDING", value_parser = segment)]
    binding: String,
}

/// How much of a list.
#[derive(Clone, Debug, clap::Args)]
struct Pages {
    /// How many at most.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    limit: u64,
    /// All of them, a page after the other.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Go on where an earlier run said that there was more.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Bindings {
    bindings: Vec<Binding>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    name: String,
    class: String,
    objects: Option<u64>,
    bytes: Option<u64>,
    // A node of before has no quotas.
    #[serde(default)]
    objects_max: Option<u64>,
    #[serde(default)]
    object_bytes_max: Option<u64>,
}

#[derive(Deserialize)]
struct List {
    objects: Vec<Listed>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: Option<String>,
    id: String,
    keys: u64,
    bytes: Option<u64>,
    alarm_time: Option<u64>,
    #[serde(default)]
    bytes_max: Option<u64>,
}

#[derive(Deserialize)]
struct Shown {
    class: String,
    #[serde(flatten)]
    object: Listed,
    storage: Vec<Row>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    key: String,
    value: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Limiter {
    identifier: Option<String>,
    r#type: Option<String>,
    count: u64,
    reset_time: Option<u64>,
    limit: Option<u64>,
    remaining: Option<u64>,
    /// Behind a credit.
    #[serde(default)]
    credited: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Top {
    since_time: u64,
    limiters: Vec<Refused>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    binding: String,
    name: Option<String>,
    id: String,
    identifier: String,
    refused: u64,
    refused_min: u64,
}

/// Asks, and prints the answer.
///
/// # Errors
/// If a question was refused, as for an object that is not there, or no node answered in time.
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let asking = Asking { cluster: args.nodes.cluster()?, nodes: args.nodes, as_json: args.json };
    match args.command {
        Command::Bindings => {
            let answer = asking.get("/admin/bindings", &[]).await?;
            let bindings: Bindings = answer.read()?;
            asking.print(&answer, || table_of_bindings(&bindings.bindings))?;
        }
        Command::List { binding, prefix, pages } => {
            let of = [("binding", Some(binding)), ("prefix", Some(prefix))];
            let mut table = Table::new();
            let head = ["NAME", "ID", "KEYS", "BYTES", "USED", "ALARM"].map(str::to_owned);
            let mut rows = vec![head];
            asking
                .pages("/admin/objects", of, pages, |answer| {
                    let List { objects, cursor } = answer.read()?;
                    rows.extend(objects.iter().map(row));
                    let text = table.lines(&std::mem::take(&mut rows));
                    Ok((text, objects.len(), cursor))
                })
                .await?;
        }
        Command::Get { object, pages } => {
            let mut is_first = true;
            asking
                .pages(&object.path("objects"), [], pages, |answer| {
                    let Shown { class, object, storage, cursor } = answer.read()?;
                    let head = if is_first { head(&class, &object) } else { String::new() };
                    is_first = false;
                    Ok((head + &rows_of(&storage), storage.len(), cursor))
                })
                .await?;
        }
        Command::Limiter { object, identifier, kind } => {
            let query = [("identifier", identifier), ("type", kind)];
            let answer = asking.get(&object.path("limiters"), &query).await?;
            let limiter: Limiter = answer.read()?;
            asking.print(&answer, || standing(&limiter))?;
        }
        Command::Credit { object, amount, identifier, kind, idempotency_key } => {
            let identifier = match identifier {
                Some(identifier) => identifier,
                None => asking.identifier(&object).await?,
            };
            let body = json!({"identifier": identifier, "amount": amount, "type": kind});
            let (path, body) = (object.credit(), body.to_string().into_bytes());
            let call = Call::change(path, body, idempotency_key.as_deref());
            let (answer, _) = call.send(&asking.cluster, 0, asking.nodes.patience()).await?;
            let limiter: Limiter = answer.read()?;
            asking.print(&answer, || standing(&limiter))?;
        }
        Command::Top { binding, limit } => asking.top(binding, limit).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Object {
    fn path(&self, what: &str) -> String {
        let (by, which) = self.which();
        format!("/admin/{what}/{}/{by}/{}", encoded(&self.binding), encoded(which))
    }

    /// The segments of the path of a credit.
    fn credit(&self) -> Vec<String> {
        let (by, which) = self.which();
        ["admin", "limiters", &self.binding, by, which, "credit"].map(str::to_owned).into()
    }

    fn which(&self) -> (&'static str, &str) {
        match (&self.name, &self.id) {
            (Some(name), _) => ("name", name),
            (None, Some(id)) => ("id", id),
            (None, None) => unreachable!("clap asks for one of them"),
        }
    }
}

/// Whom to ask, and how to answer.
struct Asking {
    cluster: Cluster,
    nodes: Nodes,
    as_json: bool,
}

impl Asking {
    /// Asks one node after the other.
    async fn get(&self, path: &str, query: &[(&str, Option<String>)]) -> Result<Answer, Error> {
        let query = query_string(query);
        let mut turns = Turns::new(&self.cluster, 0, self.nodes.patience());
        loop {
            let (turn, none) = (turns.turn(), None::<&Value>);
            let why = match self.cluster.send_with(turn, Method::GET, path, &query, none).await {
                Ok(answer) => return Ok(answer),
                Err(Fault::Rejected(why)) => return Err(Error::Rejected(why)),
                Err(Fault::Unchanged(why) | Fault::Unknown(why)) => why,
            };
            if !turns.failed(why).await {
                return Err(turns.gave_up("no node answered in time"));
            }
        }
    }

    /// Whose requests a limiter counts, if it counts any.
    async fn identifier(&self, object: &Object) -> Result<String, Error> {
        let limiter: Limiter = self.get(&object.path("limiters"), &[]).await?.read()?;
        limiter.identifier.ok_or_else(|| {
            let why = "this limiter counts nothing of its name, so there is nothing to give back; \
                       --identifier says whose count it is if it is another's";
            Error::Rejected(why.to_owned())
        })
    }

    /// Prints an answer as it came, or as `text` shows it; false if nobody reads it.
    fn print(&self, answer: &Answer, text: impl FnOnce() -> String) -> Result<bool, Error> {
        match self.as_json {
            true => terminal::print(&[answer.bytes(), b"\n"].concat()),
            false => terminal::print(text().as_bytes()),
        }
    }

    /// Asks for pages and prints them. `read` gives what of one is shown, how much that is, and where
    /// the next one begins.
    async fn pages<const N: usize>(
        &self,
        path: &str,
        of: [(&str, Option<String>); N],
        pages: Pages,
        mut read: impl FnMut(&Answer) -> Result<(String, usize, Option<String>), Error>,
    ) -> Result<(), Error> {
        let mut left = if pages.all { u64::MAX } else { pages.limit };
        let mut cursor = pages.cursor;
        loop {
            let most = left.min(OBJECTS_LIMIT_MAX as u64).to_string();
            let mut query = of.to_vec();
            query.extend([("limit", Some(most)), ("cursor", cursor)]);
            let answer = self.get(path, &query).await?;
            let (text, count, next) = read(&answer)?;
            left = left.saturating_sub(count as u64);
            if !self.print(&answer, || text)? {
                return Ok(());
            }
            let Some(next) = next else { return Ok(()) };
            if left == 0 {
                if !self.as_json {
                    eprintln!("there may be more: go on with --cursor {next}");
                }
                return Ok(());
            }
            cursor = Some(next);
        }
    }

    /// Asks every node, and adds up.
    async fn top(&self, binding: Option<String>, limit: u64) -> Result<(), Error> {
        let query =
            query_string(&[("binding", binding), ("limit", Some(TOP_LIMIT_MAX.to_string()))]);
        let mut tops = Vec::new();
        for turn in 0..self.cluster.endpoints().len() {
            let (path, none) = ("/admin/limiters/top", None::<&Value>);
            match self.cluster.send_with(turn, Method::GET, path, &query, none).await {
                Ok(answer) => tops.push(answer.read::<Top>()?),
                Err(Fault::Rejected(why)) => return Err(Error::Rejected(why)),
                Err(Fault::Unchanged(why) | Fault::Unknown(why)) => {
                    let node = super::cluster::origin(&self.cluster.endpoints()[turn]);
                    eprintln!("tallykeep: without {node}: {why}");
                }
            }
        }
        if tops.is_empty() {
            return Err(Error::Cluster("no node answered".to_owned()));
        }
        let since_time = tops.iter().map(|top| top.since_time).min().unwrap_or_default();
        let limiters = sum(tops, usize::try_from(limit).unwrap_or(usize::MAX));
        let text = match self.as_json {
            true => {
                let value = json!({"sinceTime": since_time, "limiters": limiters});
                format!("{value}\n")
            }
            false => table_of_refused(since_time, &limiters),
        };
        terminal::print(text.as_bytes())?;
        Ok(())
    }
}

fn query_string(query: &[(&str, Option<String>)]) -> String {
    let given = query.iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let pairs: Vec<String> =
        given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

/// The counts of all nodes together, the most first.
fn sum(tops: Vec<Top>, limit: usize) -> Vec<Refused> {
    let mut all = BTreeMap::<_, Refused>::new();
    for one in tops.into_iter().flat_map(|top| top.limiters) {
        let key = (one.binding.clone(), one.id.clone(), one.identifier.clone());
        match all.get_mut(&key) {
            Some(sum) => {
                sum.refused += one.refused;
                sum.refused_min += one.refused_min;
            }
            None => drop(all.insert(key, one)),
        }
    }
    let mut sums: Vec<Refused> = all.into_values().collect();
    sums.sort_by_key(|one| std::cmp::Reverse(one.refused));
    sums.truncate(limit);
    sums
}

fn table_of_bindings(bindings: &[Binding]) -> String {
    let head = ["BINDING", "CLASS", "OBJECTS", "BYTES", "OBJECTS MAX", "OBJECT BYTES MAX"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(bindings.iter().map(|binding| {
        let objects = binding.objects.map_or_else(|| "many".to_owned(), |count| count.to_string());
        [
            plain(&binding.name).into_owned(),
            plain(&binding.class).into_owned(),
            objects,
            number(binding.bytes),
            number(binding.objects_max),
            number(binding.object_bytes_max),
        ]
    }));
    columns(&rows)
}

fn row(object: &Listed) -> [String; 6] {
    let name = object.name.as_deref().map_or_else(|| "-".into(), plain);
    [
        cut(&name, COMMAND_CELL_COLUMNS).into_owned(),
        plain(&object.id).into_owned(),
        object.keys.to_string(),
        number(object.bytes),
        used(object),
        object.alarm_time.map_or_else(|| "-".to_owned(), time::show),
    ]
}

/// How much of its quota an object takes, in whole hundredths; what is less than all of it is not 100 %.
fn used(object: &Listed) -> String {
    let percent = object
        .bytes
        .zip(object.bytes_max)
        .and_then(|(bytes, most)| u128::from(bytes).saturating_mul(100).checked_div(most.into()));
    percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent}%"))
}

fn head(class: &str, object: &Listed) -> String {
    let [name, id, keys, bytes, used, alarm] = row(object);
    let pair = |name: &str, value| [name.to_owned(), value];
    let head = columns(&[
        pair("name", name),
        pair("id", id),
        pair("class", plain(class).into_owned()),
        pair("keys", keys),
        pair("bytes", bytes),
        pair("used", used),
        pair("alarm", alarm),
    ]);
    format!("{head}\n")
}

fn rows_of(storage: &[Row]) -> String {
    let rows = storage.iter().map(|Row { key, value }| {
        let value = plain(value.get());
        [plain(key).into_owned(), cut(&value, 2 * COMMAND_CELL_COLUMNS).into_owned()]
    });
    columns(&rows.collect::<Vec<_>>())
}

fn standing(limiter: &Limiter) -> String {
    let text = |text: &Option<String>| {
        text.as_deref().map_or_else(|| "-".into(), |text| plain(text).into_owned())
    };
    let pair = |name: &str, value| [name.to_owned(), value];
    let credited = limiter.credited.map(|credited| pair("given back", credited.to_string()));
    let rows = [
        pair("identifier", text(&limiter.identifier)),
        pair("type", text(&limiter.r#type)),
        pair("count", limiter.count.to_string()),
        // A check that brings its own goes by that, and may be refused with some of this left.
        pair("limit", limiter.limit.map_or("-".into(), |limit| format!("{limit}, by the policy"))),
        pair("remaining", number(limiter.remaining)),
        pair("window ends", limiter.reset_time.map_or_else(|| "-".to_owned(), time::show)),
    ];
    columns(&credited.into_iter().chain(rows).collect::<Vec<_>>())
}

fn table_of_refused(since_ms: u64, limiters: &[Refused]) -> String {
    let mut rows = vec![["REFUSED", "BINDING", "NAME", "IDENTIFIER"].map(str::to_owned)];
    rows.extend(limiters.iter().map(|one| {
        let refused = match one.refused == one.refused_min {
            true => one.refused.to_string(),
            false => format!("{}-{}", one.refused_min, one.refused),
        };
        let name = plain(one.name.as_deref().unwrap_or(&one.id)).into_owned();
        let identifier = plain(&one.identifier);
        [
            refused,
            plain(&one.binding).into_owned(),
            cut(&name, COMMAND_CELL_COLUMNS).into_owned(),
            cut(&identifier, COMMAND_CELL_COLUMNS).into_owned(),
        ]
    }));
    format!("since {}\n{}", time::show(since_ms), columns(&rows))
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(id: &str, identifier: &str, refused: u64, refused_min: u64) -> Refused {
        let (binding, id, identifier) = ("B".to_owned(), id.to_owned(), identifier.to_owned());
        Refused { binding, name: None, id, identifier, refused, refused_min }
    }

    #[test]
    fn the_counts_of_all_nodes_are_added_up() {
        let top = |limiters| Top { since_time: 0, limiters };
        let tops = vec![
            top(vec![refused("a", "u", 5, 4), refused("b", "u", 6, 6)]),
            top(vec![refused("a", "u", 3, 3), refused("a", "v", 1, 1)]),
        ];
        let limiters = sum(tops, 2);
        let told: Vec<_> =
            limiters.iter().map(|one| (&*one.id, one.refused, one.refused_min)).collect();
        assert_eq!(told, [("a", 8, 7), ("b", 6, 6)]);
        assert_eq!(
            table_of_refused(0, &limiters),
            "since 1970-01-01T00:00:00.000Z\nREFUSED  BINDING  NAME  IDENTIFIER\n\
             7-8      B        a     u\n6        B        b     u\n"
        );
    }

    #[test]
    fn a_query_string_has_what_is_given() {
        let query = [("a", Some("x y&%é".to_owned())), ("b", None), ("c", Some(String::new()))];
        assert_eq!(query_string(&query), "a=x%20y%26%25%C3%A9&c=");
    }

    #[test]
    fn an_object_is_shown_with_what_it_holds() {
        let shown = r#"{"binding":"B","class":"RateLimiter","name":"w\u001b","id":"ab","keys":1,
            "bytes":65,"alarmTime":null,"bytesMax":100,"storage":[{"key":"ratelimit:w","value":{"count":1}}],
            "cursor":null}"#;
        let Shown { class, object, storage, cursor } = serde_json::from_str(shown).unwrap();
        assert_eq!(cursor, None);
        assert_eq!(
            head(&class, &object),
            "name   w\\u{1b}\nid     ab\nclass  RateLimiter\nkeys   1\nbytes  65\nused   65%\nalarm  -\n\n"
        );
        assert_eq!(rows_of(&storage), "ratelimit:w  {\"count\":1}\n");
    }
}
