//! Responses: those that are as they should be, and the problems.

use axum::http::StatusCode;
use serde_json::{Value, json};
use utoipa::openapi::schema::{
    AllOfBuilder, Components, ComponentsBuilder, ObjectBuilder, Ref, Type,
};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Header, RefOr, Response, ResponseBuilder};

use super::codes::{CODES, Code};
use super::schema::{Part, integer, named, one_of_values, string};

/// An answer of JSON.
pub(super) fn json(description: &str, schema: &str, example: Value) -> ResponseBuilder {
    of("application/json", description, named(schema), example)
}

/// An answer of some content type.
pub(super) fn of(
    content_type: &str,
    description: &str,
    schema: Part,
    example: Value,
) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
    ResponseBuilder::new().description(description).content(content_type, content)
}

/// A header that is a text.
pub(super) fn text_header(description: &str) -> Header {
    header(string(description), description)
}

/// A header that is an integer.
pub(super) fn integer_header(description: &str, least: u64) -> Header {
    header(integer(description, least, None), description)
}

fn header(schema: ObjectBuilder, description: &str) -> Header {
    let mut header = Header::new(schema);
    header.description = Some(description.to_owned());
    header
}

/// The problems of one status.
pub(super) fn problem(status: u16) -> RefOr<Response> {
    Ref::from_response_name(component(status)).into()
}

fn component(status: u16) -> String {
    format!("Problem{status}")
}

/// The words of a status.
fn words(status: u16) -> impl Iterator<Item = &'static Code> {
    CODES.iter().filter(move |code| code.status == status)
}

/// `schemas`, and the problems of each status.
pub(super) fn components(schemas: Vec<(&'static str, Part)>) -> Components {
    let mut components = ComponentsBuilder::new();
    for (name, schema) in schemas {
        components = components.schema(name, schema);
    }
    let mut statuses: Vec<u16> = CODES.iter().map(|code| code.status).collect();
    statuses.dedup();
    for status in statuses {
        components = components.response(component(status), problem_of(status));
    }
    components.security_scheme(SECURITY_SCHEME, token()).build()
}

/// The name of the one way to say who one is.
pub(super) const SECURITY_SCHEME: &str = "token";

fn token() -> SecurityScheme {
    let told = "An API token, `tk_…`, made by `POST /admin/tokens` or an operator's. Needed where the nodes' \
        configuration has `[auth]`. What stands beside it at each operation are the scopes of which the token \
        needs one. A token may be for some bindings and some prefixes of objects' names alone, and then reaches \
        objects by their names.";
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(told));
    SecurityScheme::Http(scheme.build())
}

/// Adds the problems of a status to what else is answered with it.
pub(super) fn or_problem(response: &mut Response, status: u16) {
    let Response { content, description, .. } = problem_of(status).build();
    response.content.extend(content);
    response.description = format!("{} Or: {description}", response.description);
}

fn problem_of(status: u16) -> ResponseBuilder {
    let known = StatusCode::from_u16(status).expect("a status of HTTP");
    let title = known.canonical_reason().expect("every status used here has a phrase");
    let told: Vec<String> =
        words(status).map(|code| format!("- `{}`: {}", code.word, code.meaning)).collect();
    let here = ObjectBuilder::new()
        .property("status", one_of_values(Type::Integer, [status]))
        .property("code", one_of_values(Type::String, words(status).map(|code| code.word)));
    let schema = AllOfBuilder::new().item(named("Problem")).item(here);
    let first = words(status).next().expect("a status has words");
    let example = json!({
        "type": "about:blank", "title": title, "status": status,
        "detail": first.meaning.replace('`', ""), "code": first.word, "error": title,
        "requestId": "5b0c9a5d1d6b4f3f8a1e2c3d4b5a6978",
    });
    let description = format!("{title}\n\n{}", told.join("\n"));
    let problem = of("application/problem+json", &description, schema.into(), example);
    match known {
        StatusCode::UNAUTHORIZED => problem.header("WWW-Authenticate", text_header("`Bearer`.")),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            problem.header("Retry-After", integer_header("Seconds to wait.", 1))
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            problem.header("Allow", text_header("The methods that the route takes."))
        }
        _ => problem,
    }
}
