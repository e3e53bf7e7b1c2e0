//! The yardstick of `scripts/bench.sh`: an HTTP server that does nothing.
//!
//! `POST /check` reads the JSON body that tallykeep's `/check` takes and answers JSON of the same
//! size. No state, no other node, no disk: what is left is the cost of HTTP and JSON alone, on the
//! runtime, the HTTP library and the release profile that tallykeep itself has.
//!
//! `GET /file` answers a file's bytes as they are, in pieces as large as those of an export: what
//! sending so many bytes costs by itself.
//!
//! `target/release/examples/echo HOST:PORT [FILE]`

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderName, StatusCode};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use serde::{Deserialize, Serialize};
use tallykeep::limits;
use tokio::fs::File;
use tokio::net::TcpListener;
use tokio_util::io::ReaderStream;

/// The body of `/check`. Every member is read, as the real one must be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    identifier: String,
    config: Config,
    #[serde(rename = "type")]
    type_: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    requests: u64,
    window_ms: u64,
}

/// The answer of `/check`, as long as a real one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    allowed: bool,
    remaining: u64,
    reset_time: u64,
}

/// A time of thirteen digits, as those of our days have.
const RESET_TIME_MS: u64 = 1_634_567_890_000;

type Json = ([(HeaderName, HeaderValue); 1], Vec<u8>);

async fn check(body: Bytes) -> Result<Json, StatusCode> {
    let check: Check = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let named = !check.identifier.is_empty() && check.type_.is_none_or(|type_| !type_.is_empty());
    let answer = Answer {
        allowed: named && check.config.window_ms > 0,
        remaining: check.config.requests,
        reset_time: RESET_TIME_MS,
    };
    let body = serde_json::to_vec(&answer).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body))
}

async fn file(State(path): State<Arc<PathBuf>>) -> Result<Body, StatusCode> {
    let file = File::open(path.as_path()).await.map_err(|_| StatusCode::NOT_FOUND)?;
    Ok(Body::from_stream(ReaderStream::with_capacity(file, limits::EXPORT_CHUNK_BYTES)))
}

async fn serve(address: &str, path: PathBuf) -> io::Result<()> {
    // As tallykeep does: an answer is not held back for the next one.
    let listener = TcpListener::bind(address).await?.tap_io(|stream| {
        // A connection that is gone already is noticed when it is read.
        let _ = stream.set_nodelay(true);
    });
    let routes = Router::new().route("/check", post(check)).route("/file", get(file));
    axum::serve(listener, routes.with_state(Arc::new(path))).await
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(address) = arguments.next() else {
        eprintln!("usage: echo HOST:PORT [FILE]");
        return ExitCode::from(2);
    };
    // Without one there is no such file.
    let path = arguments.next().map(PathBuf::from).unwrap_or_default();
    // The same runtime as in src/main.rs.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(&address, path))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}
