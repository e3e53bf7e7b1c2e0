//! `GET /export`: an audit log, or one shard of it, as JSON, NDJSON or CSV.
//!
//! One blocking task walks one snapshot and hands chunks through a short queue to the response
//! (`stream.rs`), so memory is constant however long the log and however slow the client.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Uri};
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::objects::Shard;
use super::parameters::{Format, Parameters, parameters};
use super::stream::{Piece, queue, send};
use super::{Api, audit};
use crate::error::{Error, Result};
use crate::limits;
use crate::query::{Csv, Scope, Walk};

/// `X-Csv-Escape`: how cells that a spreadsheet would run are made harmless.
const CSV_ESCAPE: HeaderName = HeaderName::from_static("x-csv-escape");

/// `GET /export`: all shards that the time range touches.
pub(super) async fn export(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response> {
    let scope = Scope::Namespace(audit::binding(&api)?.namespace.id());
    start(&api, scope, parameters(uri.query().unwrap_or_default())?).await
}

/// `GET /do/{binding}/…/export`: the path's shard.
pub(super) async fn export_object(
    State(api): State<Arc<Api>>,
    Shard { object, .. }: Shard,
    uri: Uri,
) -> Result<Response> {
    start(&api, Scope::Object(object), parameters(uri.query().unwrap_or_default())?).await
}

/// Opens a snapshot and begins to stream it.
async fn start(api: &Api, scope: Scope, parameters: Parameters) -> Result<Response> {
    let permit = Arc::clone(&api.exports)
        .try_acquire_owned()
        .map_err(|_| Error::overloaded("as many exports are under way as this node takes"))?;
    let snapshot = api.reads.snapshot().await?;
    let Parameters { format, filter } = parameters;
    let (sender, body) = queue();
    spawn_blocking(move || {
        let _permit = permit;
        let mut walk = Walk::new(&scope, filter);
        write(format, || walk.next_chunk(&*snapshot), &sender);
    });
    Ok(respond(format, body))
}

fn respond(format: Format, body: Body) -> Response {
    let (content_type, disposition) = match format {
        Format::Json => ("application/json", "attachment; filename=\"audit-log.json\""),
        Format::Ndjson => ("application/x-ndjson", "attachment; filename=\"audit-log.ndjson\""),
        Format::Csv { .. } => {
            ("text/csv; charset=utf-8; header=present", "attachment; filename=\"audit-log.csv\"")
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    if let Format::Csv { escape } = format {
        let rule = if escape { "apostrophe-v1" } else { "none" };
        headers.insert(CSV_ESCAPE, HeaderValue::from_static(rule));
    }
    response
}

/// Writes the chunks that `next` gives, until there are none or the client is gone. Blocks.
fn write<N>(format: Format, next: N, sender: &mpsc::Sender<Piece>)
where
    N: FnMut() -> io::Result<Option<Vec<Bytes>>>,
{
    if let Err(error) = try_write(format, next, sender) {
        // To hang up early is a client's right, and no fault.
        if error.kind() == io::ErrorKind::BrokenPipe {
            tracing::debug!("an export's client hung up");
        } else {
            tracing::error!("an export was cut off: {error}");
        }
    }
}

fn try_write<N>(format: Format, mut next: N, sender: &mpsc::Sender<Piece>) -> io::Result<()>
where
    N: FnMut() -> io::Result<Option<Vec<Bytes>>>,
{
    let mut out = match format {
        Format::Json => br#"{"entries":["#.to_vec(),
        Format::Ndjson => Vec::new(),
        Format::Csv { escape } => Csv::new(escape).header().to_vec(),
    };
    let mut count = 0;
    while let Some(entries) = next()? {
        // A walk that finds nothing sends nothing, and would not learn that nobody waits for it.
        if sender.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match format {
            Format::Json => {
                for (index, entry) in entries.iter().enumerate() {
                    if count + index > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(entry);
                }
            }
            Format::Ndjson => {
                for entry in &entries {
                    out.extend_from_slice(entry);
                    out.push(b'\n');
                }
            }
            Format::Csv { escape } => out.extend(Csv::new(escape).rows(&entries)?),
        }
        count += entries.len();
        if out.len() >= limits::EXPORT_CHUNK_BYTES {
            send(sender, Piece::Bytes(std::mem::take(&mut out).into()))?;
        }
    }
    if format == Format::Json {
        out.extend_from_slice(format!(r#"],"count":{count}}}"#).as_bytes());
    }
    if !out.is_empty() {
        send(sender, Piece::Bytes(out.into()))?;
    }
    send(sender, Piece::End)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::to_bytes;
    use axum::http::Request;
    use axum::http::header::ACCEPT_ENCODING;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::super::gzip;
    use super::super::tests::header;
    use super::*;

    /// What a client gets of an export whose walk gives `chunks`.
    async fn exported(
        format: Format,
        chunks: Vec<io::Result<Vec<Bytes>>>,
    ) -> std::result::Result<String, axum::Error> {
        let (sender, body) = queue();
        let mut chunks = chunks.into_iter();
        let writer = spawn_blocking(move || write(format, || chunks.next().transpose(), &sender));
        let bytes = to_bytes(body, usize::MAX).await;
        writer.await.unwrap();
        Ok(String::from_utf8(bytes?.into()).unwrap())
    }

    fn chunks() -> Vec<io::Result<Vec<Bytes>>> {
        let [a, b, c] = [r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c":3}"#].map(Bytes::from);
        vec![Ok(vec![a, b]), Ok(vec![]), Ok(vec![c])]
    }

    #[tokio::test]
    async fn json_is_one_object_with_its_count_last() {
        let whole = exported(Format::Json, chunks()).await.unwrap();
        assert_eq!(whole, r#"{"entries":[{"a":1},{"b":2},{"c":3}],"count":3}"#);
        let empty = exported(Format::Json, vec![]).await.unwrap();
        assert_eq!(empty, r#"{"entries":[],"count":0}"#);
    }

    #[tokio::test]
    async fn ndjson_is_one_entry_a_line() {
        let whole = exported(Format::Ndjson, chunks()).await.unwrap();
        assert_eq!(whole, "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n");
        assert_eq!(exported(Format::Ndjson, vec![]).await.unwrap(), "");
    }

    #[tokio::test]
    async fn csv_begins_with_its_header() {
        let format = Format::Csv { escape: true };
        let header = "id,timestamp,type,action,userId,ip,details\r\n";
        assert_eq!(exported(format, vec![]).await.unwrap(), header);
        let entry = r#"{"id":"i","timestamp":0,"type":"=t","action":"a","details":{}}"#;
        let whole = exported(format, vec![Ok(vec![entry.into()])]).await.unwrap();
        let row = "i,1970-01-01T00:00:00.000Z,'=t,a,,,\"{}\"\r\n";
        assert_eq!(whole, format!("{header}{row}"));
    }

    #[tokio::test]
    async fn a_long_export_comes_whole_through_the_short_queue() {
        let entry = Bytes::from(vec![b'x'; limits::EXPORT_CHUNK_BYTES]);
        let many = 3 * limits::STREAM_QUEUE_MAX;
        let chunks = (0..many).map(|_| Ok(vec![entry.clone()])).collect();
        let whole = exported(Format::Ndjson, chunks).await.unwrap();
        assert_eq!(whole.len(), many * (limits::EXPORT_CHUNK_BYTES + 1));
    }

    #[tokio::test]
    async fn an_export_that_fails_on_its_way_does_not_end_cleanly() {
        let mut chunks = chunks();
        chunks.push(Err(io::Error::other("disk")));
        assert!(exported(Format::Ndjson, chunks).await.is_err());
    }

    #[tokio::test]
    async fn an_export_ends_when_its_client_is_gone() {
        for found in [vec![], vec![Bytes::from(vec![b'x'; limits::EXPORT_CHUNK_BYTES])]] {
            let (sender, body) = queue();
            drop(body);
            let endless = move || Ok(Some(found.clone()));
            spawn_blocking(move || write(Format::Json, endless, &sender)).await.unwrap();
        }
    }

    /// What a client that takes gzip gets of an export that ends well or does not.
    async fn compressed(ends_well: bool) -> Response {
        let export = get(move || async move {
            let (sender, body) = queue();
            spawn_blocking(move || {
                let mut chunks = chunks().into_iter().map(Some);
                let end = if ends_well { Ok(None) } else { Err(io::Error::other("disk")) };
                let mut end = Some(end);
                let next = || chunks.next().map_or_else(|| end.take().unwrap(), Option::transpose);
                write(Format::Ndjson, next, &sender);
            });
            respond(Format::Ndjson, body)
        });
        let request = Request::get("/").header(ACCEPT_ENCODING, "gzip").body(Body::empty());
        let router = Router::new().route("/", export.layer(gzip()));
        router.oneshot(request.unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn gzip_is_given_to_those_who_take_it_and_hides_no_failure() {
        let whole = compressed(true).await;
        assert_eq!(header(&whole, "content-encoding"), "gzip");
        assert_eq!(header(&whole, "content-type"), "application/x-ndjson");
        assert!(to_bytes(whole.into_body(), usize::MAX).await.unwrap().starts_with(b"\x1f\x8b"));
        assert!(to_bytes(compressed(false).await.into_body(), usize::MAX).await.is_err());
    }

    #[test]
    fn headers_name_the_format_and_the_escape() {
        let csv = |escape| respond(Format::Csv { escape }, Body::empty());
        assert_eq!(header(&csv(true), "content-type"), "text/csv; charset=utf-8; header=present");
        assert_eq!(header(&csv(true), "x-csv-escape"), "apostrophe-v1");
        assert_eq!(header(&csv(false), "x-csv-escape"), "none");
        let json = respond(Format::Json, Body::empty());
        assert_eq!(header(&json, "content-type"), "application/json");
        let disposition = "attachment; filename=\"audit-log.json\"";
        assert_eq!(header(&json, "content-disposition"), disposition);
        assert!(!json.headers().contains_key("x-csv-escape"));
    }
}
