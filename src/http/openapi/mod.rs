//! `GET /openapi.json`: the whole HTTP API as OpenAPI 3.1 has it.
//!
//! A route and what is said of it are one line of the router ([`super::router`]), so neither is there
//! without the other. Bounds come from [`crate::limits`], the names of bindings from the node's own
//! configuration. What the bodies are is written here beside the code that reads them, not made from
//! it (docs/decisions/0029): that it is so is found out by schemathesis, against real nodes.

pub(super) mod admin;
mod codes;
pub(super) mod inspected;
pub(super) mod operations;
mod operators;
mod parameters;
mod place;
mod requests;
mod responses;
mod results;
mod schema;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::{HeaderMap, Method};
use axum::routing::{MethodRouter, delete, get, post, put};
use utoipa::openapi::path::{HttpMethod, Operation, Paths};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApiBuilder, RefOr, Server};

use self::place::{Description, Names, Place};
use self::responses::{SECURITY_SCHEME, or_problem, problem};
use super::Api;
use super::auth::{Need, needed};
use super::tagged::Tagged;
use crate::bindings::Bindings;

/// Where the document is.
const PATH: &str = "/openapi.json";

/// What is told before anything else.
const INTRODUCTION: &str = "Exact rate limits and an audit log on machines of your own. Every node \
    takes every request. A 200 means: fsynced on a majority of the nodes.\n\nBodies are JSON whatever \
    their `Content-Type` says. Errors are problems (RFC 9457); programs compare their `code`. A 4xx has \
    changed nothing, and nor has a 5xx but for `unknown_outcome` and `internal`. A method that a route \
    does not take is answered 405 `method_not_allowed`. Every answer has an `X-Request-Id`: the request's own if \
    it has one of 1 to 128 visible characters of ASCII, a new one otherwise. JSON Schema counts a string's characters where \
    the server counts its bytes in UTF-8, and takes `1.0` for an integer, which the server does not.";

/// The routes, each with its description.
pub(super) struct Routes {
    router: Router<Arc<Api>>,
    paths: Paths,
    names: Names,
    needs_tokens: bool,
}

impl Routes {
    /// None yet but [`PATH`], which tells of the others. `bindings` are what clients of this node may name.
    pub(super) fn new(bindings: &Bindings, needs_tokens: bool) -> Self {
        let (router, paths, names) = (Router::new(), Paths::new(), Names::of(bindings));
        let mut routes = Self { router, paths, names, needs_tokens };
        routes.describe(PATH, HttpMethod::Get, admin::openapi);
        routes
    }

    /// A route for GET, and so for HEAD.
    pub(super) fn get<H: Handler<T, Arc<Api>>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        describe: fn(&Names) -> Description,
    ) -> Self {
        self.route(path, HttpMethod::Get, get(handler), describe)
    }

    /// A route for POST.
    pub(super) fn post<H: Handler<T, Arc<Api>>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        describe: fn(&Names) -> Description,
    ) -> Self {
        self.route(path, HttpMethod::Post, post(handler), describe)
    }

    /// A route for PUT.
    pub(super) fn put<H: Handler<T, Arc<Api>>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        describe: fn(&Names) -> Description,
    ) -> Self {
        self.route(path, HttpMethod::Put, put(handler), describe)
    }

    /// A route for DELETE.
    pub(super) fn delete<H: Handler<T, Arc<Api>>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        describe: fn(&Names) -> Description,
    ) -> Self {
        self.route(path, HttpMethod::Delete, delete(handler), describe)
    }

    fn route(
        mut self,
        path: &'static str,
        method: HttpMethod,
        handler: MethodRouter<Arc<Api>>,
        describe: fn(&Names) -> Description,
    ) -> Self {
        self.describe(path, method, describe);
        self.router = self.router.route(path, handler);
        self
    }

    fn describe(&mut self, path: &str, method: HttpMethod, describe: fn(&Names) -> Description) {
        let mut operation = describe(&self.names).at(Place::of(path), &self.names);
        secure(&mut operation, &method, path, self.needs_tokens);
        self.paths.add_path_operation(path, vec![method], operation);
    }

    /// All of them.
    pub(super) fn finish(self) -> Router<Arc<Api>> {
        let document = document(self.paths);
        let serve = move |headers: HeaderMap| std::future::ready(document.answer(&headers));
        self.router.route(PATH, get(serve))
    }
}

/// Says what of a token the operation needs: the same list is asked when a request comes.
fn secure(operation: &mut Operation, method: &HttpMethod, path: &str, needs_tokens: bool) {
    let method = match method {
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
        _ => Method::GET,
    };
    let scopes: Vec<&str> = match needed(&method, path) {
        Need::Nothing => {
            operation.security = Some(Vec::new());
            return;
        }
        Need::Token | Need::Unlisted => Vec::new(),
        Need::Scopes(scopes, _) => scopes.names().collect(),
    };
    let with = |scopes: &[&str]| {
        SecurityRequirement::new(SECURITY_SCHEME, scopes.iter().map(|scope| (*scope).to_owned()))
    };
    // One of them suffices.
    let mut any: Vec<_> = match scopes.is_empty() {
        true => vec![with(&[])],
        false => scopes.iter().map(|scope| with(&[*scope])).collect(),
    };
    if !needs_tokens {
        any.push(SecurityRequirement::default());
    }
    operation.security = Some(any);
    let responses = &mut operation.responses.responses;
    for status in [401, 403] {
        responses.insert(status.to_string(), problem(status));
    }
    match responses.get_mut("429") {
        // A check's own.
        Some(RefOr::T(refused)) => or_problem(refused, 429),
        _ => drop(responses.insert("429".to_owned(), problem(429))),
    }
}

/// The document, made once.
fn document(paths: Paths) -> Tagged {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("tallykeep")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(INTRODUCTION))
        .license(Some(license))
        .build();
    let schemas =
        [requests::schemas(), results::schemas(), operators::schemas(), inspected::schemas()]
            .concat();
    let document = OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .components(Some(responses::components(schemas)))
        .tags(Some(operations::tags()))
        .build();
    let json = serde_json::to_vec(&document).expect("a description is JSON");
    Tagged::new(json, "application/json")
}
