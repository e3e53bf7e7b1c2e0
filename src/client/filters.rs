//! Which entries `query` and `export` want.

use serde_json::Value;

use super::time::{since, until};

/// Filters; an entry has to meet all of them.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Filters")]
pub struct Filters {
    /// Only entries of this type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only entries of this action.
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only entries of this user.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only entries of this address.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// Only entries from this time on: `1h` or `7d` ago, a date (UTC), RFC 3339, or ms since the Unix
    /// epoch.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<u64>,
    /// Only entries up to this time, which is written like that of --since.
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<u64>,
    /// The newest first, or the oldest.
    #[arg(long, value_enum, default_value = "desc")]
    order: Order,
}

/// In which order entries come.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Order {
    /// The newest first.
    Desc,
    /// The oldest first.
    Asc,
}

impl Filters {
    /// The members of a query, which are the parameters of an export too.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let order = match self.order {
            Order::Desc => "desc",
            Order::Asc => "asc",
        };
        let text = |text: &Option<String>| text.clone().map(Value::from);
        [
            ("type", text(&self.kind)),
            ("action", text(&self.action)),
            ("userId", text(&self.user)),
            ("ip", text(&self.ip)),
            ("startTime", self.since.map(Value::from)),
            ("endTime", self.until.map(Value::from)),
            ("order", Some(order.into())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}
