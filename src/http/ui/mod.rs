//! `GET /ui`: the page for people, and the files that it is made of.
//!
//! They are part of the program, the same for everybody, and hold no secret: what the page shows it
//! asks for at the other routes, as any client does, with the token that its user has. The headers let
//! a browser run and load these files and ask this node, and nothing else, whatever stands in an audit
//! entry (docs/decisions/0034).

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::tagged::Tagged;
use super::{Api, error};

/// What `/ui` itself is.
const PAGE: &str = "index.html";

/// The files of `page/`, each under its name.
macro_rules! files {
    ($($name:literal,)*) => {
        &[$(($name, include_bytes!(concat!("page/", $name)).as_slice())),*]
    };
}

const FILES: &[(&str, &[u8])] = files! {
    "index.html",
    "icon.svg",
    "style.css",
    "theme.js",
    "api.js",
    "app.js",
    "chart.js",
    "dom.js",
    "events.js",
    "exact.js",
    "format.js",
    "metrics.js",
    "poll.js",
    "problem.js",
    "recorder.js",
    "router.js",
    "table.js",
    "token.js",
    "watch.js",
    "views/audit.js",
    "views/audit-entry.js",
    "views/audit-export.js",
    "views/audit-filter.js",
    "views/cluster.js",
    "views/limiter-change.js",
    "views/limiters.js",
    "views/object.js",
    "views/objects.js",
    "views/storage.js",
    "views/tail.js",
    "views/tail-filter.js",
    "views/traffic.js",
    "vendor/uPlot.iife.min.js",
    "vendor/uPlot.min.css",
    "vendor/uPlot.LICENSE.txt",
};

/// No inline script or style, no other host, no frame around it; and where a browser knows trusted
/// types, no text can be made into markup at all.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

static SERVED: LazyLock<Vec<(&str, Tagged)>> = LazyLock::new(|| {
    let serve = |(name, bytes): &(&'static str, &'static [u8])| {
        (*name, Tagged::new(*bytes, content_type(name)))
    };
    FILES.iter().map(serve).collect()
});

/// `/ui` and what is below it. No token is asked for here, and `/openapi.json` is silent about it.
pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/ui", get(page))
        .route("/ui/", get(away_from_slash))
        .route("/ui/{*name}", get(file))
}

async fn page(headers: HeaderMap) -> Response {
    answer(PAGE, &headers).expect("the page is a file")
}

/// The page's links are relative to `/ui`, so that it may stand behind a proxy's prefix.
async fn away_from_slash() -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(LOCATION, "../ui")]).into_response()
}

async fn file(Path(name): Path<String>, headers: HeaderMap, uri: Uri) -> Response {
    match answer(&name, &headers) {
        Some(response) => response,
        None => error::no_route(uri).await.into_response(),
    }
}

fn answer(name: &str, headers: &HeaderMap) -> Option<Response> {
    let (_, file) = SERVED.iter().find(|(served, _)| *served == name)?;
    let mut response = file.answer(headers);
    for (header, value) in HEADERS {
        response.headers_mut().insert(header, HeaderValue::from_static(value));
    }
    Some(response)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use axum::body::to_bytes;
    use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};

    use super::*;

    fn names(folder: &Path, prefix: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let each = entries.flat_map(|entry| {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            match entry.path().is_dir() {
                true => names(&entry.path(), &format!("{name}/")),
                false => BTreeSet::from([name]),
            }
        });
        each.collect()
    }

    #[tokio::test]
    async fn every_file_is_served_as_it_is() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/ui/page");
        let served: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(served, names(&folder, ""));
        for name in served {
            let response = answer(&name, &HeaderMap::new()).unwrap();
            assert_eq!(response.headers()[CONTENT_TYPE], content_type(&name));
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert_eq!(body, fs::read(folder.join(&name)).unwrap(), "{name}");
        }
    }

    #[tokio::test]
    async fn every_answer_forbids_what_the_page_does_not_need() {
        let first = answer(PAGE, &HeaderMap::new()).unwrap();
        let etag = first.headers()[ETAG].clone();
        let second = answer(PAGE, &HeaderMap::from_iter([(IF_NONE_MATCH, etag)])).unwrap();
        assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::NOT_MODIFIED));
        for response in [first, second] {
            let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; "), "{policy}");
            for none in ["unsafe", "data:", "*", "http", "\n", "  "] {
                assert!(!policy.contains(none), "{none} in {policy}");
            }
            assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(response.headers()[REFERRER_POLICY], "no-referrer");
            assert_eq!(response.headers()[CACHE_CONTROL], "no-cache");
        }
    }

    /// Nothing of the page's own files makes markup of text, or names another host.
    #[test]
    fn the_files_neither_make_markup_of_text_nor_name_hosts() {
        let own = FILES.iter().filter(|(name, _)| !name.starts_with("vendor/"));
        for (name, bytes) in own {
            let text = std::str::from_utf8(bytes).unwrap();
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "://"]
            {
                let found = text.lines().find(|line| line.contains(word));
                // An XML namespace is a name and no address; nobody fetches it.
                let found = found.filter(|line| !line.contains("http://www.w3.org/2000/svg"));
                assert_eq!(found, None, "{word} in {name}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_file_is_not_found() {
        for name in ["", "nothing.js", "../mod.rs", "page/index.html", "views", "vendor/"] {
            assert!(answer(name, &HeaderMap::new()).is_none(), "{name}");
        }
    }
}
