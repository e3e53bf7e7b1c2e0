//! `GET /admin/backup`: the state of this node as one file, see [`crate::archive`].

use std::io::{self, Write};
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Api;
use super::stream::{Piece, queue, send};
use crate::archive;
use crate::error::{Error, Result};
use crate::limits;
use crate::raft::Backup;

/// Makes a backup and begins to stream it. What it takes of the disk is given back when it has been
/// sent, or its client is gone.
pub(super) async fn backup(State(api): State<Arc<Api>>) -> Result<Response> {
    let permit = Arc::clone(&api.backups)
        .try_acquire_owned()
        .map_err(|_| Error::overloaded("as many backups are under way as this node takes"))?;
    let backup = api.cluster.backup().await?;
    let contents = backup.contents();
    let name = format!("attachment; filename=\"tallykeep-{}.tar\"", contents.applied);
    let (bytes, name) = (contents.archive_bytes(), HeaderValue::try_from(name));
    let (sender, body) = queue();
    spawn_blocking(move || {
        let _permit = permit;
        stream(&backup, &sender);
    });
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    headers.insert(CONTENT_LENGTH, bytes.into());
    headers.insert(CONTENT_DISPOSITION, name.expect("letters and digits"));
    Ok(response)
}

/// Sends it all, until it is or the client is gone. Blocks.
fn stream(backup: &Backup, sender: &mpsc::Sender<Piece>) {
    let mut pieces = Pieces { sender, piece: Vec::new() };
    match archive::write(backup.contents(), |file| backup.open(file), &mut pieces) {
        Ok(()) => {
            tracing::info!(applied = backup.contents().applied, "a backup was sent");
            // Who has as many bytes as were announced may not wait for this.
            let _ = send(sender, Piece::End);
        }
        // As with an export, to hang up is a client's right.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            tracing::info!("a backup's client hung up");
        }
        Err(error) => tracing::warn!(%error, "a backup was cut off"),
    }
}

/// What is written, in pieces of a size.
struct Pieces<'a> {
    sender: &'a mpsc::Sender<Piece>,
    piece: Vec<u8>,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= limits::BACKUP_PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        send(self.sender, Piece::Bytes(Bytes::from(std::mem::take(&mut self.piece))))
    }
}
