//! What is the same for everybody until the next build: sent once to a client that keeps it.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use sha2::{Digest, Sha256};

/// A body with its entity tag, made once.
#[derive(Clone)]
pub(super) struct Tagged {
    body: Bytes,
    content_type: &'static str,
    etag: HeaderValue,
}

impl Tagged {
    pub(super) fn new(body: impl Into<Bytes>, content_type: &'static str) -> Self {
        let body = body.into();
        let hash = hex::encode(&Sha256::digest(&body)[..16]);
        let etag = HeaderValue::try_from(format!("\"{hash}\"")).expect("letters and digits");
        Self { body, content_type, etag }
    }

    /// The body, or 304 for a client that has it. Clients may keep it, and have to ask each time.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        let mut response = Response::new(Body::empty());
        if headers.get_all(IF_NONE_MATCH).iter().any(|value| self.is_among(value)) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = Body::from(self.body.clone());
            let content_type = HeaderValue::from_static(self.content_type);
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        response.headers_mut().insert(ETAG, self.etag.clone());
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    /// Whether `If-None-Match` names this body (RFC 9110, section 13.1.2). Its tag has no comma.
    fn is_among(&self, value: &HeaderValue) -> bool {
        let tags = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag))
            .any(|tag| tag == b"*" || tag == self.etag.as_bytes())
    }
}
