//! The bindings of a `wrangler.toml`, as a node starts with them.

mod cluster;

use std::fs;
use std::path::Path;

use cluster::{Setup, TestCluster, run};
use serde_json::json;

const LIMITS: &str = r#"{ name = "LIMITS", class_name = "RateLimiter" }"#;
const LOG: &str = r#"{ name = "LOG", class_name = "AuditLogger" }"#;
const FIRST: &str = r#"
[[migrations]]
tag = "v1"
new_classes = ["RateLimiter", "AuditLogger"]
"#;
const SECOND: &str = r#"
[[migrations]]
tag = "v2"
deleted_classes = ["AuditLogger"]
"#;

fn write(path: &Path, bindings: &[&str], migrations: &[&str]) {
    let (bindings, migrations) = (bindings.join(", "), migrations.join(""));
    let text = format!("name = \"gate\"\ndurable_objects.bindings = [{bindings}]\n{migrations}");
    fs::write(path, text).expect("a file");
}

/// A node whose file takes a class away of which there are objects does not run, and deletes nothing.
#[tokio::test]
async fn a_class_with_objects_is_not_deleted() {
    let dir = tempfile::tempdir().expect("a folder");
    let wrangler = dir.path().join("wrangler.toml");
    write(&wrangler, &[LIMITS, LOG], &[FIRST]);
    let setting = format!("wrangler = {:?}", wrangler.display().to_string());
    let setup = Setup { nodes: 1, ..Setup::with(&setting) };
    let mut cluster = TestCluster::start_as(setup).await;
    let entry = r#"{"type":"t","action":"a"}"#;
    let id = cluster.api().log_at(1, "/do/LOG/name/2024-01-15/log", entry).await;
    cluster.terminate(1).await;

    write(&wrangler, &[LIMITS], &[FIRST, SECOND]);
    let config = cluster.config(1).display().to_string();
    let (code, _, said) = run(&["serve", "--config", &config]).output().await;
    assert_eq!(code, Some(1), "{said}");
    let parts =
        ["wrangler.toml: [[migrations]]", "v2", "gate-AuditLogger", "1 object (2024", "2024-01-15"];
    for part in parts.into_iter().chain(["nothing was deleted", "abandoned_classes"]) {
        assert!(said.contains(part), "{part}: {said}");
    }

    let abandoned = format!("{setting}\nabandoned_classes = [\"AuditLogger\"]");
    cluster.reconfigure(1, &setting, &abandoned);
    cluster.restart(1);
    cluster.wait_ready().await;
    cluster.api().check(1, "u", 1, 60_000).await.admitted(1, 0);
    cluster.api().get(1, "/export").await.problem(404, "not_found");
    cluster.terminate(1).await;

    write(&wrangler, &[LIMITS, LOG], &[FIRST]);
    cluster.restart(1);
    cluster.wait_ready().await;
    let export = cluster.api().get(1, "/do/LOG/name/2024-01-15/export").await.json();
    assert_eq!(export["entries"][0]["id"], json!(id), "nothing was deleted");
}

/// A node that learns only from its leader of objects of a class that its file takes away stops too, and
/// the others go on.
#[tokio::test]
async fn a_node_that_was_behind_looks_again_when_it_has_caught_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let (one, other) = (dir.path().join("one.toml"), dir.path().join("other.toml"));
    write(&one, &[LIMITS, LOG], &[FIRST]);
    write(&other, &[LIMITS], &[FIRST, SECOND]);
    let setting = format!("wrangler = {:?}", one.display().to_string());
    let mut cluster = TestCluster::start_as(Setup::with(&setting)).await;
    let late = cluster.a_follower().await;
    cluster.terminate(late).await;
    let leader = cluster.leader().await;
    let entry = r#"{"type":"t","action":"a"}"#;
    cluster.api().log_at(leader, "/do/LOG/name/a/log", entry).await;

    let instead = format!("wrangler = {:?}", other.display().to_string());
    cluster.reconfigure(late, &setting, &instead);
    let config = cluster.config(late).display().to_string();
    let (code, _, said) = run(&["serve", "--config", &config]).output().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("serving"), "it did not know before: {said}");
    assert!(said.contains("gate-AuditLogger still has 1 object (a)"), "{said}");
    let leader = cluster.leader().await;
    cluster.api().log_at(leader, "/do/LOG/name/a/log", entry).await;
}

/// `tallykeep dev` reads a file as a node does, and says what is wrong with it before anything else.
#[tokio::test]
async fn a_developers_node_reads_the_environment_of_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let wrangler = dir.path().join("wrangler.toml");
    let said = async |more: &[&str]| {
        let file = wrangler.display().to_string();
        let arguments = [&["dev", "--wrangler", &file][..], more].concat();
        let (code, _, said) = run(&arguments).output().await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("wrangler.toml: "), "{said}");
        said
    };
    assert!(said(&[]).await.contains("No such file"));
    write(&wrangler, &[LIMITS, LIMITS], &[FIRST]);
    assert!(
        said(&[]).await.contains("[[durable_objects.bindings]]: the binding LIMITS is there twice")
    );
    write(&wrangler, &[LIMITS], &[FIRST, "[env.staging]\n"]);
    let unknown = said(&["--env", "production"]).await;
    assert!(unknown.contains("there is no [env.production]; there are: staging"), "{unknown}");
    let empty = said(&["--env", "staging"]).await;
    assert!(empty.contains("there is no [[env.staging.durable_objects.bindings]]"), "{empty}");
    write(&wrangler, &[r#"{ name = "COUNTER", class_name = "Counter" }"#], &[FIRST]);
    assert!(said(&[]).await.contains("COUNTER is of the class Counter"));
}
