//! The file of a backup: a tar archive that says what it holds and proves that it is whole.
//!
//! ```text
//! backup.json      what it is a backup of, and its files: see [`Contents`]
//! state/<file>     each file of a checkpoint of the state, in that order
//! SHA256SUMS       the SHA-256 of each file above, as `sha256sum` writes and checks it
//! ```
//!
//! So `tar tvf` lists it, and `tar xf` and `sha256sum -c` check it where there is no tallykeep.
//! [`Reader`] is stricter than they are: from what `backup.json` says follows every byte of the
//! archive that is not a file's, and any other is refused. Nothing of the Raft log is in it, and no
//! vote.

use std::io::{self, ErrorKind, Read, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use crate::limits;

/// The version of all this.
pub const FORMAT: u32 = 1;

const CONTENTS: &str = "backup.json";
const FOLDER: &str = "state/";
const SUMS: &str = "SHA256SUMS";
/// What a tar archive is made of: a file's header is one, and its bytes are filled up to one.
const BLOCK: usize = 512;
const ZEROS: [u8; BLOCK] = [0; BLOCK];
/// Empty blocks at the end.
const END_BLOCKS: u64 = 2;
/// With [`FOLDER`], what fits into a header of any sort of tar.
const NAME_BYTES_MAX: usize = 90;
/// Bytes of a SHA-256 in hexadecimal.
const SUM_CHARS: u64 = 64;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// [`FORMAT`] of the build that made it.
    pub format: u32,
    /// That build.
    pub tallykeep: String,
    /// The cluster's name.
    pub cluster: String,
    /// The node that made it.
    pub node: u64,
    /// The term of the last log entry whose effects are in it.
    pub term: u64,
    /// The index of that entry.
    pub applied: u64,
    /// The cluster's clock then, in ms since the Unix epoch.
    pub clock_ms: u64,
    /// The hash of the state, as `stateHash` in `GET /admin/cluster`.
    pub state_hash: String,
    /// Up to which version the log may hold commands.
    pub version: u8,
    /// The files of the state.
    pub files: Vec<File>,
}

/// A file of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name, without a folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

impl Contents {
    /// The length of the whole archive.
    pub fn archive_bytes(&self) -> u64 {
        let contents = self.to_json().len() as u64;
        let files = self.files.iter().map(|file| padded(file.bytes));
        let sums = self.parts().map(|name| SUM_CHARS + "  \n".len() as u64 + name.len() as u64);
        let headers = self.files.len() as u64 + 2;
        let blocks = (headers + END_BLOCKS) * BLOCK as u64;
        blocks + padded(contents) + files.sum::<u64>() + padded(sums.sum())
    }

    /// Bytes of the state's files together.
    pub fn state_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// The names of what has a checksum.
    fn parts(&self) -> impl Iterator<Item = String> {
        let files = self.files.iter().map(|file| format!("{FOLDER}{}", file.name));
        std::iter::once(CONTENTS.to_owned()).chain(files)
    }

    fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("contents are JSON");
        json.push(b'\n');
        json
    }

    fn from_json(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        // First: what else is in one of a later format is not known.
        let Format { format } = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if format != FORMAT {
            return Err(format!("of format {format}, this build knows format {FORMAT}"));
        }
        let contents: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if contents.files.len() > limits::SNAPSHOT_FILES_MAX {
            return Err(format!("{} files", contents.files.len()));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_plain = |name: &str| {
            let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('.');
            fits && name.bytes().all(plain)
        };
        if let Some(file) = contents.files.iter().find(|file| !is_plain(&file.name)) {
            return Err(format!("a file named {:?}", file.name));
        }
        Ok(contents)
    }

    /// The block in front of a file. All that may differ from one to the next is in the arguments.
    fn header(&self, name: &str, bytes: u64) -> io::Result<Header> {
        let mut header = Header::new_ustar();
        header.set_path(name)?;
        header.set_size(bytes);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.clock_ms / 1000);
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        Ok(header)
    }
}

/// `bytes` in whole blocks.
fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK as u64)
}

/// What is missing to a whole block.
fn padding(bytes: u64) -> &'static [u8] {
    let missing = padded(bytes) - bytes;
    &ZEROS[..usize::try_from(missing).expect("less than a block")]
}

/// Writes an archive of `contents`; `open` gives the bytes of each of its files.
///
/// # Errors
/// If a file cannot be read or is shorter than it should be, or the archive cannot be written.
pub fn write<R: Read>(
    contents: &Contents,
    mut open: impl FnMut(&File) -> io::Result<R>,
    mut to: impl Write,
) -> io::Result<()> {
    let mut sums = Sums::default();
    let json = contents.to_json();
    let sum = write_part(contents, CONTENTS, json.len() as u64, &json[..], &mut to)?;
    sums.add(CONTENTS.to_owned(), 0, sum);
    for file in &contents.files {
        let name = format!("{FOLDER}{}", file.name);
        let sum = write_part(contents, &name, file.bytes, open(file)?, &mut to)?;
        sums.add(name, 0, sum);
    }
    let text = sums.text();
    write_part(contents, SUMS, text.len() as u64, text.as_bytes(), &mut to)?;
    for _ in 0..END_BLOCKS {
        to.write_all(&ZEROS)?;
    }
    to.flush()
}

/// Writes one file of the archive, and gives its hash.
fn write_part(
    contents: &Contents,
    name: &str,
    bytes: u64,
    mut from: impl Read,
    to: &mut impl Write,
) -> io::Result<Sha256> {
    to.write_all(contents.header(name, bytes)?.as_bytes())?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; limits::BACKUP_PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let piece = &mut piece[..limits::BACKUP_PIECE_BYTES.min(whole(left))];
        from.read_exact(piece).map_err(|error| {
            io::Error::new(error.kind(), format!("{name}, of {bytes} bytes: {error}"))
        })?;
        hash.update(&*piece);
        to.write_all(piece)?;
        left -= piece.len() as u64;
    }
    to.write_all(padding(bytes))?;
    Ok(hash)
}

/// What has been hashed: the lines of `SHA256SUMS`.
#[derive(Default)]
struct Sums {
    lines: Vec<Sum>,
}

struct Sum {
    name: String,
    /// Where it begins in an archive that is read.
    position: u64,
    hex: String,
}

impl Sums {
    fn add(&mut self, name: String, position: u64, hash: Sha256) {
        self.lines.push(Sum { name, position, hex: hex::encode(hash.finalize()) });
    }

    fn text(&self) -> String {
        self.lines.iter().map(|Sum { name, hex, .. }| format!("{hex}  {name}\n")).collect()
    }
}

/// Reads an archive and refuses it at the first byte that is not as [`write()`] writes it.
pub struct Reader<R> {
    blocks: Blocks<R>,
    contents: Contents,
    sums: Sums,
}

impl<R: Read> Reader<R> {
    /// Begins to read: tells what the archive is of, which is proven only once all of it is read.
    ///
    /// # Errors
    /// `InvalidData`, with the place, if it is no backup or damaged; or if it cannot be read.
    pub fn open(from: R) -> io::Result<Self> {
        let mut blocks = Blocks { from, position: 0 };
        let mut block = [0; BLOCK];
        blocks.read(&mut block, CONTENTS)?;
        let header = Header::from_byte_slice(&block);
        let bytes = header.size().unwrap_or(u64::MAX);
        if *header.path_bytes() != *CONTENTS.as_bytes() || bytes > limits::BACKUP_CONTENTS_BYTES_MAX
        {
            return Err(damaged(0, CONTENTS, "this is not a backup of tallykeep"));
        }
        let mut json = Vec::new();
        // A piece at a time: what it says of its length may not be so.
        while (json.len() as u64) < bytes {
            let read = json.len();
            json.resize(whole(bytes).min(read + limits::BACKUP_PIECE_BYTES), 0);
            blocks.read(&mut json[read..], CONTENTS)?;
        }
        let contents =
            Contents::from_json(&json).map_err(|why| damaged(BLOCK as u64, CONTENTS, &why))?;
        if block != *contents.header(CONTENTS, bytes)?.as_bytes() {
            return Err(damaged(0, CONTENTS, "a damaged header"));
        }
        blocks.expect(padding(bytes), CONTENTS)?;
        let mut sums = Sums::default();
        sums.add(CONTENTS.to_owned(), BLOCK as u64, Sha256::new_with_prefix(&json));
        Ok(Self { blocks, contents, sums })
    }

    /// What the archive is of.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Reads all of it. `take` gets each piece of each file, with its offset there: what it got is
    /// good once this has returned. Gives the id of the backup, the SHA-256 of its checksums.
    ///
    /// # Errors
    /// As [`Reader::open`], and what `take` fails with.
    pub fn read_all(
        self,
        mut take: impl FnMut(&File, u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<String> {
        let Self { mut blocks, contents, mut sums } = self;
        let mut piece = vec![0; limits::BACKUP_PIECE_BYTES];
        for file in &contents.files {
            let name = format!("{FOLDER}{}", file.name);
            blocks.expect(contents.header(&name, file.bytes)?.as_bytes(), &name)?;
            let position = blocks.position;
            let mut hash = Sha256::new();
            let mut offset = 0;
            while offset < file.bytes {
                let left = whole(file.bytes - offset);
                let piece = &mut piece[..limits::BACKUP_PIECE_BYTES.min(left)];
                blocks.read(piece, &name)?;
                hash.update(&*piece);
                take(file, offset, piece)?;
                offset += piece.len() as u64;
            }
            blocks.expect(padding(file.bytes), &name)?;
            sums.add(name, position, hash);
        }
        let text = sums.text();
        let mut found = vec![0; text.len()];
        blocks.expect(contents.header(SUMS, text.len() as u64)?.as_bytes(), SUMS)?;
        blocks.read(&mut found, SUMS)?;
        let mut found = found.split_inclusive(|byte| *byte == b'\n');
        for Sum { name, position, hex } in &sums.lines {
            if found.next() != Some(format!("{hex}  {name}\n").as_bytes()) {
                return Err(damaged(*position, name, "a wrong checksum"));
            }
        }
        blocks.expect(padding(text.len() as u64), SUMS)?;
        for _ in 0..END_BLOCKS {
            blocks.expect(&ZEROS, "its end")?;
        }
        blocks.end()?;
        Ok(hex::encode(Sha256::digest(text)))
    }
}

/// What is read, and how far.
struct Blocks<R> {
    from: R,
    position: u64,
}

impl<R: Read> Blocks<R> {
    /// Fills `bytes`, which are of `part`.
    fn read(&mut self, mut bytes: &mut [u8], part: &str) -> io::Result<()> {
        while !bytes.is_empty() {
            let read = match self.from.read(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                return Err(damaged(self.position, part, "it ends here, before its end"));
            }
            self.position += read as u64;
            bytes = &mut bytes[read..];
        }
        Ok(())
    }

    /// Reads what can be nothing but `bytes`.
    fn expect(&mut self, bytes: &[u8], part: &str) -> io::Result<()> {
        let position = self.position;
        let mut found = [0; BLOCK];
        let found = &mut found[..bytes.len()];
        self.read(found, part)?;
        match found.iter().zip(bytes).position(|(found, byte)| found != byte) {
            None => Ok(()),
            Some(at) => Err(damaged(position + at as u64, part, "a damaged byte")),
        }
    }

    /// Reads nothing more.
    fn end(&mut self) -> io::Result<()> {
        match io::copy(&mut self.from.by_ref().take(1), &mut io::sink())? {
            0 => Ok(()),
            _ => Err(damaged(self.position, "its end", "something follows")),
        }
    }
}

/// An `InvalidData` that says where.
fn damaged(position: u64, part: &str, why: &str) -> io::Error {
    let message = format!("at byte {position}, in {part}: {why}");
    io::Error::new(ErrorKind::InvalidData, message)
}

/// A length in memory; what is longer than that is as long as memory can be.
fn whole(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODIES: [&[u8]; 4] = [b"CURRENT", b"", &[7; 1024], &[9; 1025]];

    fn contents() -> Contents {
        let files = BODIES.iter().enumerate().map(|(number, body)| File {
            name: format!("{number:06}.sst"),
            bytes: body.len() as u64,
        });
        Contents {
            format: FORMAT,
            tallykeep: "0.1.0".to_owned(),
            cluster: "test".to_owned(),
            node: 2,
            term: 3,
            applied: 4711,
            clock_ms: 1_700_000_000_123,
            state_hash: "00".repeat(32),
            version: 3,
            files: files.collect(),
        }
    }

    fn archive(contents: &Contents) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut bodies = BODIES.iter();
        write(contents, |_| Ok(*bodies.next().unwrap()), &mut bytes).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> io::Result<(Vec<Vec<u8>>, String)> {
        let mut bodies = vec![Vec::new(); BODIES.len()];
        let reader = Reader::open(bytes)?;
        let files = reader.contents().files.clone();
        let id = reader.read_all(|file, offset, piece| {
            let body = files.iter().position(|one| one == file).unwrap();
            assert_eq!(bodies[body].len() as u64, offset);
            bodies[body].extend_from_slice(piece);
            Ok(())
        })?;
        Ok((bodies, id))
    }

    fn refusal(bytes: &[u8]) -> String {
        let error = read(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        error.to_string()
    }

    #[test]
    fn what_is_written_is_read_and_has_the_length_that_was_told() {
        let bytes = archive(&contents());
        assert_eq!(bytes.len() as u64, contents().archive_bytes());
        assert_eq!(Reader::open(&bytes[..]).unwrap().contents(), &contents());
        let (bodies, id) = read(&bytes).unwrap();
        assert_eq!(bodies, BODIES);
        assert_eq!(id, read(&archive(&contents())).unwrap().1, "the same is the same");
        let later = Contents { applied: 4712, ..contents() };
        assert_ne!(id, read(&archive(&later)).unwrap().1);
    }

    #[test]
    fn a_bit_that_flips_in_any_byte_is_found_and_the_place_told() {
        let good = archive(&contents());
        for position in 0..good.len() {
            let mut bytes = good.clone();
            bytes[position] ^= 1 << (position % 8);
            assert!(read(&bytes).is_err(), "byte {position} may be anything");
        }
        let mut bytes = good.clone();
        let body = good.windows(1025).position(|window| window == [9; 1025]).unwrap();
        bytes[body + 1000] ^= 1;
        let told = format!("at byte {body}, in state/000003.sst: a wrong checksum");
        assert_eq!(refusal(&bytes), told);
        bytes[body + 1000] ^= 1;
        bytes[body + 1025] ^= 1;
        let told = format!("at byte {}, in state/000003.sst: a damaged byte", body + 1025);
        assert_eq!(refusal(&bytes), told);
    }

    #[test]
    fn an_archive_that_is_cut_or_goes_on_is_refused() {
        let good = archive(&contents());
        for bytes in 0..good.len() {
            let told = refusal(&good[..bytes]);
            assert!(told.starts_with(&format!("at byte {bytes}, in ")), "{bytes}: {told}");
            assert!(told.ends_with("it ends here, before its end"), "{bytes}: {told}");
        }
        let told = refusal(&[&good[..], &[0]].concat());
        assert!(told.ends_with("in its end: something follows"), "{told}");
    }

    #[test]
    fn what_is_no_backup_or_a_later_one_is_told_from_a_damaged_one() {
        let told = refusal(&[b'x'; 4096]);
        assert!(told.contains("not a backup of tallykeep"), "{told}");
        let told = refusal(&archive(&Contents { format: FORMAT + 1, ..contents() }));
        assert!(told.contains("of format 2, this build knows format 1"), "{told}");
    }

    #[test]
    fn a_file_that_has_become_shorter_ends_the_archive() {
        let error = write(&contents(), |_| Ok(&b"CURR"[..]), io::sink()).unwrap_err();
        assert!(error.to_string().contains("state/000000.sst, of 7 bytes"), "{error}");
    }
}
