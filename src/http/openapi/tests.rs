//! The document is whole, and so are the tables that are made from it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use axum::body::to_bytes;
use axum::http::HeaderValue;
use axum::http::header::{ETAG, IF_NONE_MATCH};
use serde_json::Value;

use super::super::json as readers;
use super::*;
use codes::CODES;

/// The document of a node with the bindings of the guide, as it is served.
fn served() -> Tagged {
    super::document(super::super::routes(&Bindings::default_for("script"), true).paths)
}

async fn document() -> Value {
    let body = served().answer(&HeaderMap::new()).into_body();
    serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap()
}

/// `(METHOD path, operation)` of each operation.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let each = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| {
            (format!("{} {path}", method.to_uppercase()), operation)
        })
    });
    each.collect()
}

/// Calls `see` with each value of the document.
fn walk<'a>(value: &'a Value, see: &mut impl FnMut(&'a Value)) {
    see(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, see)),
        Value::Object(members) => members.values().for_each(|member| walk(member, see)),
        _ => {}
    }
}

#[tokio::test]
async fn every_operation_has_a_name_a_group_and_examples() {
    let document = document().await;
    assert_eq!(document["openapi"], "3.1.0");
    let groups: BTreeSet<&str> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    let mut ids = BTreeSet::new();
    for (route, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} is there twice");
        assert!(operation["summary"].is_string(), "{route}");
        assert!(groups.contains(operation["tags"][0].as_str().unwrap()), "{route}");
        assert!(operation["responses"]["200"].is_object(), "{route}");
        if route.starts_with("POST ") {
            assert!(operation["requestBody"]["content"]["application/json"]["example"].is_object());
            for status in ["400", "413", "503"] {
                assert!(operation["responses"][status].is_object(), "{route} {status}");
            }
        }
        if route.contains('{') {
            let parameters = operation["parameters"].as_array().unwrap().iter();
            let in_path: Vec<_> = parameters.filter(|one| one["in"] == "path").collect();
            assert_eq!(in_path.len(), route.matches('{').count(), "{route}");
            assert!(in_path.iter().all(|one| one["example"].is_string()), "{route}");
        }
    }
    assert!(ids.len() > 20);
}

#[tokio::test]
async fn every_route_says_what_of_a_token_it_needs() {
    let document = document().await;
    let mut free = Vec::new();
    for (route, operation) in operations(&document) {
        let (method, path) = route.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        assert_ne!(needed(&method, path), Need::Unlisted, "{route}");
        let security = operation["security"].as_array().unwrap();
        if security.is_empty() {
            free.push(path.to_owned());
            continue;
        }
        assert!(operation["responses"]["401"].is_object(), "{route}");
        assert!(operation["responses"]["429"].is_object(), "{route}");
        assert!(security.iter().all(|one| one["token"].is_array()), "{route}");
    }
    assert_eq!(free, ["/healthz", "/readyz"]);
    // A check's 429 is an answer of its own, or that of its token.
    let refused = &document["paths"]["/check"]["post"]["responses"]["429"]["content"];
    assert!(refused["application/json"].is_object(), "{refused}");
    assert!(refused["application/problem+json"].is_object(), "{refused}");
    let cluster = &document["paths"]["/admin/cluster"]["get"]["security"];
    assert_eq!(*cluster, serde_json::json!([{"token": ["read"]}, {"token": ["admin"]}]));
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    // Where no token is needed one may be left out.
    let routes = super::super::routes(&Bindings::default_for("script"), false);
    let paths = serde_json::to_value(routes.paths).unwrap();
    let check = &paths["/check"]["post"]["security"];
    assert_eq!(*check, serde_json::json!([{"token": ["check"]}, {}]));
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let document = document().await;
    let mut references = 0;
    walk(&document, &mut |value| {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return };
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
        references += 1;
    });
    assert!(references > 50);
}

#[tokio::test]
async fn the_examples_are_what_the_readers_take() {
    let document = document().await;
    let mut read = 0;
    for (route, operation) in operations(&document) {
        let example = &operation["requestBody"]["content"]["application/json"]["example"];
        let (body, last) = (example.to_string(), route.rsplit_once(' ').unwrap().1);
        let (body, last) = (body.as_bytes(), last.rsplit('/').next().unwrap());
        let is_batch = route.ends_with("/batch") || last == "import";
        let items = |name| readers::batch(body, name).unwrap();
        match last {
            "check" => drop(readers::check(body).unwrap()),
            "reset" => drop(readers::reset(body).unwrap()),
            "credit" => drop(readers::credit(body).unwrap()),
            "log" => drop(readers::entry(body).unwrap()),
            "query" => drop(readers::query(body).unwrap()),
            "import" => drop(readers::imported(items("entries")[0]).unwrap()),
            "batch" if route.contains("/check/") => {
                drop(readers::check(items("checks")[0]).unwrap())
            }
            "batch" => drop(readers::entry(items("entries")[0]).unwrap()),
            _ => continue,
        }
        assert!(is_batch || example.get("entries").is_none());
        read += 1;
    }
    assert_eq!(read, 19);
}

#[tokio::test]
async fn the_bindings_are_those_of_the_node() {
    let wrangler = r#"
        name = "gate"
        durable_objects.bindings = [{ name = "LIMITS", class_name = "RateLimiter" }]
        migrations = [{ tag = "v1", new_classes = ["RateLimiter"] }]
    "#;
    let bindings = Bindings::from_wrangler(wrangler, None).unwrap();
    let names = Names::of(&bindings);
    let check = operations::check(&names).at(Place::Id, &names);
    let check = serde_json::to_value(check).unwrap();
    let binding = &check["parameters"].as_array().unwrap()[1];
    assert_eq!(binding["schema"]["enum"], serde_json::json!(["LIMITS"]));
    let id = check["parameters"][2]["example"].as_str().unwrap();
    assert!(bindings.get("LIMITS").unwrap().namespace.object_from_hex(id).is_some());
    let log = operations::log(&names).at(Place::Name, &names);
    let log = serde_json::to_value(log).unwrap();
    assert!(log["parameters"][1]["schema"].get("enum").is_none());
}

#[tokio::test]
async fn a_client_that_has_the_document_is_told_so() {
    let document = served();
    let etag = document.answer(&HeaderMap::new()).headers()[ETAG].to_str().unwrap().to_owned();
    let ask = |value: &str| {
        let value = HeaderValue::from_str(value).unwrap();
        document.answer(&HeaderMap::from_iter([(IF_NONE_MATCH, value)]))
    };
    for value in [&etag, "*", &format!("W/{etag}"), &format!("\"other\", {etag}")] {
        let answer = ask(value);
        assert_eq!(answer.status(), 304, "{value}");
        assert_eq!(answer.headers()[ETAG], etag.as_str());
        assert!(to_bytes(answer.into_body(), usize::MAX).await.unwrap().is_empty());
    }
    assert_eq!(ask("\"other\"").status(), 200);
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let each = entries.flat_map(|path| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    });
    each.collect()
}

/// The text in the first quotes, if it is a word.
fn first_word(text: &str) -> Option<&str> {
    let word = text.split('"').nth(1)?;
    let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_word.then_some(word)
}

/// The words that the sources give to errors, found in their text.
fn words_of_the_sources() -> BTreeSet<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut words = BTreeSet::new();
    for path in sources(&src) {
        if path.starts_with(src.join("client")) || path.starts_with(src.join("http/openapi")) {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        // Calls that make an error; its kind, if it is there, comes before the word.
        for call in [
            "Error::invalid(",
            "Error::new(",
            "Self::new(",
            "METHOD_NOT_ALLOWED, ",
            "problem(status, ",
        ] {
            for rest in code.split(call).skip(1) {
                let until_end = rest.split([';', '}']).next().unwrap();
                let is_error = !call.ends_with("::new(") || rest.trim_start().starts_with("Kind::");
                if let Some(word) = first_word(until_end).filter(|_| is_error) {
                    words.insert(word.to_owned());
                }
            }
        }
        // Words that have a name, and those of a change of members.
        for line in code.lines() {
            let named =
                line.contains(": &str = ") && line.contains("pub(super) const BODY_TOO_LARGE");
            if named || line.trim_start().starts_with("Code::") && line.contains("=> \"") {
                words.extend(first_word(line).map(str::to_owned));
            }
        }
    }
    words
}

#[test]
fn every_code_of_the_sources_is_told_and_no_other() {
    let told: BTreeSet<String> = CODES.iter().map(|code| code.word.to_owned()).collect();
    assert_eq!(told.len(), CODES.len(), "a word is there twice");
    assert_eq!(told, words_of_the_sources());
    assert!(CODES.is_sorted_by_key(|code| (code.status, code.word)));
}

/// The rows of the table of docs/api.md that has `head` as its head.
fn table(head: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().skip_while(|line| *line != head).skip(2);
    rows.take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

#[test]
fn the_page_tells_of_every_code() {
    let rows: Vec<String> = CODES
        .iter()
        .map(|code| format!("| {} | `{}` | {} |", code.status, code.word, code.meaning))
        .collect();
    assert_eq!(table("| status | `code` | what happened |"), rows);
}

/// What is described: `/ui` (`super::ui`), which is for people, is not, and stands below the table.
#[tokio::test]
async fn the_page_tells_of_every_route() {
    let document = document().await;
    // An object's routes are told once, whichever way it is found.
    let rows: BTreeSet<String> = operations(&document)
        .into_iter()
        .filter(|(route, _)| !route.contains("/id/{id}"))
        .map(|(route, operation)| {
            let route = route.replace(' ', " `");
            format!("| {route}` | {} |", operation["summary"].as_str().unwrap())
        })
        .collect();
    let told = table("| route | what it does |");
    assert_eq!(told.iter().cloned().collect::<BTreeSet<_>>(), rows);
    assert_eq!(told.len(), rows.len());
}
