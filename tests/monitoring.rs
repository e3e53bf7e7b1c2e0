//! The dashboard and the alert rules of `cluster/`: they ask for metrics that there are, and every alert has
//! its heading in the operator's book. What the rules say of them is promtool's to test
//! (`scripts/test-monitoring.sh`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tallykeep::limits;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The metrics of docs/metrics.md, which a test of `src/metrics` holds to the code.
fn told() -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let words = page.split('`').skip(1).step_by(2);
    let names = words.filter_map(|word| word.split('{').next());
    let is_metric = |name: &&str| name.starts_with("tallykeep_") || name.starts_with("process_");
    names.filter(is_metric).map(str::to_owned).collect()
}

/// The metrics that a text names, without what a histogram puts behind its name.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics = words
        .filter(|word| word.starts_with("tallykeep_") || word.starts_with("process_"))
        .map(|word| {
            let ends = ["_bucket", "_sum", "_count"];
            ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
        });
    metrics.collect()
}

#[test]
fn what_is_asked_for_is_there() {
    let told = told();
    assert!(told.len() > 40, "the page of metrics was not found");
    for file in [
        "cluster/grafana/tallykeep.json",
        "cluster/prometheus/rules.yml",
        "cluster/prometheus/rules_test.yml",
    ] {
        let named = named(&read(file));
        assert!(named.len() > 15, "{file}");
        let wrong: Vec<_> = named.difference(&told).collect();
        assert!(wrong.is_empty(), "{file} asks for what no node tells: {wrong:?}");
    }
}

#[test]
fn every_alert_is_tested_and_has_its_heading() {
    let rules = read("cluster/prometheus/rules.yml");
    let tests = read("cluster/prometheus/rules_test.yml");
    let book = read("docs/operating.md");
    let headings: BTreeSet<String> = book
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .collect();
    let blocks: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(blocks.len() > 15, "the rules were not found");
    for block in &blocks {
        let name = block.lines().next().unwrap();
        for part in ["severity: ", "summary: ", "runbook_url: docs/operating.md#"] {
            assert_eq!(block.matches(part).count(), 1, "{name}: {part}");
        }
        let anchor = block.split("operating.md#").nth(1).unwrap().lines().next().unwrap();
        assert!(headings.contains(anchor), "{name}: docs/operating.md has no heading {anchor}");
        assert!(tests.contains(&format!("- alertname: {name}\n")), "{name} is not tested");
        let quiet = format!("{{ alertname: {name}, eval_time: 2h, exp_alerts: [] }}");
        assert!(tests.contains(&quiet), "{name} is not tested where all is well");
    }
    // And nobody is sent to the book by an alert that is gone.
    let alerts: Vec<&str> = blocks.iter().map(|block| block.lines().next().unwrap()).collect();
    for heading in book.lines().filter_map(|line| line.strip_prefix("### Tallykeep")) {
        assert!(alerts.contains(&&*format!("Tallykeep{heading}")), "there is no alert {heading}");
    }
}

#[test]
fn bounds_in_the_rules_are_those_of_the_code() {
    let rules = read("cluster/prometheus/rules.yml");
    let requests = format!("queue_requests{{job=\"tallykeep\"}} / {}", limits::PROPOSAL_QUEUE_MAX);
    let bytes = format!("queue_bytes{{job=\"tallykeep\"}} / {}", limits::PROPOSAL_QUEUE_BYTES_MAX);
    assert!(rules.contains(&requests) && rules.contains(&bytes));
    assert!(rules.contains(&format!("more than {} s", limits::CLOCK_SKEW_MS_MAX / 1000)));
}

#[test]
fn the_dashboard_is_json_whose_panels_ask_something() {
    let text = read("cluster/grafana/tallykeep.json");
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have one id");
        if panel["type"] != "row" {
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{}", panel["title"]);
        }
    }
}
