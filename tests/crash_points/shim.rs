//! The library that counts a node's steps and ends it at one.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::point::{Loss, Point};
use super::power;

/// `steps.c`, compiled.
pub struct Shim {
    library: PathBuf,
    _dir: tempfile::TempDir,
}

/// Where one node's shim writes: beside the node's data, and never in it.
pub struct Traces {
    data: PathBuf,
    steps: PathBuf,
    undo: PathBuf,
}

impl Shim {
    /// Compiles it, with the compiler that RocksDB needs too.
    pub fn compile() -> Self {
        let dir = tempfile::tempdir().expect("a folder for temporary files");
        let library = dir.path().join("steps.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash_points/steps.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&library, &source])
            .status();
        assert!(compiled.expect("a C compiler").success(), "steps.c does not compile");
        Self { library, _dir: dir }
    }
}

impl Traces {
    /// Of the node whose data folder is `data`.
    pub fn of(data: &Path) -> Self {
        let parent = data.parent().expect("a data folder is in a folder");
        // The kernel names files by their true paths, the node by the configured ones.
        let real = parent.canonicalize().expect("a folder that is there");
        assert_eq!(real, parent, "TMPDIR must be without symbolic links");
        Self { data: data.to_owned(), steps: parent.join("steps"), undo: parent.join("undo") }
    }

    /// Forgets what an earlier life of the node left.
    pub fn clear(&self) {
        if self.undo.exists() {
            fs::remove_dir_all(&self.undo).expect("a folder of ours");
        }
        fs::create_dir(&self.undo).expect("a new folder");
        fs::write(&self.steps, "").expect("a file of ours");
    }

    /// The environment of a node that counts its steps, and ends at `point` if there is one.
    pub fn environment(&self, shim: &Shim, point: Option<&Point>) -> Vec<(&'static str, OsString)> {
        let path = |path: &Path| path.as_os_str().to_owned();
        let mut environment = vec![
            ("LD_PRELOAD", path(&shim.library)),
            ("CRASH_FOLDER", path(&self.data)),
            ("CRASH_STEPS", path(&self.steps)),
        ];
        if let Some(point) = point {
            environment.push(("CRASH_AT", point.step().into()));
            if point.loss != Loss::Killed {
                environment.push(("CRASH_UNDO", path(&self.undo)));
            }
        }
        environment
    }

    /// The steps that were made so far.
    pub fn steps(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.steps).expect("a file of ours");
        text.lines().map(str::to_owned).collect()
    }

    /// What the end of the node does beyond it: a power cut takes what was not synced.
    pub fn lose(&self, loss: Loss) {
        match loss {
            Loss::Killed => {}
            Loss::Unplugged(seed) => power::cut(&self.data, &self.undo, seed),
        }
    }
}

/// An environment as [`std::process::Command`] takes it.
pub fn borrowed<'a>(environment: &'a [(&'static str, OsString)]) -> Vec<(&'a str, &'a OsStr)> {
    environment.iter().map(|(name, value)| (*name, value.as_os_str())).collect()
}
