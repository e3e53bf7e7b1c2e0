//! What a token has to be good for, by the method and the path alone: it is asked before a route is looked
//! for and before a body is read.
//!
//! A route that is not listed here may be asked for with any token; a test holds every route to this list.

use axum::http::Method;

use crate::machine::Scopes;

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Need {
    /// Not even a token.
    Nothing,
    /// A token.
    Token,
    /// A token with one of these scopes, good for the place.
    Scopes(Scopes, Place),
    /// A token, for all that is known here: there is no such route.
    Unlisted,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Place {
    /// The binding whose limiters the root's routes ask.
    Limiters,
    /// The binding whose log the root's routes keep.
    Log,
    /// The object that the path names.
    Object,
    /// The whole cluster.
    Cluster,
}

/// What a request for `path` needs.
pub(in crate::http) fn of(method: &Method, path: &str) -> Need {
    if let Some(rest) = path.strip_prefix("/do/") {
        return object(rest).map_or(Need::Unlisted, |scope| Need::Scopes(scope, Place::Object));
    }
    let reads = method == Method::GET || method == Method::HEAD;
    let (scopes, place) = match path {
        "/healthz" | "/readyz" => return Need::Nothing,
        // The same for everybody: a page that then asks for a token, and sends it with all that it asks for.
        _ if path == "/ui" || path.starts_with("/ui/") => return Need::Nothing,
        "/openapi.json" => return Need::Token,
        "/check" | "/check/batch" | "/reset" => (Scopes::CHECK, Place::Limiters),
        "/log" | "/log/batch" => (Scopes::LOG, Place::Log),
        "/query" | "/export" => (Scopes::READ, Place::Log),
        "/metrics" => (Scopes::READ, Place::Cluster),
        _ if reads && is_shown(path) => (Scopes::READ.and(Scopes::ADMIN), Place::Cluster),
        _ if path.starts_with("/admin/") => (Scopes::ADMIN, Place::Cluster),
        _ => return Need::Unlisted,
    };
    Need::Scopes(scopes, place)
}

/// Whether a route under `/admin/` shows and changes nothing. What goes out of the cluster with all that is in it,
/// and the tokens, are the administrators'.
fn is_shown(path: &str) -> bool {
    let shown = ["bindings", "cluster", "hash", "limiters", "objects", "policies", "tail"];
    let of = path.strip_prefix("/admin/").and_then(|rest| rest.split('/').next());
    of.is_some_and(|of| shown.contains(&of))
}

/// The scope of `{binding}/name|id/{which}/…`.
fn object(rest: &str) -> Option<Scopes> {
    let endpoint = rest.splitn(4, '/').nth(3)?;
    match endpoint {
        // Whoever may check may send any limit with it; to take a count back is no more than that.
        "check" | "reset" => Some(Scopes::CHECK),
        "log" | "log/batch" => Some(Scopes::LOG),
        "query" | "export" => Some(Scopes::READ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed() {
        let get = |path| of(&Method::GET, path);
        let post = |path| of(&Method::POST, path);
        assert_eq!(get("/readyz"), Need::Nothing);
        assert_eq!(get("/ui/views/audit.js"), Need::Nothing);
        assert_eq!(get("/readyz/"), Need::Unlisted);
        assert_eq!(post("/check"), Need::Scopes(Scopes::CHECK, Place::Limiters));
        let object = |scope| Need::Scopes(scope, Place::Object);
        assert_eq!(post("/do/B/name/a/check"), object(Scopes::CHECK));
        assert_eq!(post("/do/B/name/a%2Flog/check"), object(Scopes::CHECK));
        assert_eq!(post("/do/B/id/a/log/batch"), object(Scopes::LOG));
        assert_eq!(get("/do/B/id/a/export"), object(Scopes::READ));
        for path in ["/do/B/name/a/b/check", "/do/B/name/check", "/do/B/name/a/checks", "/chek"] {
            assert_eq!(post(path), Need::Unlisted, "{path}");
        }
        let cluster = |scopes| Need::Scopes(scopes, Place::Cluster);
        let either = Scopes::READ.and(Scopes::ADMIN);
        for path in ["/admin/policies/wix", "/admin/tail", "/admin/objects/B/name/tokens"] {
            assert_eq!(get(path), cluster(either), "{path}");
        }
        assert_eq!(of(&Method::HEAD, "/admin/cluster"), cluster(either));
        for (method, path) in [
            (Method::PUT, "/admin/policies/wix"),
            (Method::POST, "/admin/members"),
            (Method::GET, "/admin/backup"),
            (Method::GET, "/admin/tokens"),
            (Method::POST, "/admin/cluster"),
            (Method::POST, "/admin/limiters/RATE_LIMITER/name/a/credit"),
            (Method::GET, "/admin/what/comes/later"),
        ] {
            assert_eq!(of(&method, path), cluster(Scopes::ADMIN), "{path}");
        }
    }
}
