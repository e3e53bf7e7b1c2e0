//! Every sample of the README is an example of this package, word for word, and does what the README
//! says.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::fake::dead_endpoint;
use crate::nodes::Cluster;

const README: &str = include_str!("../../README.md");
/// In the order of the README.
const EXAMPLES: [&str; 4] = ["start", "fail_open", "audit_log", "errors"];

/// The samples, each with the output that stands behind it.
fn samples() -> Vec<(&'static str, &'static str)> {
    README
        .split("```rust\n")
        .skip(1)
        .map(|rest| {
            let (code, rest) = rest.split_once("```\n").unwrap();
            let (output, _) = rest.strip_prefix("```text\n").unwrap().split_once("```\n").unwrap();
            (code, output)
        })
        .collect()
}

/// Examples are built beside the tests.
fn program(example: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().with_file_name("examples").join(example)
}

#[test]
fn samples_are_examples_and_there_is_no_code_that_is_none() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let samples = samples();
    assert_eq!(samples.len(), EXAMPLES.len());
    for ((code, _), example) in samples.iter().zip(EXAMPLES) {
        let file = folder.join(format!("{example}.rs"));
        assert_eq!(*code, std::fs::read_to_string(&file).unwrap(), "{}", file.display());
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), EXAMPLES.len());
    let fences: Vec<_> =
        README.lines().filter(|line| line.starts_with("```") && line.len() > 3).collect();
    assert_eq!(
        fences,
        [
            "```toml", "```rust", "```text", "```rust", "```text", "```rust", "```text", "```rust",
            "```text"
        ]
    );
}

#[tokio::test]
async fn samples_do_what_the_readme_says() {
    let cluster = Cluster::start(1).await;
    for ((_, output), example) in samples().into_iter().zip(EXAMPLES) {
        let endpoints = match example {
            "errors" => dead_endpoint().await,
            _ => cluster.endpoints().join(","),
        };
        let ran = Command::new(program(example))
            .env("TALLYKEEP_ENDPOINTS", endpoints)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success() && stderr.is_empty(), "{example}: {stderr}");
        assert_eq!(stdout, output, "{example}");
    }
}
