//! One node as a process.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::wait_until;

/// Lines of a log that are shown when a test fails.
const TAIL_LINES: usize = 60;

/// A node's files and, while it runs, its process.
pub(super) struct Node {
    pub(super) id: u64,
    pub(super) config: PathBuf,
    data: PathBuf,
    log: PathBuf,
    child: Option<Child>,
    is_paused: bool,
}

impl Node {
    /// A node that does not run yet, with its configuration in `dir`.
    pub(super) fn new(id: u64, dir: &Path, config: &str) -> Self {
        let path = dir.join(format!("node{id}.toml"));
        fs::write(&path, config).expect("a file in a temporary folder");
        let (data, log) = (dir.join(format!("data{id}")), dir.join(format!("node{id}.log")));
        Self { id, config: path, data, log, child: None, is_paused: false }
    }

    pub(super) fn is_active(&self) -> bool {
        self.child.is_some() && !self.is_paused
    }

    /// Starts the process, with `environment` beside what it always gets.
    pub(super) fn start(&mut self, environment: &[(&str, &OsStr)]) {
        assert!(self.child.is_none(), "node {} runs already", self.id);
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let child = tallykeep()
            .args(["serve", "--config"])
            .arg(&self.config)
            .envs(environment.iter().copied())
            .stderr(log)
            .spawn()
            .expect("the built binary starts");
        self.child = Some(child);
    }

    /// The id of the process.
    pub(super) fn process(&self) -> u32 {
        self.child.as_ref().expect("the node runs").id()
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        let pid = self.child.as_ref().expect("the node runs").id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let number = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
        number.expect("a number of KiB") * 1024
    }

    /// How the process ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("a child can be waited for")
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            child.kill().ok();
            child.wait().expect("a child can be waited for");
        }
        self.is_paused = false;
    }

    pub(super) async fn terminate(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        self.signal("TERM");
        let id = self.id;
        let status = wait_until(&format!("node {id} ends after SIGTERM"), async || {
            self.ended().ok_or_else(|| "it runs".to_owned())
        })
        .await;
        let elapsed = began.elapsed();
        self.child = None;
        (status, elapsed)
    }

    pub(super) fn pause(&mut self) {
        self.signal("STOP");
        self.is_paused = true;
    }

    pub(super) fn resume(&mut self) {
        self.signal("CONT");
        self.is_paused = false;
    }

    pub(super) fn wipe(&self) {
        assert!(self.child.is_none(), "node {} runs", self.id);
        fs::remove_dir_all(&self.data).expect("the node had data");
    }

    pub(super) fn reconfigure(&self, from: &str, to: &str) {
        assert!(self.child.is_none(), "node {} runs", self.id);
        let text = fs::read_to_string(&self.config).expect("a configuration");
        assert!(text.contains(from), "{text}");
        fs::write(&self.config, text.replace(from, to)).expect("a file in a temporary folder");
    }

    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub(super) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    pub(super) fn signal(&self, name: &str) {
        let pid = self.process().to_string();
        // The shell's own `kill`: not every machine has one as a program.
        let script = "kill -s \"$1\" \"$2\"";
        let sent = Command::new("sh").args(["-c", script, "sh", name, &pid]).status();
        assert!(sent.expect("a shell").success(), "SIG{name} was not sent");
    }
}

/// The built binary, with nothing of the developer's environment that would change it.
fn tallykeep() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallykeep"));
    command
        .env_remove("TALLYKEEP_CA")
        .env_remove("TALLYKEEP_DATA")
        .env_remove("TALLYKEEP_ENDPOINT")
        .env_remove("TALLYKEEP_LOG")
        .env_remove("TALLYKEEP_TOKEN")
        .env_remove("TALLYKEEP_TOKEN_FILE")
        // Logs without escapes can be searched.
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

/// A run of the binary beside the cluster; killed when it is dropped.
pub struct Exit {
    child: Child,
    dir: tempfile::TempDir,
}

/// Runs the binary with these arguments, which has to succeed; gives its standard output.
pub fn run_to_end<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    let output = tallykeep().args(arguments).output().expect("the built binary starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

/// Starts the binary with these arguments.
pub fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Exit {
    run_with(arguments, &[])
}

/// The same, with this on its standard input.
pub fn run_from<S: AsRef<OsStr>>(arguments: &[S], input: Stdio) -> Exit {
    start(tallykeep().args(arguments).stdin(input))
}

/// The same, with these variables in its environment.
pub fn run_with<S: AsRef<OsStr>>(arguments: &[S], environment: &[(&str, &OsStr)]) -> Exit {
    start(tallykeep().args(arguments).envs(environment.iter().copied()))
}

fn start(command: &mut Command) -> Exit {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let file = |name: &str| File::create(dir.path().join(name)).expect("a file for the output");
    let child = command
        .current_dir(dir.path())
        .stdout(file("stdout"))
        .stderr(file("stderr"))
        .spawn()
        .expect("the built binary starts");
    Exit { child, dir }
}

impl Exit {
    /// How the run ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for its end; gives the exit code, standard output and standard error.
    pub async fn output(&mut self) -> (Option<i32>, String, String) {
        let status = wait_until("the command ends", async || {
            self.ended().ok_or_else(|| "it runs".to_owned())
        })
        .await;
        (status.code(), self.read("stdout"), self.read("stderr"))
    }

    /// The folder in which it runs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has told so far on standard error.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.dir.path().join(name)).expect("the output's file");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().expect("a child can be waited for");
    }
}
