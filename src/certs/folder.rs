//! The folder of a CA: names of files, and how they are written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Error;
use super::authority::{self, Authority};
use crate::tls::Certificate;

/// Readable by all: a certificate is shown to anybody who connects.
const CERTIFICATE_MODE: u32 = 0o644;
const KEY_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

pub(super) struct Folder {
    path: PathBuf,
}

/// Two files, and what belongs into them.
pub(super) struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    content: authority::Pair,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn pair(&self, stem: &str, content: authority::Pair) -> Pair {
        let file = |extension: &str| self.path.join(format!("{stem}.{extension}"));
        Pair { certificate: file("crt"), key: file("key"), content }
    }

    pub(super) fn ca(&self, content: authority::Pair) -> Pair {
        self.pair("ca", content)
    }

    pub(super) fn node(&self, id: u64, content: authority::Pair) -> Pair {
        self.pair(&format!("node{id}"), content)
    }

    pub(super) fn load_ca(&self, now_ms: u64) -> Result<Authority, Error> {
        let (certificate, key) = (self.path.join("ca.crt"), self.path.join("ca.key"));
        let read = |path: &Path| fs::read_to_string(path).map_err(failed(path));
        let pair = authority::Pair { certificate: read(&certificate)?, key: read(&key)? };
        Authority::load(&certificate, pair, now_ms)
    }

    /// The ids of the nodes that have a certificate here.
    pub(super) fn node_ids(&self) -> Result<Vec<u64>, Error> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed(&self.path))? {
            let name = entry.map_err(failed(&self.path))?.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix("node")?.strip_suffix(".crt"));
            ids.extend(id.and_then(|id| id.parse::<u64>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// The names in the certificate of a node, which has to be that of `own_name`.
    pub(super) fn names_of(&self, id: u64, own_name: &str) -> Result<Vec<String>, Error> {
        let path = self.path.join(format!("node{id}.crt"));
        let names = Certificate::load(&path)?.remove(0).names;
        if names.iter().any(|name| name == own_name) {
            return Ok(names);
        }
        Err(Error::Authority { path, why: format!("is not made out to {own_name}") })
    }

    /// Writes new files; if one of them is there already, none.
    pub(super) fn create(&self, pairs: &[Pair]) -> Result<(), Error> {
        let mut files = pairs.iter().flat_map(|pair| [&pair.key, &pair.certificate]);
        if let Some(path) = files.find(|path| path.exists()) {
            return Err(Error::Exists(path.clone()));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(&self.path)
            .map_err(failed(&self.path))?;
        for Pair { certificate, key, content } in pairs {
            write(key, KEY_MODE, &content.key, true)?;
            write(certificate, CERTIFICATE_MODE, &content.certificate, true)?;
        }
        Ok(())
    }

    /// Puts files in the place of others, each whole at every moment.
    pub(super) fn replace(&self, pairs: &[Pair]) -> Result<(), Error> {
        for Pair { certificate, key, content } in pairs {
            let new = |path: &Path| path.with_added_extension("new");
            write(&new(key), KEY_MODE, &content.key, false)?;
            write(&new(certificate), CERTIFICATE_MODE, &content.certificate, false)?;
            for path in [key, certificate] {
                fs::rename(new(path), path).map_err(failed(path))?;
            }
        }
        Ok(())
    }

    /// Prints which files there are now.
    pub(super) fn announce(&self, pairs: &[Pair]) {
        for Pair { certificate, key, .. } in pairs {
            println!("{}\n{}", certificate.display(), key.display());
        }
    }
}

fn write(path: &Path, mode: u32, text: &str, is_new: bool) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).mode(mode).create_new(is_new).create(!is_new).truncate(!is_new);
    let written = options.open(path).and_then(|mut file: File| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}
