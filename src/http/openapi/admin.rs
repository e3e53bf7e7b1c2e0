//! What is said of the routes of operators and their probes.

use serde_json::json;
use utoipa::openapi::path::{OperationBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, ResponseBuilder};

use super::operations::{OPERATORS, a_logged_entry, answering, ok, post};
use super::parameters::{in_query, parameter};
use super::place::{Description, Names};
use super::responses::{json as json_answer, of, problem, text_header};
use super::schema::{closed, one_of_values, string};

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
        "voter": true, "lastLog": 42, "applied": 42, "ready": true, "disk": "ample", "versionMax": 5});
    let example = json!({"id": 1, "leader": 1, "term": 3, "version": 5, "nodes": [node],
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
