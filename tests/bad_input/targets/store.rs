//! The machine's tables in memory, as the machine and a query read them.

use std::collections::BTreeMap;
use std::io;

use tallykeep::machine::{Effects, Row, Table, View, Write};
use tallykeep::query::Snapshot;

/// The rows of all tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl Store {
    /// Makes the writes, in their order.
    pub fn make(&mut self, effects: &Effects) {
        for write in effects.writes.iter().cloned() {
            match write {
                Write::Put { table, key, value } => drop(self.rows.insert((table, key), value)),
                Write::Delete { table, key } => drop(self.rows.remove(&(table, key))),
                Write::DeleteRange { table, from, to } => {
                    self.rows.retain(|(of, key), _| *of != table || *key < from || *key >= to);
                }
            }
        }
    }

    /// Sets a row.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.rows.insert((table, key.to_vec()), value.to_vec());
    }

    /// All rows of a table, in key order.
    pub fn table(&self, table: Table) -> Vec<Row> {
        let rows = self.rows.range((table, Vec::new())..);
        let own = rows.take_while(|((of, _), _)| *of == table);
        own.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8]) -> impl DoubleEndedIterator<Item = Row> {
        // A range may end before it starts: it is empty then, as it is on disk.
        let to = to.max(from);
        let rows = self.rows.range((table, from.to_vec())..(table, to.to_vec()));
        rows.map(|((_, key), value)| (key.clone(), value.clone()))
    }
}

impl View for Store {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>> {
        Ok(self.range(table, from, to).take(limit).collect())
    }
}

impl Snapshot for Store {
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
        keys.iter().map(|key| self.get(table, key)).collect()
    }
}
