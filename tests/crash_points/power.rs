//! What a power cut takes: done to the files of a node that was killed.
//!
//! `steps.c` has noted each change, and each sync with what it covers. What a file's or a folder's
//! last sync does not cover is undone from the newest change on, back to that sync or, as a disk may
//! have got further by itself, to a random moment after it. Each file and each folder has its own
//! moment, so a later change may be there and an earlier one elsewhere not. Nor does a disk write the
//! pages of a file in order: of half of the files random pages are there that were written later,
//! with zeros between. A name is of its folder, and not of the file that it names: the strictest
//! reading of POSIX, under which a synced file may vanish if its folder was not synced. A rename is
//! there if one of its two folders has kept it.
//!
//! Inodes stand for files, which change their names. A file's inode is not used again, as a link to
//! each removed file is kept; a folder's may be, and so has a generation.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A file or a folder: its inode, and how many folders had that inode before.
type Key = (u64, u32);

/// What a disk writes whole or not at all.
const PAGE_BYTES: usize = 4096;

const HEAD_NUMBERS: usize = 8;
const HEAD_BYTES: usize = HEAD_NUMBERS * 8;

/// Something that happened to the disk; see `steps.c`.
enum Change {
    /// Bytes from `offset` on were written over `old`, in a file that had `size` bytes.
    Data { file: Key, offset: u64, old: Vec<u8>, size: u64 },
    /// What came before record `covered` is durable.
    Sync { of: Key, covered: usize },
    /// A name was added.
    Added { what: Key, folder: Key, name: String },
    /// A name was removed; of a file the link `kept` is left.
    Removed { what: Key, folder: Key, name: String, kept: Option<u64> },
    /// A name was replaced by another.
    Renamed { what: Key, folder: Key, name: String, to: Key, next: String },
}

/// The power is cut: `data` was of a node that was killed, `undo` has the journal. With `seed` 0 all
/// is lost that may be.
pub fn cut(data: &Path, undo: &Path, seed: u64) {
    let journal = fs::read(undo.join("journal")).expect("a journal: the shim was loaded");
    let (changes, generations) = read(&journal);
    let kept = kept(&changes, seed);
    let lost: Vec<&Change> = (0..changes.len())
        .filter(|position| {
            // A rename takes the place of another name in one step, or not at all.
            let position = position + usize::from(is_replaced(&changes[*position..]));
            !changes[position].owners().iter().any(|of| position < kept[of])
        })
        .map(|position| &changes[position])
        .collect();
    // Bytes first, while every file has a name.
    let mut files = HashMap::new();
    walk(undo, &mut |path, inode, _| drop(files.insert(inode, path.to_owned())));
    walk(data, &mut |path, inode, _| drop(files.insert(inode, path.to_owned())));
    let path = |file: &Key| files.get(&file.0).expect("a file, or the link that was kept");
    let mut written = BTreeMap::<&Path, Vec<u8>>::new();
    for change in lost.iter().rev() {
        if let Change::Data { file, offset, old, size } = change {
            let path = path(file);
            written.entry(path).or_insert_with(|| fs::read(path).expect("a file of the node"));
            let file = open(path);
            file.write_all_at(old, *offset).expect("bytes that were there");
            file.set_len(*size).expect("a size that was there");
        }
    }
    if seed != 0 {
        let mut random = StdRng::seed_from_u64(seed);
        written.iter().for_each(|(path, bytes)| bring_pages_back(path, bytes, &mut random));
    }
    let mut names = Names { data, undo, generations, remade: HashMap::new() };
    lost.iter().rev().for_each(|change| names.undo(change));
}

/// Whether the first of these changes is what the rename behind it did to the name that it took.
fn is_replaced(changes: &[Change]) -> bool {
    let [Change::Removed { folder, name, .. }, Change::Renamed { to, next, .. }, ..] = changes
    else {
        return false;
    };
    folder == to && name == next
}

/// Of half of the files: has each page that was `written` and lost on disk, or not.
fn bring_pages_back(path: &Path, written: &[u8], random: &mut StdRng) {
    if random.random_bool(0.5) {
        return;
    }
    let left = fs::read(path).expect("a file of the node");
    let mut offset = 0;
    for page in written.chunks(PAGE_BYTES) {
        let is_lost = left.get(offset..offset + page.len()) != Some(page);
        if is_lost && random.random_bool(0.5) {
            open(path).write_all_at(page, offset as u64).expect("bytes that were there");
        }
        offset += page.len();
    }
}

fn open(path: &Path) -> File {
    File::options().write(true).open(path).expect("a file of the node")
}

/// Up to which change each file and folder is as it was.
fn kept(changes: &[Change], seed: u64) -> BTreeMap<Key, usize> {
    let mut unsynced = BTreeMap::<Key, Vec<usize>>::new();
    for (position, change) in changes.iter().enumerate() {
        for of in change.owners() {
            unsynced.entry(of).or_default().push(position);
        }
        if let Change::Sync { of, covered } = change {
            unsynced.entry(*of).or_default().retain(|position| position >= covered);
        }
    }
    let mut random = StdRng::seed_from_u64(seed);
    let moment = |unsynced: Vec<usize>| {
        let more = if seed == 0 { 0 } else { random.random_range(0..=unsynced.len()) };
        unsynced.get(more).copied().unwrap_or(usize::MAX)
    };
    let (keys, unsynced): (Vec<_>, Vec<_>) = unsynced.into_iter().unzip();
    keys.into_iter().zip(unsynced.into_iter().map(moment)).collect()
}

impl Change {
    /// Whose sync makes it durable.
    fn owners(&self) -> Vec<Key> {
        match self {
            Change::Data { file, .. } => vec![*file],
            Change::Sync { .. } => Vec::new(),
            Change::Added { folder, .. } | Change::Removed { folder, .. } => vec![*folder],
            Change::Renamed { folder, to, .. } => vec![*folder, *to],
        }
    }
}

/// Reads the journal; gives the generation of each inode that was used again, too.
fn read(mut journal: &[u8]) -> (Vec<Change>, HashMap<u64, u32>) {
    let mut generations = HashMap::new();
    let mut changes = Vec::new();
    while !journal.is_empty() {
        let (head, rest) = journal.split_at(HEAD_BYTES);
        let numbers: Vec<u64> = head
            .chunks_exact(8)
            .map(|bytes| u64::from_ne_bytes(bytes.try_into().expect("eight bytes")))
            .collect();
        let [kind, inode, folder, other, offset, size, name_bytes, data_bytes] = numbers[..] else {
            unreachable!("a head has {HEAD_NUMBERS} numbers");
        };
        let (names, rest) = rest.split_at(usize::try_from(name_bytes).expect("a short name"));
        let (old, rest) = rest.split_at(usize::try_from(data_bytes).expect("bytes of a write"));
        journal = rest;
        let name = String::from_utf8(names.to_vec()).expect("names of UTF-8");
        let key = |inode: u64| (inode, generations.get(&inode).copied().unwrap_or(0));
        let (what, folder) = (key(inode), key(folder));
        changes.push(match kind {
            1 => Change::Data { file: what, offset, old: old.to_vec(), size },
            2 => Change::Sync { of: what, covered: usize::try_from(offset).expect("a count") },
            3 => Change::Added { what, folder, name },
            4 => Change::Removed { what, folder, name, kept: (other == 0).then_some(size) },
            5 => {
                let (name, next) = name.split_once('/').expect("two names");
                let (name, next) = (name.to_owned(), next.to_owned());
                Change::Renamed { what, folder, name, to: key(other), next }
            }
            kind => panic!("a record of kind {kind}"),
        });
        if kind == 4 && other == 1 {
            *generations.entry(inode).or_default() += 1;
        }
    }
    (changes, generations)
}

/// Calls `each` with the path and the inode of everything below `dir`, and whether it is a folder.
fn walk(dir: &Path, each: &mut impl FnMut(&Path, u64, bool)) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        let found = path.symlink_metadata().expect("a file that nobody removes");
        each(&path, found.ino(), found.is_dir());
        if found.is_dir() {
            walk(&path, each);
        }
    }
}

/// The names below a node's folder, while some of them are undone.
struct Names<'a> {
    data: &'a Path,
    undo: &'a Path,
    generations: HashMap<u64, u32>,
    /// Folders that were removed and are there again: their inodes now.
    remade: HashMap<Key, u64>,
}

impl Names<'_> {
    fn undo(&mut self, change: &Change) {
        match change {
            Change::Data { .. } | Change::Sync { .. } => {}
            Change::Added { what, folder, name } => {
                // It may have got another name since, or its folder may be gone.
                if let Some(path) = self.path(*folder, name)
                    && self.is_at(*what, &path)
                {
                    let removed = match path.is_dir() {
                        true => fs::remove_dir_all(&path),
                        false => fs::remove_file(&path),
                    };
                    removed.expect("a name that is there");
                }
            }
            Change::Removed { what, folder, name, kept } => {
                let Some(path) = self.path(*folder, name).filter(|path| !is_there(path)) else {
                    return;
                };
                if let Some(kept) = kept {
                    fs::hard_link(self.undo.join(kept.to_string()), path).expect("a new link");
                } else {
                    fs::create_dir(&path).expect("a new folder");
                    let inode = path.symlink_metadata().expect("a new folder").ino();
                    self.remade.insert(*what, inode);
                }
            }
            Change::Renamed { what, folder, name, to, next } => {
                if let Some(path) = self.path(*to, next).filter(|path| self.is_at(*what, path))
                    && let Some(back) = self.path(*folder, name).filter(|path| !is_there(path))
                {
                    fs::rename(path, back).expect("a name that was there");
                }
            }
        }
    }

    fn is_at(&self, what: Key, path: &Path) -> bool {
        let found = path.symlink_metadata();
        found.is_ok_and(|found| Some(found.ino()) == self.inode(what))
    }

    fn inode(&self, key: Key) -> Option<u64> {
        let is_newest = self.generations.get(&key.0).copied().unwrap_or(0) == key.1;
        self.remade.get(&key).copied().or(is_newest.then_some(key.0))
    }

    /// Where `name` is in a folder, if that is there.
    fn path(&self, folder: Key, name: &str) -> Option<PathBuf> {
        let wanted = self.inode(folder)?;
        if self.data.symlink_metadata().expect("the data folder").ino() == wanted {
            return Some(self.data.join(name));
        }
        let mut found = None;
        walk(self.data, &mut |path, inode, is_dir| {
            if is_dir && inode == wanted {
                found = Some(path.join(name));
            }
        });
        found
    }
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
