//! A [`View`] in memory, for tests.

use std::collections::BTreeMap;
use std::io;

use super::{Effects, Row, Table, View, Write};

/// The rows of all tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl Memory {
    /// Makes the writes, in their order.
    pub(crate) fn make(&mut self, effects: &Effects) {
        for write in effects.writes.iter().cloned() {
            match write {
                Write::Put { table, key, value } => {
                    self.rows.insert((table, key), value);
                }
                Write::Delete { table, key } => {
                    self.rows.remove(&(table, key));
                }
                Write::DeleteRange { table, from, to } => {
                    self.rows.retain(|(of, key), _| *of != table || *key < from || *key >= to);
                }
            }
        }
    }

    /// All rows of a table, in key order.
    pub(crate) fn table(&self, table: Table) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.rows
            .range((table, Vec::new())..)
            .take_while(move |((of, _), _)| *of == table)
            .map(|((_, key), value)| (&key[..], &value[..]))
    }
}

impl View for Memory {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>> {
        let rows = self.rows.range((table, from.to_vec())..(table, to.to_vec()));
        Ok(rows.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }
}
