//! The limiter cells that were written last, written back to RocksDB when they have not been written
//! for a while.
//!
//! Two generations: what is written goes to the young one; when that is full it becomes the old one,
//! whose cells are written back, a few with each that comes new, and then forgotten. So a cell that is
//! written again and again stays and is written back once, memory is bounded, and there is no list to
//! keep in order.

use std::io;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use crate::limits;

/// What is known of a row: its value, or that there is none.
type Row = Option<Vec<u8>>;

/// Takes a row that is written back.
pub(super) trait Sink: FnMut(&[u8], Option<&[u8]>) -> io::Result<()> {}

impl<F: FnMut(&[u8], Option<&[u8]>) -> io::Result<()>> Sink for F {}

/// A bounded number of cells by their keys.
#[derive(Default)]
pub(super) struct Cells {
    young: Generation,
    old: Generation,
}

#[derive(Default)]
struct Generation {
    /// In the order in which they came.
    cells: IndexMap<Vec<u8>, Cell, RandomState>,
    /// So many of them, from the first, need not be looked at: RocksDB has them as they are.
    clean: usize,
}

struct Cell {
    row: Row,
    /// RocksDB does not have it as it is.
    is_dirty: bool,
}

/// Cells of a generation, at most.
const GENERATION: usize = limits::CELLS_CACHED_MAX / 2;
/// Cells that are written back for one that comes new, once the young generation is half full: so the
/// old one has been written back when it is followed by the next.
const WRITTEN_FOR_ONE: usize = 2;

impl Cells {
    /// What was last written under `key`; `None` if it is not remembered.
    pub(super) fn get(&self, key: &[u8]) -> Option<Row> {
        let cell = self.young.cells.get(key).or_else(|| self.old.cells.get(key));
        cell.map(|cell| cell.row.clone())
    }

    /// Notes what is written under `key`. If it `is_dirty`, RocksDB gets it later.
    ///
    /// # Errors
    /// Those of `sink`.
    pub(super) fn put(
        &mut self,
        key: Vec<u8>,
        row: Row,
        is_dirty: bool,
        sink: &mut impl Sink,
    ) -> io::Result<()> {
        if let Some(known) = self.young.cells.get_mut(&key) {
            *known = Cell { row, is_dirty };
            return Ok(());
        }
        if self.young.cells.len() >= GENERATION {
            self.write_back_old(usize::MAX, sink)?;
            self.old = std::mem::take(&mut self.young);
        }
        self.young.cells.insert(key, Cell { row, is_dirty });
        // Not at once: what is written often comes again before its turn.
        if self.young.cells.len() > GENERATION / 2 {
            self.write_back_old(WRITTEN_FOR_ONE, sink)?;
        }
        Ok(())
    }

    /// Writes back at most so many dirty cells; `false` once there are none, as long as none is put
    /// that is dirty.
    ///
    /// # Errors
    /// Those of `sink`.
    pub(super) fn write_back(&mut self, most: usize, sink: &mut impl Sink) -> io::Result<bool> {
        let left = most - self.write_back_old(most, sink)?;
        self.young.write_back(left, |_| false, sink)?;
        Ok(self.young.clean < self.young.cells.len() || self.old.clean < self.old.cells.len())
    }

    /// From here on dirty cells may be put again behind a [`Self::write_back`].
    pub(super) fn may_be_dirty(&mut self) {
        self.young.clean = 0;
    }

    /// How many cells were written back.
    fn write_back_old(&mut self, most: usize, sink: &mut impl Sink) -> io::Result<usize> {
        let Self { young, old } = self;
        old.write_back(most, |key| young.cells.contains_key(key), sink)
    }
}

impl Generation {
    fn write_back(
        &mut self,
        most: usize,
        is_superseded: impl Fn(&[u8]) -> bool,
        sink: &mut impl Sink,
    ) -> io::Result<usize> {
        let mut written = 0;
        while written < most
            && let Some((key, cell)) = self.cells.get_index_mut(self.clean)
        {
            if cell.is_dirty && !is_superseded(key) {
                sink(key, cell.row.as_deref())?;
                cell.is_dirty = false;
                written += 1;
            }
            self.clean += 1;
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn key(number: usize) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    #[test]
    fn what_is_written_again_stays_and_memory_is_bounded() {
        let mut cells = Cells::default();
        let mut stored = BTreeMap::new();
        let mut sink = |key: &[u8], row: Option<&[u8]>| {
            assert_ne!(key, [0; 8], "a cell that is written again and again was written back");
            assert!(stored.insert(key.to_vec(), row.map(<[u8]>::to_vec)).is_none());
            Ok(())
        };
        for round in 0..2 * limits::CELLS_CACHED_MAX {
            let value = Some(key(round));
            cells.put(key(0), value.clone(), true, &mut sink).unwrap();
            cells.put(key(round + 1), None, true, &mut sink).unwrap();
            assert_eq!(cells.get(&key(0)), Some(value));
            assert_eq!(cells.get(&key(round + 1)), Some(None), "that there is none is known too");
        }
        assert_eq!(cells.get(&key(1)), None);
        let kept = cells.young.cells.len() + cells.old.cells.len();
        assert!(kept <= limits::CELLS_CACHED_MAX);
        while cells
            .write_back(1000, &mut |key: &[u8], row: Option<&[u8]>| {
                assert!(stored.insert(key.to_vec(), row.map(<[u8]>::to_vec)).is_none());
                Ok(())
            })
            .unwrap()
        {}
        assert_eq!(stored.len(), 2 * limits::CELLS_CACHED_MAX + 1, "each once");
        assert_eq!(stored[&key(0)], Some(key(2 * limits::CELLS_CACHED_MAX - 1)));
        let mut none = |_: &[u8], _: Option<&[u8]>| panic!("nothing is left to write back");
        cells.may_be_dirty();
        assert!(!cells.write_back(usize::MAX, &mut none).unwrap());
    }

    #[test]
    fn a_write_back_ends_while_clean_cells_come() {
        let mut cells = Cells::default();
        let mut written = 0;
        let mut count = |_: &[u8], _: Option<&[u8]>| {
            written += 1;
            Ok(())
        };
        (0..100).for_each(|number| cells.put(key(number), None, true, &mut count).unwrap());
        let mut rounds = 0;
        while cells.write_back(10, &mut count).unwrap() {
            rounds += 1;
            cells.put(key(50), Some(key(rounds)), false, &mut count).unwrap();
            cells.put(key(100 + rounds), None, false, &mut count).unwrap();
        }
        assert!(rounds < 20, "{rounds}");
        assert_eq!(written, 99, "one was replaced by a clean one before its turn");
    }
}
