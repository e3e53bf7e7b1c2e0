//! `scripts/chaos.sh` in its short form: real nodes, real faults, and clients whose every answer is
//! judged. And the tests of the judges, which are Python, with planted violations.

use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command to its end, and shows what it told if it failed.
fn succeeds(command: &mut Command) {
    let output = command.current_dir(root()).output().expect("the command starts");
    let (told, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{complaint}\n{told}", output.status);
}

#[test]
fn the_judges_find_planted_violations() {
    let discover = ["-B", "-m", "unittest", "discover", "-s", "scripts/chaos", "-p", "test_*.py"];
    succeeds(Command::new("python3").args(discover));
}

#[test]
fn no_promise_is_broken_by_four_faults() {
    let binary = env!("CARGO_BIN_EXE_tallykeep");
    succeeds(Command::new("scripts/chaos.sh").arg("--quick").env("TALLYKEEP_BIN", binary));
}
