//! The limiter cells that were written last, in front of RocksDB.
//!
//! Two generations: what is written goes to the young one; when that is full it becomes the old one,
//! and the old one is forgotten. So a cell that is written again and again stays, memory is bounded,
//! and there is no list to keep in order. Only the writer puts cells in, so that a reader who comes
//! between two writes cannot bring an older value back.

use std::collections::HashMap;
use std::sync::RwLock;

use crate::limits;
use crate::machine::{Table, Write};

/// A cell's value, or that there is no such cell.
type Cell = Option<Vec<u8>>;

/// A bounded number of cells by their keys.
#[derive(Default)]
pub(super) struct Cells {
    generations: RwLock<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Vec<u8>, Cell>,
    old: HashMap<Vec<u8>, Cell>,
}

impl Cells {
    /// What was last written under `key`; `None` if it is not remembered.
    pub(super) fn get(&self, key: &[u8]) -> Option<Cell> {
        let generations = self.generations.read().expect("no holder panics");
        generations.young.get(key).or_else(|| generations.old.get(key)).cloned()
    }

    /// Notes what was written. Whoever reads sees all of it or none.
    pub(super) fn note(&self, writes: &[Write]) {
        let mut generations = self.generations.write().expect("no holder panics");
        for write in writes {
            match write {
                Write::Put { table: Table::Cell, key, value } => {
                    generations.put(key, Some(value.clone()));
                }
                Write::Delete { table: Table::Cell, key } => generations.put(key, None),
                Write::DeleteRange { table: Table::Cell, .. } => {
                    *generations = Generations::default();
                }
                _ => {}
            }
        }
    }

    /// Forgets everything: another state is in force.
    pub(super) fn clear(&self) {
        *self.generations.write().expect("no holder panics") = Generations::default();
    }
}

impl Generations {
    fn put(&mut self, key: &[u8], cell: Cell) {
        if let Some(known) = self.young.get_mut(key) {
            *known = cell;
            return;
        }
        if self.young.len() >= limits::CELLS_CACHED_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key.to_vec(), cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_again_stays_and_memory_is_bounded() {
        let cells = Cells::default();
        let number = |number: usize| number.to_be_bytes().to_vec();
        let table = Table::Cell;
        for round in 0..2 * limits::CELLS_CACHED_MAX {
            let (key, value) = (number(round + 1), number(round));
            let again = Write::Put { table, key: number(0), value: value.clone() };
            cells.note(&[again, Write::Delete { table, key: key.clone() }]);
            assert_eq!(cells.get(&number(0)), Some(Some(value)));
            assert_eq!(cells.get(&key), Some(None), "that there is no cell is known too");
        }
        assert_eq!(cells.get(&number(1)), None);
        let generations = cells.generations.read().unwrap();
        assert!(generations.young.len() + generations.old.len() <= limits::CELLS_CACHED_MAX);
        drop(generations);
        cells.note(&[Write::DeleteRange { table, from: vec![], to: vec![0xff] }]);
        assert_eq!(cells.get(&number(0)), None);
    }
}
