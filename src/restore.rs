//! `tallykeep restore`: nodes that are new begin with the state of a backup.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use chrono::{DateTime, SecondsFormat};
use indicatif::HumanBytes;

use crate::archive::{Contents, Reader};
use crate::client::bar;
use crate::config::Settings;
use crate::machine::check_version;
use crate::raft::{self, Stores};
use crate::server::{members, open_any_stores};
use crate::storage::{FileEntry, Manifest, Restoring, free_bytes};

/// Reads all of a backup, and says what it holds.
///
/// # Errors
/// If it cannot be read; `InvalidData`, with the place, if it is not whole and unaltered.
pub fn check(file: &Path) -> io::Result<()> {
    let reader = open(file)?;
    let contents = reader.contents().clone();
    let id = reader.read_all(|_, _, _| Ok(())).map_err(|error| of(file, &error))?;
    println!("cluster     {}", contents.cluster);
    println!("entry       {} of term {}", contents.applied, contents.term);
    println!("clock       {}", time(contents.clock_ms));
    println!("state hash  {}", contents.state_hash);
    println!("state       {}", HumanBytes(contents.state_bytes()));
    println!("made by     node {}, tallykeep {}", contents.node, contents.tallykeep);
    println!("id          {id}");
    println!("The backup is whole.");
    Ok(())
}

/// Puts the state of a backup in the data folder of a node that is new, as one of a cluster of all the
/// nodes that the settings list.
///
/// # Errors
/// If there is data already, the backup is not whole and unaltered or not of the cluster that the
/// settings name (unless `any_cluster`), or something cannot be written. The data folder is then as it
/// was.
pub async fn run(settings: Settings, file: &Path, any_cluster: bool) -> io::Result<()> {
    let reader = open(file)?;
    let contents = reader.contents().clone();
    check_fit(&settings, &contents, any_cluster)?;
    let restoring = Restoring::begin(&settings.data)?;
    let (free, wanted) = (free_bytes(&settings.data)?, contents.state_bytes());
    if free < wanted {
        let message = format!(
            "the state takes {}, and {} has {} left",
            HumanBytes(wanted),
            settings.data.display(),
            HumanBytes(free)
        );
        return Err(io::Error::new(ErrorKind::StorageFull, message));
    }
    let stores = open_any_stores(&settings).await?;
    let unpacked = tokio::task::spawn_blocking(move || {
        let id = unpack(reader, &stores)?;
        Ok::<_, io::Error>((id, stores))
    });
    let unpacked = unpacked.await.map_err(io::Error::other)?;
    let (id, stores) = unpacked.map_err(|error| of(file, &error))?;
    let (node, nodes) = (settings.id, members(&settings));
    let ids: Vec<String> = nodes.keys().map(u64::to_string).collect();
    raft::begin_restored(&settings.data, &stores, id.clone(), &contents, node, nodes).await?;
    let closed = tokio::task::spawn_blocking(move || {
        let (log, state, _) = stores;
        // Every row is read, so that none is damaged.
        let hash = state.snapshot()?.content_hash()?;
        log.close()?;
        Ok::<_, io::Error>(hash)
    });
    let hash = closed.await.map_err(io::Error::other)??;
    restoring.finish()?;
    println!(
        "node {node} has the state of cluster {:?} at entry {} of term {}, {}",
        contents.cluster,
        contents.applied,
        contents.term,
        time(contents.clock_ms)
    );
    println!("backup      {id}");
    println!("state hash  {}", contents.state_hash);
    println!("hash        {}", hex::encode(hash));
    println!(
        "The nodes of the new cluster are {}. None of them takes part before all have been restored from \
         this backup and started.",
        ids.join(", ")
    );
    Ok(())
}

/// Whether a backup is for the cluster of these settings.
fn check_fit(settings: &Settings, contents: &Contents, any_cluster: bool) -> io::Result<()> {
    if settings.cluster != contents.cluster && !any_cluster {
        let message = format!(
            "this is a backup of cluster {:?}, and the configuration is of {:?}; with --any-cluster it is \
             restored all the same. Without a `wrangler` file the names of objects then lead to other \
             objects",
            contents.cluster, settings.cluster
        );
        return Err(io::Error::new(ErrorKind::InvalidInput, message));
    }
    check_version(contents.version, settings.version_max)
}

/// Puts the state in the place of the empty one, and gives the backup's id.
fn unpack(reader: Reader<impl Read>, (_, state, snapshots): &Stores) -> io::Result<String> {
    let files = reader.contents().files.iter();
    let files =
        files.map(|file| FileEntry { name: file.name.clone(), bytes: file.bytes, crc32: 0 });
    let manifest = Manifest { meta: Vec::new(), files: files.collect() };
    let mut incoming = snapshots.receive(manifest)?;
    let mut crc = crc32fast::Hasher::new();
    let id = reader.read_all(|file, offset, piece| {
        incoming.write(&file.name, offset, piece)?;
        crc.update(piece);
        if offset + piece.len() as u64 == file.bytes {
            // What was read is about to be proven; this proves what was written.
            incoming.set_checksum(&file.name, std::mem::take(&mut crc).finalize());
        }
        Ok(())
    })?;
    let snapshot = incoming.finish()?;
    state.install(snapshot.path())?;
    Ok(id)
}

fn open(path: &Path) -> io::Result<Reader<impl Read + Send + 'static>> {
    let file = File::open(path).map_err(|error| of(path, &error))?;
    let bytes = file.metadata().map_err(|error| of(path, &error))?.len();
    Reader::open(BufReader::new(bar(bytes).wrap_read(file))).map_err(|error| of(path, &error))
}

/// `error`, with the file that it is about.
fn of(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    time.map_or(ms.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
