//! The client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Url, redirect};

use crate::api;
use crate::call::{Calls, Request, Settings};
use crate::entry::{NewEntry, Page};
use crate::error::{Error, Result};
use crate::export::{Export, Format};
use crate::filter::{Filter, Query};
use crate::limiter::{Decision, Limit};

const TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Below the 75 s after which a node closes a connection that nobody uses.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A tallykeep cluster. Make it once and keep it, or clones of it, which share everything: it keeps
/// connections, and knows which nodes answer.
///
/// Calls run on a Tokio runtime with time and I/O. One that is dropped ends at once, and may be
/// carried out or not.
///
/// All calls fail with [`ErrorKind::NoAnswer`], [`ErrorKind::Server`], [`ErrorKind::Request`] or
/// [`ErrorKind::Protocol`], and before anything is sent with [`ErrorKind::Argument`].
///
/// [`ErrorKind::Argument`]: crate::ErrorKind::Argument
/// [`ErrorKind::NoAnswer`]: crate::ErrorKind::NoAnswer
/// [`ErrorKind::Server`]: crate::ErrorKind::Server
/// [`ErrorKind::Request`]: crate::ErrorKind::Request
/// [`ErrorKind::Protocol`]: crate::ErrorKind::Protocol
#[derive(Clone)]
pub struct Client {
    calls: Arc<Calls>,
    /// The value of `Idempotency-Key`, if the caller chose it.
    key: Option<String>,
}

impl Client {
    /// A client of these nodes, with defaults for the rest: [`Client::builder`].
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] says what the endpoints have to be.
    pub fn new<I>(endpoints: I) -> Result<Self>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        Self::builder(endpoints).build()
    }

    /// Makes a client of these nodes, URLs like `http://10.0.0.1:7001`, or of what is in front of
    /// them. At least one.
    pub fn builder<I>(endpoints: I) -> Builder
    where
        I: IntoIterator<Item: Into<String>>,
    {
        Builder {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            token: None,
            timeout: TIMEOUT,
            attempt_timeout: ATTEMPT_TIMEOUT,
            turn: None,
            http: None,
        }
    }

    /// The same client, whose `check`, `reset` and `log` are sent with this key: calls with the same
    /// key and the same arguments are carried out once. For one call, and for making it again. Every
    /// call has a key of its own otherwise, for all of its attempts.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`]: a key has visible ASCII characters, and no quotes and
    /// backslashes.
    pub fn with_idempotency_key(&self, key: &str) -> Result<Self> {
        Ok(Self { calls: Arc::clone(&self.calls), key: Some(api::key_header(key)?) })
    }

    /// Counts a request against the limiter `type:identifier`, or `identifier` alone (guide, "Rate
    /// Limiter" and "Naming Strategies").
    ///
    /// `type_` has 1 to 512 bytes. Without a `limit` the limit is the policy that the cluster keeps for
    /// `type_` (`tallykeep policy`), which then must be there. An `identifier` comes from outside: one that the cluster would not
    /// take (empty, over 512 bytes, with control characters) is counted under `sha256:` and its
    /// digest.
    ///
    /// # Errors
    /// Those of all calls. A request that is over the limit is no error.
    pub async fn check(
        &self,
        identifier: &str,
        type_: impl Into<Option<&str>>,
        limit: impl Into<Option<Limit>>,
    ) -> Result<Decision> {
        let key = self.key.as_deref();
        let request = api::check(identifier, type_.into(), limit.into(), key)?;
        api::decision(&self.calls.call(&request).await?)
    }

    /// Forgets what a limiter has counted, if anything.
    ///
    /// # Errors
    /// Those of all calls.
    pub async fn reset(&self, identifier: &str, type_: impl Into<Option<&str>>) -> Result<()> {
        let request = api::reset(identifier, type_.into(), self.key.as_deref())?;
        api::success(&self.calls.call(&request).await?)
    }

    /// Logs an entry (guide, "Audit Logger"), and gives its id. It is on the disks of a majority then.
    ///
    /// # Errors
    /// Those of all calls.
    pub async fn log(&self, entry: &NewEntry) -> Result<String> {
        api::id(&self.calls.call(&api::log(entry, self.key.as_deref())).await?)
    }

    /// Gives a page of the entries that match a filter (guide, "POST /query").
    ///
    /// # Errors
    /// Those of all calls; a filter out of bounds is a [`crate::ErrorKind::Request`].
    pub async fn query(&self, query: &Query) -> Result<Page> {
        api::read(&self.calls.call(&api::query(query)).await?)
    }

    /// Begins to give all entries that match a filter, from one snapshot.
    ///
    /// # Errors
    /// Those of all calls.
    pub async fn export(&self, format: Format, filter: &Filter) -> Result<Export> {
        let request: Request = api::export(format, filter);
        let answer = self.calls.call(&request).await?;
        api::refuse(&answer)?;
        let stream = answer.stream.expect("a 200 of a streamed request has its stream");
        Ok(Export::new(stream, self.calls.timeout()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Makes a [`Client`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    endpoints: Vec<String>,
    token: Option<String>,
    timeout: Duration,
    attempt_timeout: Duration,
    turn: Option<usize>,
    http: Option<reqwest::Client>,
}

impl Builder {
    /// Sent as `Authorization: Bearer`.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// How long a call may take in all, tries at further nodes included: 1 ms to 600 s, 5 s by
    /// default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long one node may take before the next is asked: 1 ms to 600 s, 2 s by default. It is not
    /// applied where there is one endpoint.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Which endpoint the first call begins with. By chance otherwise, so that many clients spread.
    pub fn first_turn(mut self, index: usize) -> Self {
        self.turn = Some(index);
        self
    }

    /// Another HTTP client than the default one, which follows no redirects, uses no proxies and
    /// knows no TLS.
    pub fn http_client(mut self, http: reqwest::Client) -> Self {
        self.http = Some(http);
        self
    }

    /// Does no I/O.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`] names what is wrong, and what it has to be.
    pub fn build(self) -> Result<Client> {
        let Self { endpoints, token, timeout, attempt_timeout, turn, http } = self;
        if endpoints.is_empty() {
            return Err(Error::argument("there must be at least one endpoint"));
        }
        let mut clean = Vec::with_capacity(endpoints.len());
        for text in &endpoints {
            let endpoint = endpoint(text)?;
            if clean.contains(&endpoint) {
                return Err(Error::argument("an endpoint is there twice"));
            }
            clean.push(endpoint);
        }
        let is_token =
            |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !token.as_ref().is_none_or(is_token) {
            return Err(Error::argument("token must be a string of visible ASCII characters"));
        }
        for (name, value) in [("timeout", timeout), ("attempt_timeout", attempt_timeout)] {
            if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&value) {
                return Err(Error::argument(format!("{name} must be from 1 ms to 600 s")));
            }
        }
        let http = http.map_or_else(default_http, Ok)?;
        let turn = turn.unwrap_or_else(|| fastrand::usize(..clean.len()));
        let settings = Settings { endpoints: clean, token, timeout, attempt_timeout };
        Ok(Client { calls: Arc::new(Calls::new(settings, http, turn)), key: None })
    }
}

/// A redirect would be somebody else's doing, and the token is not theirs; the endpoints say where
/// calls go, and not a proxy of the environment.
fn default_http() -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .pool_idle_timeout(KEEPALIVE)
        .user_agent(concat!("tallykeep-rust/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Error::argument("the HTTP client cannot be made").with_source(error))
}

fn endpoint(text: &str) -> Result<String> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| {
            Error::argument(format!("endpoint {text:?} must be a URL like http://10.0.0.1:7001"))
        })?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user || url.query().is_some() || url.fragment().is_some() {
        return Err(Error::argument(
            "an endpoint must have no user, query or fragment; there is token for a secret",
        ));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn arguments_are_checked() {
        let good = "http://10.0.0.1:7001";
        let wrong = [
            (Client::builder([""; 0]), "at least one endpoint"),
            (Client::builder([good, "http://10.0.0.1:7001/"]), "is there twice"),
            (Client::builder(["10.0.0.1:7001"]), "must be a URL like"),
            (Client::builder(["ftp://a"]), "must be a URL like"),
            (Client::builder(["http://"]), "must be a URL like"),
            (Client::builder(["http://a:x"]), "must be a URL like"),
            (Client::builder(["http://u:p@a"]), "no user, query or fragment"),
            (Client::builder(["http://a/?q"]), "no user, query or fragment"),
            (Client::builder(["http://a/#f"]), "no user, query or fragment"),
            (Client::builder([good]).token(""), "token must be"),
            (Client::builder([good]).token("a\r\nb"), "token must be"),
            (Client::builder([good]).timeout(Duration::ZERO), "timeout must be"),
            (Client::builder([good]).timeout(Duration::from_secs(601)), "timeout must be"),
            (Client::builder([good]).attempt_timeout(Duration::ZERO), "attempt_timeout must be"),
        ];
        for (builder, what) in wrong {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Argument);
            assert!(error.to_string().contains(what), "{error}");
        }
        assert_eq!(endpoint("http://A:1/").unwrap(), "http://a:1");
        assert_eq!(endpoint("https://b/base/").unwrap(), "https://b/base");
    }
}
