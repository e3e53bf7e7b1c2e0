//! What a query asks for, and where.

use std::borrow::Cow;
use std::io;

use serde::{Deserialize, Serialize};

use super::inconsistent;
use crate::error::{Error, Result};
use crate::limits;
use crate::machine::audit::term;
use crate::machine::{Field, NamespaceId, ObjectRef, Shard};

/// Where a query runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Over all shards by date of a namespace: the endpoints at the root.
    Namespace(NamespaceId),
    /// Over one shard.
    Object(ObjectRef),
}

/// In which order entries come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Order {
    /// Newest first.
    #[default]
    Desc,
    /// Oldest first.
    Asc,
}

impl Order {
    /// The boundary that reading in this order meets just before `sequence`.
    ///
    /// A boundary is written as the sequence number above it, so that it means the same in both
    /// orders: ascending, what is left begins with it; descending, what is left ends below it.
    pub(super) fn before(self, sequence: u64) -> u64 {
        match self {
            Order::Asc => sequence,
            Order::Desc => sequence.saturating_add(1),
        }
    }

    /// The boundary that reading in this order meets just behind `sequence`.
    pub(super) fn behind(self, sequence: u64) -> u64 {
        match self {
            Order::Asc => sequence.saturating_add(1),
            Order::Desc => sequence,
        }
    }
}

/// Which entries are wanted: those that satisfy every member that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    /// Not before this time, in ms since the Unix epoch.
    pub start_ms: Option<u64>,
    /// Not after this time, in ms since the Unix epoch.
    pub end_ms: Option<u64>,
    /// The entry's `type`.
    pub type_: Option<String>,
    /// The entry's `action`.
    pub action: Option<String>,
    /// The entry's `userId`.
    pub user_id: Option<String>,
    /// The entry's `ip`.
    pub ip: Option<String>,
    /// In which order.
    pub order: Order,
}

impl Filter {
    /// Refuses a filter that is out of bounds, whichever way it came in.
    ///
    /// # Errors
    /// `invalid_field` for a time after the year 9999 or a text that is longer than any entry's,
    /// `invalid_range` for a range of times that ends before it starts.
    pub fn validate(&self) -> Result<()> {
        for (name, time) in [("startTime", self.start_ms), ("endTime", self.end_ms)] {
            if time.is_some_and(|ms| ms > limits::TIME_MS_MAX) {
                let bound = limits::TIME_MS_MAX;
                let message = format!("{name} must be an integer from 0 to {bound}");
                return Err(Error::invalid("invalid_field", message));
            }
        }
        if let (Some(start), Some(end)) = (self.start_ms, self.end_ms)
            && start > end
        {
            let message = format!("startTime {start} is after endTime {end}");
            return Err(Error::invalid("invalid_range", message));
        }
        let names = ["type", "action", "userId", "ip"];
        for (name, text) in names.into_iter().zip(self.wanted()) {
            if text.is_some_and(|text| text.len() > limits::NAME_BYTES_MAX) {
                let bound = limits::NAME_BYTES_MAX;
                let message = format!("{name} must have at most {bound} bytes");
                return Err(Error::invalid("invalid_field", message));
            }
        }
        Ok(())
    }

    /// The indexes to look into.
    pub(super) fn terms(&self) -> Vec<(Field, u64)> {
        let wanted = Field::ALL.into_iter().zip(self.wanted());
        wanted.filter_map(|(field, text)| Some((field, term(text?)))).collect()
    }

    /// Whether the shard can hold an entry of the time range.
    pub(super) fn touches(&self, shard: &Shard) -> bool {
        self.start_ms.is_none_or(|start| start <= shard.last_ms)
            && self.end_ms.is_none_or(|end| end >= shard.first_ms)
    }

    /// Whether the entry with this body has the texts that are wanted.
    ///
    /// The indexes hold hashes, so what they find is only nearly certain.
    pub(super) fn accepts(&self, body: &[u8]) -> io::Result<bool> {
        let texts: Texts<'_> = serde_json::from_slice(body)
            .map_err(|error| inconsistent(format!("an entry that is not JSON: {error}")))?;
        let found = [texts.type_, texts.action, texts.user_id, texts.ip];
        Ok(self.wanted().into_iter().zip(&found).all(|(wanted, found)| {
            wanted.is_none_or(|wanted| found.as_ref().is_some_and(|found| found.0 == wanted))
        }))
    }

    /// The texts that are wanted, by [`Field`].
    fn wanted(&self) -> [Option<&str>; 4] {
        [&self.type_, &self.action, &self.user_id, &self.ip].map(Option::as_deref)
    }
}

/// The members of an entry that can be filtered by.
#[derive(Deserialize)]
struct Texts<'a> {
    #[serde(borrow, rename = "type")]
    type_: Option<Text<'a>>,
    #[serde(borrow)]
    action: Option<Text<'a>>,
    #[serde(borrow, rename = "userId")]
    user_id: Option<Text<'a>>,
    #[serde(borrow)]
    ip: Option<Text<'a>>,
}

/// A string that is borrowed where it has no escapes. An `Option<Cow>` would always be copied.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);
