//! The house rules that no compiler checks: who may know whom, and which room knows which library.
//!
//! Reads the sources as text. Comments and unit tests are not looked at.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the modules of the crate that it may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("machine", &["codec", "limits"]),
    ("query", &["codec", "error", "limits", "machine", "spreadsheet"]),
    ("storage", &["codec", "limits", "machine", "metrics", "query"]),
    ("tls", &["clock", "limits"]),
    ("certs", &["clock", "limits", "tls"]),
    ("peer", &["codec", "limits", "tls"]),
    (
        "raft",
        &[
            "archive", "clock", "codec", "error", "limits", "machine", "metrics", "peer", "query",
            "storage",
        ],
    ),
    ("trace", &["clock", "limits", "metrics", "tls"]),
    ("propose", &["codec", "error", "limits", "machine", "metrics", "peer", "raft", "trace"]),
    (
        "http",
        &[
            "archive", "bindings", "error", "limits", "machine", "metrics", "propose", "query",
            "raft", "secret", "tls", "trace",
        ],
    ),
    ("client", &["archive", "clock", "limits", "secret", "spreadsheet", "tls"]),
];

/// Each library that a room hides from the others, or two.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("axum", &["http"]),
    ("openraft", &["raft"]),
    ("prometheus", &["metrics"]),
    ("rcgen", &["certs"]),
    ("reqwest", &["client", "trace"]),
    ("rocksdb", &["storage"]),
    ("rustls", &["tls"]),
    ("x509_cert", &["tls"]),
];

/// What must not stand in the sources at all.
const BANNED: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The lines of a file that are neither comments nor unit tests, with their numbers.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut test_only = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        // A test module stands last in its file, or is a file of its own.
        if test_only && (line.starts_with("mod ") && line.ends_with('{')) {
            break;
        }
        test_only = line == "#[cfg(test)]" || (test_only && line.starts_with("#["));
        if !line.starts_with("//") {
            lines.push((number + 1, line.to_owned()));
        }
    }
    lines
}

/// Files that are compiled for tests alone, by their names.
fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_string_lossy();
    ["tests", "golden", "model", "memory", "invariants"].contains(&&*name)
        || name.ends_with("_tests")
}

/// The modules of the crate that a line names: what follows each `crate::`.
fn named(line: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut modules = Vec::new();
    for rest in line.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            // A list that goes on in the next line gives an empty word, which no room may name.
            Some(list) => modules.extend(
                list.split([',', '}'])
                    .take_while(|part| *part != ";")
                    .map(|part| word(part.trim())),
            ),
            None => modules.push(word(rest)),
        }
    }
    modules
}

#[test]
fn rooms_know_only_those_below_them() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (room, allowed) in ROOMS {
        for path in sources(&root().join("src").join(room)).into_iter().filter(|p| !is_test(p)) {
            seen += 1;
            for (number, line) in code(&path) {
                for module in named(&line) {
                    if module != *room && !allowed.contains(&module.as_str()) {
                        wrong.push(format!("{}:{number}: {module}", path.display()));
                    }
                }
            }
        }
    }
    assert!(seen > 40, "the rooms were not found");
    assert!(wrong.is_empty(), "a room knows what it must not:\n{}", wrong.join("\n"));
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    let src = root().join("src");
    for path in sources(&src).into_iter().filter(|path| !is_test(path)) {
        for (library, rooms) in LIBRARIES {
            if rooms.iter().any(|room| path.starts_with(src.join(room))) {
                continue;
            }
            for (number, line) in code(&path) {
                // What stands in quotes is not code: a filter of log lines, for instance.
                let unquoted: String = line.split('"').step_by(2).collect();
                if unquoted.contains(&format!("{library}::")) {
                    wrong.push(format!("{}:{number}: {library}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "a library outside its room:\n{}", wrong.join("\n"));
}

#[test]
fn the_wall_clock_is_read_in_one_file() {
    let src = root().join("src");
    let readers: Vec<PathBuf> = sources(&src)
        .into_iter()
        .filter(|path| code(path).iter().any(|(_, line)| line.contains("SystemTime::now(")))
        .collect();
    assert_eq!(readers, [src.join("clock.rs")]);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut wrong = Vec::new();
    for path in sources(&root().join("src")) {
        for (number, line) in code(&path) {
            for word in BANNED.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{number}: {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "unfinished:\n{}", wrong.join("\n"));
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest: toml::Table =
        fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let wanted = ["dependencies", "dev-dependencies"]
        .into_iter()
        .flat_map(|table| manifest[table].as_table().unwrap().keys().cloned());
    let text = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ")).skip(1);
    let told: Vec<_> = rows.map(|row| row.split('|').nth(1).unwrap().trim().to_owned()).collect();
    assert_eq!(told, wanted.collect::<Vec<_>>(), "docs/dependencies.md and Cargo.toml");
}

#[test]
fn every_decision_is_numbered_and_listed() {
    let dir = root().join("docs/decisions");
    let mut names: Vec<String> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    names.sort();
    let index = fs::read_to_string(dir.join("README.md")).unwrap();
    for (position, name) in names.iter().enumerate() {
        let number = format!("{:04}-", position + 1);
        assert!(name.starts_with(&number), "{name} should start with {number}");
        assert!(index.contains(name.as_str()), "docs/decisions/README.md does not list {name}");
    }
    assert!(!names.is_empty());
}
