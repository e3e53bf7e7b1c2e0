//! Entries in ascending order of time and id, however many: what does not fit into memory is sorted
//! by parts in temporary files, which are merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::vec;

use super::rows::Entry;
use crate::limits::{IMPORT_RUNS_MAX, IMPORT_SORT_BYTES};

/// An entry and the row of which it is. Its order is that of the fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Numbered {
    pub(super) at_ms: u64,
    pub(super) id: String,
    pub(super) number: u64,
    pub(super) text: String,
}

impl Numbered {
    pub(super) fn new(number: u64, Entry { at_ms, id, text }: Entry) -> Self {
        Self { at_ms, id, number, text }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.id.len() + self.text.len()
    }

    /// `number ‖ ms ‖ length of id ‖ length of text ‖ id ‖ text`, numbers of 8 bytes.
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let Self { at_ms, id, number, text } = self;
        for number in [*number, *at_ms, id.len() as u64, text.len() as u64] {
            to.write_all(&number.to_le_bytes())?;
        }
        to.write_all(id.as_bytes())?;
        to.write_all(text.as_bytes())
    }

    /// The next of a file that [`Numbered::write`] has made, if there is one.
    fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut head = [[0; 8]; 4];
        match from.read_exact(head.as_flattened_mut()) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let [number, at_ms, id, text] = head.map(u64::from_le_bytes);
        let mut take = |length: u64| {
            let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            from.read_exact(&mut bytes)?;
            String::from_utf8(bytes).map_err(io::Error::other)
        };
        Ok(Some(Self { number, at_ms, id: take(id)?, text: take(text)? }))
    }
}

/// Takes entries in any order.
pub(super) struct Sorter {
    memory: Vec<Numbered>,
    bytes: usize,
    bytes_max: usize,
    /// Each sorted, and in the order in which they were made.
    runs: Vec<File>,
}

impl Sorter {
    pub(super) fn new() -> Self {
        Self::with_memory(IMPORT_SORT_BYTES)
    }

    fn with_memory(bytes_max: usize) -> Self {
        Self { memory: Vec::new(), bytes: 0, bytes_max, runs: Vec::new() }
    }

    /// Takes an entry.
    ///
    /// # Errors
    /// If a temporary file cannot be written.
    pub(super) fn push(&mut self, entry: Numbered) -> io::Result<()> {
        self.bytes += entry.bytes();
        self.memory.push(entry);
        if self.bytes < self.bytes_max {
            return Ok(());
        }
        self.bytes = 0;
        self.memory.sort_unstable();
        let run = write(self.memory.drain(..).map(Ok))?;
        self.runs.push(run);
        if self.runs.len() >= IMPORT_RUNS_MAX {
            let runs = std::mem::take(&mut self.runs);
            self.runs.push(write(Sorted::new(Vec::new(), runs)?)?);
        }
        Ok(())
    }

    /// All of them, in order.
    ///
    /// # Errors
    /// If a temporary file cannot be read.
    pub(super) fn finish(mut self) -> io::Result<Sorted> {
        self.memory.sort_unstable();
        Sorted::new(self.memory, self.runs)
    }
}

/// Writes a file that is nobody's: it is gone once it is closed.
fn write(entries: impl Iterator<Item = io::Result<Numbered>>) -> io::Result<File> {
    let mut run = BufWriter::new(tempfile::tempfile()?);
    for entry in entries {
        entry?.write(&mut run)?;
    }
    let mut run = run.into_inner().map_err(|error| error.into_error())?;
    run.rewind()?;
    Ok(run)
}

/// Entries in ascending order.
pub(super) struct Sorted {
    /// The next of each source.
    next: BinaryHeap<Reverse<(Numbered, usize)>>,
    sources: Vec<Source>,
}

enum Source {
    Memory(vec::IntoIter<Numbered>),
    File(BufReader<File>),
}

impl Source {
    fn next(&mut self) -> io::Result<Option<Numbered>> {
        match self {
            Self::Memory(entries) => Ok(entries.next()),
            Self::File(run) => Numbered::read(run),
        }
    }
}

impl Sorted {
    fn new(memory: Vec<Numbered>, runs: Vec<File>) -> io::Result<Self> {
        let files = runs.into_iter().map(|run| Source::File(BufReader::new(run)));
        let mut sources: Vec<_> = files.chain([Source::Memory(memory.into_iter())]).collect();
        let mut next = BinaryHeap::new();
        for (index, source) in sources.iter_mut().enumerate() {
            next.extend(source.next()?.map(|entry| Reverse((entry, index))));
        }
        Ok(Self { next, sources })
    }
}

impl Iterator for Sorted {
    type Item = io::Result<Numbered>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((entry, index)) = self.next.pop()?;
        match self.sources[index].next() {
            Ok(next) => self.next.extend(next.map(|entry| Reverse((entry, index)))),
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(entry))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn entries_come_out_in_order(
            entries in prop::collection::vec((0..20u64, "[a-c]{1,2}", ".{0,30}"), 0..800),
            memory in prop::sample::select(vec![1, 500, 20_000, usize::MAX]),
        ) {
            let mut sorter = Sorter::with_memory(memory);
            let mut expected = Vec::new();
            for (number, (at_ms, id, text)) in (0..).zip(entries) {
                let entry = Numbered::new(number, Entry { at_ms, id, text });
                expected.push(entry.clone());
                sorter.push(entry).unwrap();
                prop_assert!(sorter.runs.len() < IMPORT_RUNS_MAX);
            }
            expected.sort();
            let sorted: Vec<_> = sorter.finish().unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(sorted, expected);
        }
    }
}
