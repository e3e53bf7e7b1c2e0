//! Small tables that are wholly in memory, and in RocksDB as they were when it last had to have them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use super::cells::Sink;
use crate::machine::Row;

/// All rows of one table.
#[derive(Default)]
pub(super) struct Resident {
    rows: BTreeMap<Vec<u8>, Slot>,
    is_dirty: bool,
}

struct Slot {
    /// `None`: the row is gone, and RocksDB is still to be told.
    value: Option<Vec<u8>>,
    /// RocksDB does not have it as it is.
    is_dirty: bool,
    /// RocksDB has a row of this key.
    is_stored: bool,
}

impl Resident {
    /// The table whose rows RocksDB has.
    pub(super) fn new(rows: Vec<Row>) -> Self {
        let stored = |value| Slot { value: Some(value), is_dirty: false, is_stored: true };
        let rows = rows.into_iter().map(|(key, value)| (key, stored(value))).collect();
        Self { rows, is_dirty: false }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.rows.get(key)?.value.clone()
    }

    /// At most `limit` rows from `from` (inclusive) to `to` (exclusive).
    pub(super) fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Vec<Row> {
        if from >= to {
            return Vec::new();
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        let rows = self.rows.range::<[u8], _>(range);
        let rows = rows.filter_map(|(key, slot)| Some((key.clone(), slot.value.clone()?)));
        rows.take(limit).collect()
    }

    /// Sets or removes a row.
    pub(super) fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let is_stored = self.rows.get(&key).is_some_and(|slot| slot.is_stored);
        if value.is_none() && !is_stored {
            // RocksDB has never heard of it.
            self.rows.remove(&key);
            return;
        }
        self.is_dirty = true;
        self.rows.insert(key, Slot { value, is_dirty: true, is_stored });
    }

    /// Gives `sink` what RocksDB does not have.
    ///
    /// # Errors
    /// Those of `sink`.
    pub(super) fn write_back(&mut self, sink: &mut impl Sink) -> io::Result<()> {
        if !self.is_dirty {
            return Ok(());
        }
        for (key, slot) in self.rows.iter_mut().filter(|(_, slot)| slot.is_dirty) {
            sink(key, slot.value.as_deref())?;
            slot.is_dirty = false;
            slot.is_stored = true;
        }
        self.rows.retain(|_, slot| slot.value.is_some());
        self.is_dirty = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_came_and_went_is_never_written() {
        let row = |key: &[u8]| (key.to_vec(), b"old".to_vec());
        let mut table = Resident::new(vec![row(b"a"), row(b"b"), row(b"c")]);
        for (key, value) in [(b"b", None), (b"c", Some("new")), (b"d", Some("d")), (b"e", Some(""))]
        {
            table.put(key.to_vec(), value.map(|value: &str| value.into()));
        }
        table.put(b"d".to_vec(), None);
        let keys = |rows: Vec<Row>| rows.into_iter().flat_map(|(key, _)| key).collect::<Vec<u8>>();
        assert_eq!(keys(table.scan(b"", b"z", 9)), b"ace");
        assert_eq!(keys(table.scan(b"b", b"e", 9)), b"c");
        assert_eq!(keys(table.scan(b"", b"z", 2)), b"ac");
        assert_eq!(table.scan(b"z", b"a", 9), []);
        assert_eq!((table.get(b"b"), table.get(b"c")), (None, Some(b"new".to_vec())));

        let mut written = Vec::new();
        let mut sink = |key: &[u8], value: Option<&[u8]>| {
            written.push((key.to_vec(), value.map(<[u8]>::to_vec)));
            Ok(())
        };
        table.write_back(&mut sink).unwrap();
        table.write_back(&mut sink).unwrap();
        let expected = [(b"b", None), (b"c", Some("new")), (b"e", Some(""))];
        let expected = expected
            .map(|(key, value)| (key.to_vec(), value.map(|value: &str| value.as_bytes().to_vec())));
        assert_eq!(written, expected);
    }
}
