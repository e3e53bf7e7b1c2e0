//! A snapshot in memory, with just enough of a writer to fill it.

use std::collections::BTreeMap;
use std::io;

use super::{Filter, Snapshot};
use crate::codec;
use crate::machine::audit::{EntryRecord, term};
use crate::machine::{
    Field, NamespaceId, ObjectId, ObjectRecord, ObjectRef, ObjectState, Row, Shard, Table, Terms,
    View, keys,
};

/// The namespace of all shards in memory.
pub const NAMESPACE: NamespaceId = NamespaceId([9; 8]);

/// An ordered map that is its own snapshot.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    shards: u64,
    entries: u64,
}

/// What can be filtered by: `type`, `action`, `userId`, `ip`.
pub type Texts = [Option<&'static str>; 4];

impl View for Memory {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>> {
        Ok(self.range(table, from, to).take(limit).collect())
    }
}

impl Snapshot for Memory {
    fn scan_back(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> io::Result<Vec<Row>> {
        Ok(self.range(table, from, to).rev().take(limit).collect())
    }

    fn get_each(
        &self,
        table: Table,
        keys: &[Vec<u8>],
        _near: bool,
    ) -> io::Result<Vec<Option<Vec<u8>>>> {
        assert!(keys.is_sorted(), "keys ascend");
        keys.iter().map(|key| self.get(table, key)).collect()
    }
}

impl Memory {
    /// The object of the shard of `day`.
    pub fn object(day: u32) -> ObjectRef {
        let mut id = [7; 16];
        // Ids are hashes, so their order is not that of the days.
        id[..4].copy_from_slice(&day.wrapping_mul(0x9E37_79B9).to_be_bytes());
        ObjectRef { namespace: NAMESPACE, id: ObjectId(id), name: None }
    }

    /// Appends an entry as the machine does, and gives its body.
    pub fn append(&mut self, day: u32, at_ms: u64, texts: Texts) -> Vec<u8> {
        self.append_under(day, at_ms, texts, texts.map(|text| text.map(term)))
    }

    /// Appends an entry that stands under terms of one's own.
    pub fn append_under(&mut self, day: u32, at_ms: u64, texts: Texts, terms: Terms) -> Vec<u8> {
        self.entries += 1;
        let mut body = format!("{{\"id\":\"{}\",\"timestamp\":{at_ms}", self.entries);
        for (name, text) in ["type", "action", "userId", "ip"].iter().zip(texts) {
            if let Some(text) = text {
                body += &format!(",\"{name}\":{}", serde_json::to_string(text).unwrap());
            }
        }
        body += ",\"details\":{}}";
        let body = body.into_bytes();

        let mut shard = self.shard(day).unwrap_or_else(|| {
            self.shards += 1;
            let id = Self::object(day).id.0.to_vec();
            self.rows.insert((Table::Day, keys::day(NAMESPACE, day)), id);
            Shard {
                number: self.shards,
                day: Some(day),
                first_sequence: 1,
                next_sequence: 1,
                first_ms: at_ms,
                last_ms: at_ms,
                bytes: 0,
            }
        });
        assert!(at_ms >= shard.last_ms, "times never decrease in a shard");
        let sequence = shard.next_sequence;
        let value = EntryRecord { at_ms, terms, body: &body }.encode();
        self.rows.insert((Table::Entry, keys::entry(shard.number, sequence)), value);
        for (field, term) in Field::ALL.into_iter().zip(terms) {
            if let Some(term) = term {
                let key = keys::index(shard.number, field, term, sequence);
                self.rows.insert((Table::Index, key), Vec::new());
            }
        }
        shard.next_sequence += 1;
        shard.last_ms = at_ms;
        self.put(day, shard);
        body
    }

    /// Removes the first entries of a shard; their index rows too.
    pub fn expire(&mut self, day: u32, entries: u64) {
        let mut shard = self.shard(day).expect("the test has made this shard");
        for _ in 0..entries.min(shard.next_sequence - shard.first_sequence - 1) {
            let sequence = shard.first_sequence;
            self.rows.remove(&(Table::Entry, keys::entry(shard.number, sequence)));
            self.rows.retain(|(table, key), _| {
                *table != Table::Index
                    || !key.starts_with(&shard.number.to_be_bytes())
                    || keys::sequence(key) != Some(sequence)
            });
            shard.first_sequence += 1;
        }
        let first = keys::entry(shard.number, shard.first_sequence);
        shard.first_ms = EntryRecord::decode(&self.rows[&(Table::Entry, first)]).unwrap().at_ms;
        self.put(day, shard);
    }

    /// Removes a shard as a whole.
    pub fn remove(&mut self, day: u32) {
        let Some(shard) = self.shard(day) else { return };
        self.rows.remove(&(Table::Day, keys::day(NAMESPACE, day)));
        self.rows.remove(&(Table::Object, keys::object(&Self::object(day))));
        self.rows.retain(|(table, key), _| {
            !matches!(table, Table::Entry | Table::Index)
                || !key.starts_with(&shard.number.to_be_bytes())
        });
    }

    /// Loses a row, as no store should.
    pub fn lose_entry(&mut self, day: u32, sequence: u64) {
        let shard = self.shard(day).expect("the test has made this shard");
        self.rows.remove(&(Table::Entry, keys::entry(shard.number, sequence)));
    }

    /// What the log holds for a filter, in ascending order, by looking at every entry.
    pub fn naive(&self, day: Option<u32>, filter: &Filter) -> Vec<Vec<u8>> {
        let days = self.rows.keys().filter(|(table, _)| *table == Table::Day);
        let days: Vec<u32> =
            days.map(|(_, key)| u32::from_be_bytes(*key.last_chunk().unwrap())).collect();
        let wanted = [&filter.type_, &filter.action, &filter.user_id, &filter.ip];
        let mut found = Vec::new();
        for day in days.into_iter().filter(|of| day.is_none_or(|day| day == *of)) {
            let number = self.shard(day).unwrap().number;
            let (from, to) = keys::entries(number);
            for (_, value) in self.range(Table::Entry, &from, &to) {
                let entry = EntryRecord::decode(&value).unwrap();
                let json: serde_json::Value = serde_json::from_slice(entry.body).unwrap();
                let texts = ["type", "action", "userId", "ip"].map(|name| json[name].as_str());
                if filter.start_ms.is_none_or(|start| entry.at_ms >= start)
                    && filter.end_ms.is_none_or(|end| entry.at_ms <= end)
                    && wanted
                        .iter()
                        .zip(texts)
                        .all(|(wanted, text)| wanted.is_none() || wanted.as_deref() == text)
                {
                    found.push(entry.body.to_vec());
                }
            }
        }
        found
    }

    /// Sets a row.
    pub fn set(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.rows.insert((table, key), value);
    }

    fn shard(&self, day: u32) -> Option<Shard> {
        let key = (Table::Object, keys::object(&Self::object(day)));
        let record: ObjectRecord = codec::decode(self.rows.get(&key)?).unwrap();
        match record.state {
            ObjectState::Shard(shard) => Some(shard),
            ObjectState::Limiter { .. } | ObjectState::Measured(_) => None,
        }
    }

    fn put(&mut self, day: u32, shard: Shard) {
        let state = ObjectState::Shard(shard);
        let record = ObjectRecord { name: None, created_ms: 0, state };
        let key = (Table::Object, keys::object(&Self::object(day)));
        self.rows.insert(key, codec::encode(&record));
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8]) -> impl DoubleEndedIterator<Item = Row> {
        let (from, to) = ((table, from.to_vec()), (table, to.to_vec()));
        self.rows.range(from..to).map(|((_, key), value)| (key.clone(), value.clone()))
    }
}
