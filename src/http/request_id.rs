//! `X-Request-Id`: to which request an answer, a log line, an event of the tail and an entry of the record
//! belong.
//!
//! A client may bring an id of its own; whoever brings none, or one that could not stand everywhere, gets
//! one that nobody else has. It is made without a system call, since it is in the way of every request.
//! While a request is answered its id is found in its task ([`current`]): an error is far from the request
//! that it answers.

use std::future::Future;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::limits;
use crate::trace::TraceId;

/// The header, of requests and of answers.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The id of a request: 1 to [`limits::REQUEST_ID_BYTES_MAX`] visible characters of ASCII.
#[derive(Clone, Debug)]
pub(super) struct RequestId {
    value: HeaderValue,
    /// What it was made of, if it is not the client's.
    own: Option<TraceId>,
}

impl RequestId {
    /// The client's, if its headers have one, and a new one otherwise.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(HEADER).iter();
        match (sent.next(), sent.next()) {
            (Some(value), None) if is_sane(value.as_bytes()) => {
                Self { value: value.clone(), own: None }
            }
            _ => Self::new(),
        }
    }

    /// One that nobody else has: 32 hexadecimal digits. A trace that begins with the request has the same id.
    pub(super) fn new() -> Self {
        let own = TraceId::unique();
        let value = HeaderValue::from_bytes(&own.digits()).expect("digits can stand in a header");
        Self { value, own: Some(own) }
    }

    /// Its text.
    pub(super) fn text(&self) -> &str {
        self.value.to_str().expect("it was looked at, or made of digits")
    }

    /// It as a header's value.
    pub(super) fn into_value(self) -> HeaderValue {
        self.value
    }

    /// What it was made of, if it is not the client's.
    pub(super) fn own(&self) -> Option<TraceId> {
        self.own
    }

    /// `future`, for which this is the [`current`] id.
    pub(super) fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }
}

/// Whether it can stand in a header, a log line and an audit entry, and is of use there.
fn is_sane(value: &[u8]) -> bool {
    (1..=limits::REQUEST_ID_BYTES_MAX).contains(&value.len())
        && value.iter().all(u8::is_ascii_graphic)
}

/// The id of the request that this task answers; none outside of requests.
pub(super) fn current() -> Option<RequestId> {
    CURRENT.try_with(RequestId::clone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&[u8]]) -> RequestId {
        let value = |value: &&[u8]| (HEADER, HeaderValue::from_bytes(value).unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in values.iter().map(value) {
            headers.append(name, value);
        }
        RequestId::of(&headers)
    }

    #[test]
    fn a_clients_own_id_is_taken_if_it_can_stand_everywhere() {
        let longest = "x".repeat(limits::REQUEST_ID_BYTES_MAX);
        for good in ["1", "01a208b0-f7c2-7000", "a/b:c=\"d\"\\<e>", &longest] {
            let id = of(&[good.as_bytes()]);
            assert_eq!((id.text(), id.own()), (good, None));
        }
        let too_long = format!("{longest}x");
        let bad: [&[&[u8]]; 6] =
            [&[], &[b""], &[b"a b"], &["é".as_bytes()], &[b"a", b"b"], &[too_long.as_bytes()]];
        for bad in bad {
            let id = of(bad);
            assert_eq!(id.text().len(), 32, "{bad:?}");
            assert_eq!(id.text(), id.own().unwrap().to_string());
        }
        assert_ne!(RequestId::new().text(), RequestId::new().text());
    }

    #[tokio::test]
    async fn the_current_id_is_that_of_the_request_alone() {
        assert!(current().is_none());
        let text = || current().map(|id| id.text().to_owned());
        let inner = of(&[b"inner"]).scope(async { text() });
        let outer = of(&[b"outer"]).scope(async { (text(), inner.await, text()) });
        let told = |text: &str| Some(text.to_owned());
        assert_eq!(outer.await, (told("outer"), told("inner"), told("outer")));
    }
}
