//! What is said of the routes of operators and their probes.

use serde_json::{Value, json};
use utoipa::openapi::path::{OperationBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Required, ResponseBuilder};

use super::operations::{OPERATORS, a_logged_entry, answering, ok, post};
use super::parameters::{in_query, parameter};
use super::place::{Description, Names};
use super::responses::{json as json_answer, of, problem, text_header};
use super::schema::{Part, closed, name, named, one_of_values, string};
use crate::limits::NAME_BYTES_MAX;

fn operators(id: &'static str, operation: OperationBuilder) -> Description {
    Description { class: None, id, operation }
}

fn status(description: &str, word: &str) -> ResponseBuilder {
    let word = one_of_values(Type::String, [word]);
    let schema = closed(description, [("status", word.into())], []);
    of("application/json", description, schema.into(), json!({"status": "…"}))
}

pub(in crate::http) fn healthz(_: &Names) -> Description {
    let operation = answering(OPERATORS, "Whether the process lives", &[]);
    operators("healthz", ok(operation, status("It lives.", "ok")))
}

pub(in crate::http) fn readyz(_: &Names) -> Description {
    let operation = answering(OPERATORS, "Whether the node can serve", &[503]);
    operators("readyz", ok(operation, status("It can.", "ready")))
}

pub(in crate::http) fn metrics(_: &Names) -> Description {
    let schema: Part =
        string("Prometheus' text format; docs/metrics.md tells what they are.").into();
    let answer = of(
        crate::metrics::CONTENT_TYPE,
        "The metrics.",
        schema,
        json!("# TYPE tallykeep_ready gauge\ntallykeep_ready 1\n"),
    );
    let operation = answering(OPERATORS, "What this node counts and times, for Prometheus", &[500]);
    operators("metrics", ok(operation, answer))
}

pub(in crate::http) fn backup(_: &Names) -> Description {
    let schema =
        ObjectBuilder::new().schema_type(Type::String).content_media_type("application/x-tar");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let answer = ResponseBuilder::new()
        .description("A tar file. `tallykeep backup` checks it as it comes.")
        .content("application/x-tar", content)
        .header("Content-Disposition", text_header("`attachment`, and a file's name."));
    let operation = answering(OPERATORS, "The state of the cluster as one file", &[500, 503, 507]);
    operators("backup", ok(operation, answer))
}

pub(in crate::http) fn cluster(_: &Names) -> Description {
    let node = json!({"id": 1, "http": "10.0.0.1:7001", "peer": "10.0.0.1:7101", "role": "leader",
        "voter": true, "lastLog": 42, "applied": 42, "ready": true, "disk": "ample", "versionMax": 8});
    let example = json!({"id": 1, "leader": 1, "term": 3, "version": 8, "nodes": [node],
        "stateHash": {"applied": 42, "hash": "9f86d081884c7d65"}, "certificates": []});
    let operation = answering(OPERATORS, "The cluster as this node sees it", &[]);
    operators("cluster", ok(operation, json_answer("The cluster.", "Cluster", example)))
}

pub(in crate::http) fn hash(_: &Names) -> Description {
    let example = json!({"applied": 42, "hash": "9f86d081884c7d65"});
    let operation = answering(OPERATORS, "SHA-256 over all of this node's state", &[500, 503])
        .description(Some("A full scan: for comparing replicas, not for probing them."));
    operators("hash", ok(operation, json_answer("The hash.", "StateHash", example)))
}

pub(in crate::http) fn import(_: &Names) -> Description {
    let flag = |what| ObjectBuilder::new().schema_type(Type::Boolean).description(Some(what));
    let body = json!({"entries": [a_logged_entry()]});
    let answer = json!({"results": [{"status": 200, "imported": true}]});
    let operation =
        post(OPERATORS, "Take entries over from another log", "ImportBatch", body, &[507])
            .description(Some("In the order of their times and ids. For `tallykeep import`."))
            .parameter(in_query(
                "keepExpired",
                flag("Take entries too that are past the retention."),
            ))
            .parameter(in_query("dryRun", flag("Change nothing.")))
            .response("404", problem(404));
    let answer = json_answer("Each in its place.", "ImportResults", answer);
    operators("import", ok(operation, answer))
}

pub(in crate::http) fn members(_: &Names) -> Description {
    let example = json!({"members": [
        {"id": 1, "voter": true, "http": "10.0.0.1:7001", "peer": "10.0.0.1:7101"}]});
    let body = json!({"lead": {"id": 1}});
    let operation = post(OPERATORS, "One step of a change of members", "Change", body, &[409]);
    let answer = json_answer("The members after it.", "Members", example);
    operators("members", ok(operation, answer))
}

fn a_policy() -> Value {
    json!({"binding": "RATE_LIMITER", "type": "wix", "requests": 100, "windowMs": 60000,
        "updatedTime": 1_795_442_144_218_u64})
}

/// What is asked of one policy or of all of them, by binding.
fn of_policies(
    id: &'static str,
    names: &Names,
    summary: &str,
    statuses: &[u16],
    is_one: bool,
) -> OperationBuilder {
    let all = [&[400, 404, 500, 503], statuses].concat();
    let binding =
        string("The binding that it is for; the one that `/check` uses if it is left out.");
    let binding = match names.limiters() {
        [] => binding,
        limiters => binding.enum_values(Some(limiters.iter().cloned())),
    };
    let operation = answering(OPERATORS, summary, &all).parameter(in_query("binding", binding));
    let type_ = name("The type, percent-encoded.", 1, NAME_BYTES_MAX);
    match is_one {
        false => operation,
        true => operation.parameter(parameter(
            "type",
            ParameterIn::Path,
            type_.into(),
            Some(json!(format!("{id}-example"))),
        )),
    }
}

pub(in crate::http) fn policies(names: &Names) -> Description {
    let answer = json_answer("All of them.", "Policies", json!({"policies": [a_policy()]}));
    let summary = "The limits of checks that bring none";
    operators("policies", ok(of_policies("policies", names, summary, &[], false), answer))
}

pub(in crate::http) fn policy(names: &Names) -> Description {
    let summary = "The limit of checks of a type that bring none";
    let operation = of_policies("policy", names, summary, &[], true);
    operators("policy", ok(operation, json_answer("The policy.", "Policy", a_policy())))
}

pub(in crate::http) fn put_policy(names: &Names) -> Description {
    let example = json!({"requests": 100, "windowMs": 60000});
    let content =
        ContentBuilder::new().schema(Some(named("NewPolicy"))).example(Some(example)).build();
    let body = RequestBodyBuilder::new()
        .content("application/json", content)
        .required(Some(Required::True))
        .build();
    let summary = "Store the limit of checks of a type that bring none";
    let operation = of_policies("putPolicy", names, summary, &[409, 413, 507], true)
        .description(Some("It is in force on every node when this is answered."))
        .request_body(Some(body));
    let answer = json_answer("It is stored.", "Done", json!({"success": true}));
    operators("putPolicy", ok(operation, answer))
}

pub(in crate::http) fn delete_policy(names: &Names) -> Description {
    let answer = json!({"success": true, "existed": true});
    let summary = "Remove the limit of checks of a type that bring none";
    let operation = of_policies("deletePolicy", names, summary, &[507], true);
    operators("deletePolicy", ok(operation, json_answer("It is not there.", "Removed", answer)))
}

fn a_token() -> Value {
    json!({"id": "0f1e2d3c4b5a6978", "name": "checkout", "scopes": ["check"],
        "bindings": ["RATE_LIMITER"], "namePrefixes": ["wix:"],
        "createdTime": 1_795_442_144_218_u64, "expiresTime": null, "requestsPerSecond": 50})
}

pub(in crate::http) fn tokens(_: &Names) -> Description {
    let operation = answering(OPERATORS, "The API tokens", &[500, 503])
        .description(Some("By id, without their secrets, which nobody has; expired ones too."));
    let answer = json_answer("All of them.", "Tokens", json!({"tokens": [a_token()]}));
    operators("tokens", ok(operation, answer))
}

pub(in crate::http) fn create_token(_: &Names) -> Description {
    let body = json!({"name": "checkout", "scopes": ["check"], "ttlMs": 2_592_000_000_u64});
    let operation = post(OPERATORS, "Make an API token", "NewToken", body, &[409, 507])
        .description(Some("Its secret is in this answer, and nowhere else."));
    let mut example = a_token();
    example["token"] = json!("tk_0f1e2d3c4b5a6978_…");
    let answer = json_answer("The token and its secret.", "CreatedToken", example)
        .header("Cache-Control", text_header("`no-store`."));
    operators("createToken", ok(operation, answer))
}

pub(in crate::http) fn revoke_token(_: &Names) -> Description {
    let id = string("The token's id.").pattern(Some("^[0-9a-f]{16}$"));
    let operation = answering(OPERATORS, "Revoke an API token", &[400, 500, 503])
        .parameter(parameter("id", ParameterIn::Path, id.into(), Some(json!("0f1e2d3c4b5a6978"))));
    let answer = json!({"success": true, "existed": true});
    operators("revokeToken", ok(operation, json_answer("It is not there.", "Removed", answer)))
}

pub(in crate::http) fn openapi(_: &Names) -> Description {
    let schema = ObjectBuilder::new().schema_type(Type::Object);
    let etag =
        || text_header("Of the document, which changes with the node's version and bindings.");
    let answer = of("application/json", "OpenAPI 3.1.", schema.into(), json!({"openapi": "3.1.0"}));
    let operation = answering(OPERATORS, "The API, as OpenAPI 3.1 has it", &[])
        .parameter(parameter(
            "If-None-Match",
            ParameterIn::Header,
            string("The `ETag` of a document that the client has.").into(),
            None,
        ))
        .response("200", answer.header("ETag", etag()))
        .response("304", ResponseBuilder::new().description("It is that.").header("ETag", etag()));
    operators("openapi", operation)
}
