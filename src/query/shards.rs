//! Which shards a query runs over, found one after the other.

use std::collections::VecDeque;
use std::io;

use super::cursor::Position;
use super::filter::{Filter, Order, Scope};
use super::{Snapshot, inconsistent, scan};
use crate::machine::{
    NamespaceId, ObjectId, ObjectRecord, ObjectRef, ObjectState, Shard, Table, keys,
};
use crate::{codec, limits};

/// The shards of a scope that a time range touches, in the order of the query.
///
/// A shard by date mostly holds the times of its day, but an entry that a client sends to
/// yesterday's shard by name is stamped with today's time. So whether a range touches a shard is
/// asked of the shard's own first and last time, not of its day.
pub(super) enum Shards {
    /// By date.
    Days(Days),
    /// One, until it was taken.
    One(Option<ObjectRef>),
}

/// The days of a namespace that have not been visited.
pub(super) struct Days {
    namespace: NamespaceId,
    /// Keys of [`Table::Day`]: from (inclusive) and to (exclusive) what has not been read.
    from: Vec<u8>,
    to: Vec<u8>,
    /// Days that have been read.
    ahead: VecDeque<(u32, ObjectId)>,
}

impl Shards {
    /// The shards of `scope`, from that of `position` on.
    pub fn new(scope: &Scope, order: Order, position: Option<&Position>) -> Self {
        let namespace = match scope {
            Scope::Object(object) => return Self::One(Some(object.clone())),
            Scope::Namespace(namespace) => *namespace,
        };
        let mut from = keys::day(namespace, 0);
        let mut to = behind(keys::day(namespace, u32::MAX));
        if let Some(day) = position.and_then(|position| position.day) {
            match order {
                Order::Asc => from = keys::day(namespace, day),
                Order::Desc => to = behind(keys::day(namespace, day)),
            }
        }
        Self::Days(Days { namespace, from, to, ahead: VecDeque::new() })
    }

    /// The next shard, with its day if the scope is a namespace.
    pub fn next(
        &mut self,
        snapshot: &dyn Snapshot,
        filter: &Filter,
    ) -> io::Result<Option<(Option<u32>, Shard)>> {
        loop {
            let (day, object) = match self {
                Self::One(object) => (None, object.take()),
                Self::Days(days) => match days.next(snapshot, filter.order)? {
                    Some((day, object)) => (Some(day), Some(object)),
                    None => (None, None),
                },
            };
            let Some(object) = object else { return Ok(None) };
            match shard(snapshot, &object)? {
                Some(shard) if filter.touches(&shard) => return Ok(Some((day, shard))),
                _ => {}
            }
        }
    }
}

impl Days {
    fn next(
        &mut self,
        snapshot: &dyn Snapshot,
        order: Order,
    ) -> io::Result<Option<(u32, ObjectRef)>> {
        if self.ahead.is_empty() {
            let range = (&self.from[..], &self.to[..]);
            let rows = scan(snapshot, order, Table::Day, range, limits::READ_ROWS_FIRST)?;
            if let Some((key, _)) = rows.last() {
                match order {
                    Order::Asc => self.from = behind(key.clone()),
                    Order::Desc => self.to = key.clone(),
                }
            }
            for (key, id) in rows {
                let day = key.last_chunk::<4>().map(|day| u32::from_be_bytes(*day));
                let (Some(day), Ok(id)) = (day, id.try_into()) else {
                    return Err(inconsistent("a day that names no object"));
                };
                self.ahead.push_back((day, ObjectId(id)));
            }
        }
        let namespace = self.namespace;
        let object = |(day, id)| (day, ObjectRef { namespace, id, name: None });
        Ok(self.ahead.pop_front().map(object))
    }
}

/// The shard that an object holds. An object goes with its last entry, so there may be none.
fn shard(snapshot: &dyn Snapshot, object: &ObjectRef) -> io::Result<Option<Shard>> {
    let Some(value) = snapshot.get(Table::Object, &keys::object(object))? else {
        return Ok(None);
    };
    match codec::decode::<ObjectRecord>(&value)?.state {
        ObjectState::Shard(shard) => Ok(Some(shard)),
        ObjectState::Limiter { .. } | ObjectState::Measured(_) => Ok(None),
    }
}

/// The key that comes right behind `key`.
fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}
