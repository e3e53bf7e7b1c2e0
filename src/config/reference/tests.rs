use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;

/// A file that sets everything.
const FULL: &str = r#"
    cluster = "full"
    id = 1
    data = "/data"
    http = "0.0.0.0:7001"
    peer = "0.0.0.0:7101"
    wrangler = "/etc/wrangler.toml"
    environment = "production"
    abandoned_classes = ["AuditLogger"]
    retention = "36h"
    snapshot_log_bytes = 1000000
    version_max = 2
    connections_per_address_max = 7
    insecure = true
    policies = [{ binding = "LIMITS", type = "wix", requests = 1, window = "1500ms" }]
    quotas = [{ binding = "LIMITS", object_bytes_max = 70000, objects_max = 8 }]
    nodes = [
        { id = 1, http = "one.example:7001", peer = "one.example:7101" },
        { id = 2, http = "two.example:7001", peer = "two.example:7101" },
    ]
    raft = { heartbeat_ms = 100, election_min_ms = 400, election_max_ms = 900 }
    idempotency = { retention = "7d", answers_max = 5 }
    storage = { block_cache_bytes = 2000000, write_buffer_bytes = 3000000, disk_reserve_bytes = 4 }
    tls.peers = { ca = "/c", certificate = "/p", key = "/k" }
    tls.clients = { certificate = "/p", key = "/k" }
    auth.operator_sha256 = ["00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"]
    telemetry = { endpoint = "http://collector:4318", ca = "/c", sampling_ratio = 0.5, slow_request = "5s" }
"#;

fn parse(text: &str) -> Result<Settings, String> {
    Settings::parse(text, Path::new("/etc"))
}

/// The table of that name in a file; the first where there are several.
fn table<'a>(file: &'a mut toml::Table, name: &str) -> &'a mut toml::Table {
    name.split('.').filter(|part| !part.is_empty()).fold(file, |table, part| {
        match table.get_mut(part).unwrap() {
            Value::Array(list) => list[0].as_table_mut().unwrap(),
            one => one.as_table_mut().unwrap(),
        }
    })
}

/// What a file says that sets all, but for `change` of one table.
fn changed(name: &str, change: impl FnOnce(&mut toml::Table)) -> Result<Settings, String> {
    let mut file: toml::Table = FULL.parse().unwrap();
    // A name that can stand in a certificate has bounds of its own.
    if !name.starts_with("tls") {
        file.remove("tls");
    }
    change(table(&mut file, name));
    parse(&file.to_string())
}

#[test]
fn every_setting_is_told_and_no_other() {
    let mut told = BTreeSet::new();
    for Table { name, settings, .. } in TABLES {
        let parts: Vec<&str> = name.split('.').filter(|part| !part.is_empty()).collect();
        for end in 0..parts.len() {
            told.insert((parts[..end].join("."), parts[end].to_owned()));
        }
        told.extend(settings.iter().map(|one| ((*name).to_owned(), one.name.to_owned())));
    }
    // The reader itself says which there are, when it meets one that is not.
    let mut known = BTreeSet::new();
    for name in TABLES.iter().map(|table| table.name).chain(["tls"]) {
        let said = changed(name, |table| {
            table.insert("no_such_setting".into(), Value::Integer(1));
        });
        let said = said.unwrap_err();
        let (_, expected) = said.split_once("expected").expect("which there are");
        for setting in expected.split('`').skip(1).step_by(2) {
            known.insert((name.to_owned(), setting.to_owned()));
        }
    }
    assert_eq!(told, known);
}

#[test]
fn what_must_be_set_is_told() {
    for table in TABLES {
        for Setting { name, default, .. } in table.settings {
            let without = changed(table.name, |of| {
                of.remove(*name).expect("a full file has it");
                // What is of no use without it.
                if *name == "wrangler" {
                    of.remove("environment");
                }
            });
            let is_required = matches!(default, Default::Required);
            assert_eq!(without.is_err(), is_required, "{}.{name}: {without:?}", table.name);
        }
    }
}

#[test]
fn bounds_are_where_they_are_told() {
    for table in TABLES {
        for Setting { name, bounds, .. } in table.settings {
            let integer = |number: u64| Value::Integer(number.try_into().unwrap());
            let length = |bytes: u64| Value::String("x".repeat(bytes.try_into().unwrap()));
            let in_ms = |ms: u64| Value::String(format!("{ms}ms"));
            let (edges, value): (_, &dyn Fn(u64) -> Value) = match *bounds {
                Bounds::Any | Bounds::Said(_) => continue,
                Bounds::From(least) => ([least, i64::MAX.unsigned_abs()], &integer),
                Bounds::Between(least, most) => ([least, most], &integer),
                Bounds::Length(least, most) => ([least, most], &length),
                Bounds::Spans(least, most) => ([least, most], &in_ms),
            };
            let set = |number| {
                changed(table.name, |of| {
                    of.insert((*name).into(), value(number));
                })
            };
            let [least, most] = edges;
            for good in edges {
                set(good).unwrap_or_else(|said| panic!("{}.{name} {good}: {said}", table.name));
            }
            let beyond = (most < i64::MAX.unsigned_abs()).then_some(most + 1);
            for bad in least.checked_sub(1).into_iter().chain(beyond) {
                assert!(set(bad).is_err(), "{}.{name} {bad}", table.name);
            }
        }
    }
}

#[test]
fn what_is_in_force_is_a_file_that_means_the_same() {
    for settings in [Settings::shortest(), Settings::dev("/data".into()), parse(FULL).unwrap()] {
        let file = settings.in_force();
        let again = Settings::parse(&file, Path::new(""));
        let again = again.unwrap_or_else(|said| panic!("{said}\n{file}"));
        assert_eq!(again.in_force(), file);
        // Where to listen is told where it was left to the list of nodes.
        let as_told = Settings { http: again.http.clone(), peer: again.peer.clone(), ..settings };
        assert_eq!(again, as_told);
    }
}

#[test]
fn the_page_of_settings_is_made_of_them() {
    const BEGIN: &str = "<!-- from here it is what `tallykeep config settings` prints -->\n\n";
    const END: &str = "\n<!-- to here -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (told, after) = rest.split_once(END).unwrap();
    // As golden scripts are written anew.
    if std::env::var("UPDATE_GOLDENFILES").as_deref() == Ok("1") {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", page())).unwrap();
        return;
    }
    assert_eq!(told, page(), "UPDATE_GOLDENFILES=1 writes docs/settings.md");
}

#[test]
fn spans_and_bytes_are_told_in_their_greatest_unit() {
    for (ms, told) in [
        (0, "0ms"),
        (1, "1ms"),
        (1_500, "1500ms"),
        (60_000, "1m"),
        (5_400_000, "90m"),
        (172_800_000, "2d"),
    ] {
        assert_eq!(span(ms), told);
        assert_eq!(humantime::parse_duration(told).unwrap().as_millis(), u128::from(ms));
    }
    assert_eq!(span(limits::RETENTION_MS_MAX), "10years");
    assert_eq!(bytes_in_words(1 << 26), "`67108864` (64 MiB)");
    assert_eq!(bytes_in_words(1000), "`1000`");
}
