//! `tallykeep config`: what a node's file means, or what is wrong with it, without a node.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tallykeep::config::Settings;

const FILE: &str = r#"cluster = "test"
id = 1
data = "data"

[[nodes]]
id = 1
http = "127.0.0.1:7001"
peer = "127.0.0.1:7101"
"#;

fn tallykeep(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_tallykeep");
    Command::new(program).args(arguments).output().expect("the program starts")
}

fn check(path: &Path, more: &[&str]) -> Output {
    tallykeep(&[&["config", "check", path.to_str().unwrap()], more].concat())
}

/// What is said of a file that is no good, and that nothing is printed.
fn refusal(path: &Path, text: &str) -> String {
    fs::write(path, text).unwrap();
    let output = check(path, &[]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(output.stdout.is_empty(), "{text}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_is_in_force_is_printed_as_a_file_that_means_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    fs::write(&path, FILE).unwrap();
    let output = check(&path, &[]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for line in ["cluster = \"test\"", "retention = \"30d\"", "[raft]", "election_max_ms = 600"] {
        assert!(text.lines().any(|told| told == line), "no {line} in\n{text}");
    }
    let again = folder.path().join("again.toml");
    fs::write(&again, &text).unwrap();
    let (first, again) = (Settings::load(&path).unwrap(), Settings::load(&again).unwrap());
    assert_eq!(first.in_force(), again.in_force());

    let output = check(&path, &["--json", "--data", "/elsewhere"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["data"], "/elsewhere");
    assert_eq!(json["nodes"][0]["peer"], "127.0.0.1:7101");
    assert!(!folder.path().join("data").exists(), "no data is touched");
}

#[test]
fn what_serve_would_refuse_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    for (text, told) in [
        (FILE.replace("id = 1\ndata", "id = \"one\"\ndata"), "line 2"),
        (FILE.replace("data =", "dat ="), "line 3"),
        (format!("retention = \"1ms\"\n{FILE}"), "retention must be from"),
        (format!("wrangler = \"none.toml\"\n{FILE}"), "none.toml"),
        (format!("http = \"0.0.0.0:7001\"\n{FILE}"), "0.0.0.0:7001"),
        (format!("{FILE}\n[tls.clients]\ncertificate = \"none.crt\"\nkey = \"none.key\""), "none."),
    ] {
        let said = refusal(&path, &text);
        assert!(said.contains(told) && said.contains("node.toml"), "{text}\n{said}");
    }
    fs::write(&path, format!("http = \"0.0.0.0:7001\"\n{FILE}")).unwrap();
    assert_eq!(check(&path, &["--insecure"]).status.code(), Some(0));
    fs::remove_file(&path).unwrap();
    assert_eq!(check(&path, &[]).status.code(), Some(1));
    assert_eq!(tallykeep(&["config", "check"]).status.code(), Some(2));
}

#[test]
fn the_reference_is_the_page() {
    let output = tallykeep(&["config", "settings"]);
    assert_eq!(output.status.code(), Some(0));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    let reference = String::from_utf8(output.stdout).unwrap();
    assert!(fs::read_to_string(page).unwrap().contains(&reference));
}

/// The files that `cluster/` gives people to begin with.
#[test]
fn every_example_is_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster");
    for path in
        ["node1", "node2", "node3", "debian/node", "docker/node1", "docker/node2", "docker/node3"]
    {
        let output = check(&root.join(format!("{path}.toml")), &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{path}: {said}");
    }
    // In a ConfigMap, a file is indented below its name. Certificates are not there to be read.
    let text = fs::read_to_string(root.join("kubernetes/config.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut lists = Vec::new();
    for id in 1..=3 {
        let head = format!("  tallykeep-{}.toml: |\n", id - 1);
        let (_, file) = text.split_once(&head).expect("a file for each pod");
        let lines = file.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
        let file: String = lines.map(|line| format!("{}\n", line.trim_start())).collect();
        let path = folder.path().join("node.toml");
        fs::write(&path, file).unwrap();
        let settings = Settings::load(&path).unwrap();
        assert_eq!(settings.id, id);
        let key = settings.tls.peers.as_ref().unwrap().key.clone();
        assert!(key.ends_with(format!("node{id}.key")));
        lists.push(settings.nodes);
    }
    assert!(lists.iter().all(|list| *list == lists[0]), "all nodes list the same");
}
