//! Who may pass: asked at the door, of a request's head alone.
//!
//! Where the configuration has `[auth]`, a request needs a token: one of the configuration, or one of the
//! cluster's state ([`crate::machine::token`]) as far as it is applied on this node. The tokens are in memory,
//! so a request costs one hash and one look; of a token that may ask only so often, an atomic number too.
//! Where there is no `[auth]`, it costs a comparison.
//!
//! A node that has just started does not know yet which tokens were revoked while it was down. Until it has
//! caught up with the cluster it refuses those of the state with 503, and takes those of the configuration.

mod action;
mod need;
mod pace;
mod record;
mod refused;
mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, Method, Uri};
use tokio::time::{Instant, sleep};

use super::objects::{self, Which};
use super::request_id::RequestId;
use crate::bindings::{Binding, Bindings};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::machine::{Scopes, Token, token};
use crate::metrics::counted;
use crate::propose::Proposer;
use crate::raft::Node;

pub(super) use action::told;
pub(super) use need::{Need, of as needed};

use action::Action;
use need::Place;
use record::Record;
use refused::Refused;
use table::{Bearer, Found, Table};

/// Between two tries of a node that has just started to catch up with the cluster.
const LOOK: Duration = Duration::from_millis(100);

/// Judges requests, and records what is to be recorded.
pub struct Guard {
    node: Node,
    bindings: Bindings,
    /// Without one no tokens are asked for.
    table: Option<Table>,
    /// Whether everything has been applied here that was acknowledged before this node started.
    is_current: AtomicBool,
    refused: Refused,
    /// The record of the system.
    pub(super) record: Arc<Record>,
}

impl Guard {
    /// With the hashes of operators' tokens, tokens are asked for.
    pub(super) fn new(
        node: Node,
        proposer: Proposer,
        bindings: Bindings,
        operators: Option<&[[u8; 32]]>,
    ) -> Self {
        let record = Arc::new(Record::new(proposer, &bindings));
        let table = operators.map(Table::new);
        let is_current = AtomicBool::new(false);
        Self { node, bindings, table, is_current, refused: Refused::default(), record }
    }

    /// Whether clients need tokens.
    pub(super) fn needs_tokens(&self) -> bool {
        self.table.is_some()
    }

    /// Whether it is known here which tokens are in force.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] of a node that has just started.
    pub(super) fn ready(&self) -> Result<()> {
        if self.needs_tokens() && !self.is_current.load(Ordering::Acquire) {
            return Err(not_current());
        }
        Ok(())
    }

    /// Keeps the tokens in memory as the state has them, and records refused logins. Runs until dropped.
    pub async fn watch(&self) {
        let Some(table) = &self.table else { return };
        tokio::join!(self.follow(table), self.refused.record(&self.record));
    }

    async fn follow(&self, table: &Table) {
        let mut changes = self.node.token_changes();
        loop {
            changes.borrow_and_update();
            self.replace(table);
            if self.is_current.load(Ordering::Relaxed) {
                if changes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let deadline = Instant::now() + limits::REQUEST_TIMEOUT;
            match self.node.reads().barrier(deadline).await {
                Ok(_) => {
                    self.replace(table);
                    self.is_current.store(true, Ordering::Release);
                }
                Err(_) => sleep(LOOK).await,
            }
        }
    }

    /// Takes the tokens as they are now in the cluster, for whoever has just changed them: a change is
    /// acknowledged when the leader has applied it, and this node may not have yet.
    ///
    /// # Errors
    /// As [`crate::raft::Reads::barrier`]. This node follows then as soon as it can.
    pub(super) async fn refresh(&self) -> Result<()> {
        let Some(table) = &self.table else { return Ok(()) };
        self.node.reads().barrier(Instant::now() + limits::REQUEST_TIMEOUT).await?;
        self.replace(table);
        Ok(())
    }

    fn replace(&self, table: &Table) {
        if let Err(error) = table.replace(|| token::list(self.node.state())) {
            // A state that cannot be read ends the node elsewhere.
            tracing::error!(%error, "the tokens cannot be read");
        }
    }

    /// Whether a request may pass, whose id is `id`; gives the action that it is, if it is to be recorded.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`], [`Kind::TooOften`], [`Kind::Forbidden`]; [`Kind::Unavailable`] of a node that has
    /// just started.
    pub(super) fn admit(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        source: IpAddr,
        id: &RequestId,
    ) -> Result<Option<Box<Action>>> {
        let path = uri.path();
        let bearer = match &self.table {
            None => None,
            Some(table) => self.bearer(table, need::of(method, path), path, headers, source)?,
        };
        if !action::is_recorded(method, path) {
            return Ok(None);
        }
        let record = self.record.clone();
        Ok(Some(Box::new(Action::new(record, id, method, uri, source, bearer.as_deref()))))
    }

    fn bearer(
        &self,
        table: &Table,
        need: Need,
        path: &str,
        headers: &HeaderMap,
        source: IpAddr,
    ) -> Result<Option<Arc<Bearer>>> {
        if need == Need::Nothing {
            return Ok(None);
        }
        let found = table.find(headers, || self.node.now_ms());
        let is_current = self.is_current.load(Ordering::Acquire);
        let bearer = match found {
            Ok(Found::Operator(bearer)) => bearer,
            Ok(Found::Stored(bearer)) if is_current => bearer,
            Err(table::Unknown::Missing) => {
                self.refused.login(source, table::Unknown::Missing);
                return Err(unauthenticated());
            }
            Err(why) if is_current => {
                self.refused.login(source, why);
                return Err(unauthenticated());
            }
            Ok(Found::Stored(_)) | Err(_) => return Err(not_current()),
        };
        // Whatever becomes of it: a request that is refused has to be looked at, too.
        if let Err(most) = bearer.take() {
            counted().http_token_limited.inc();
            return Err(too_often(&bearer, most));
        }
        if let Need::Scopes(scopes, place) = need
            && let Err(error) = self.check(&bearer.token, scopes, place, path)
        {
            self.refused.request(source, &bearer);
            return Err(error);
        }
        Ok(Some(bearer))
    }

    /// Whether a token is good for one of these scopes at a place.
    fn check(&self, token: &Token, scopes: Scopes, place: Place, path: &str) -> Result<()> {
        if !token.scopes.has_any_of(scopes) {
            let scopes = scopes.names().collect::<Vec<_>>().join(" or ");
            let message = format!("the token {:?} does not have the scope {scopes}", token.name);
            return Err(Error::new(Kind::Forbidden, "scope_missing", message));
        }
        if token.bindings.is_empty() && token.name_prefixes.is_empty() {
            return Ok(());
        }
        let named = |binding: Option<&Binding>| binding.map(|binding| binding.name.clone());
        let (binding, name) = match place {
            Place::Limiters => (named(self.bindings.limiter()), None),
            Place::Log => (named(self.bindings.audit()), None),
            Place::Cluster => (None, None),
            Place::Object => match objects::parts(path) {
                Ok((binding, Which::Name(name))) => (Some(binding), Some(name)),
                Ok((binding, Which::Id)) => (Some(binding), None),
                // The route reads it in the same way, and refuses it.
                Err(_) => return Ok(()),
            },
        };
        let is_in =
            |binding: String| token.bindings.is_empty() || token.bindings.contains(&binding);
        if !binding.is_some_and(is_in) {
            let message = format!("the token {:?} is for other bindings", token.name);
            return Err(Error::new(Kind::Forbidden, "binding_not_allowed", message));
        }
        let has = |name: String| token.name_prefixes.iter().any(|prefix| name.starts_with(prefix));
        if !token.name_prefixes.is_empty() && !name.is_some_and(has) {
            let message = format!(
                "the token {:?} is for objects of other names; it has to be used with their names, \
                 /do/BINDING/name/NAME/…",
                token.name
            );
            return Err(Error::new(Kind::Forbidden, "name_not_allowed", message));
        }
        Ok(())
    }
}

fn not_current() -> Error {
    let message = "this node has just started, and does not know yet which tokens are in force";
    Error::unavailable(message)
}

/// Alike whatever is wrong, so that nothing is learnt of the tokens that there are.
fn unauthenticated() -> Error {
    let message = "a valid token is needed: Authorization: Bearer tk_…";
    Error::new(Kind::Unauthenticated, "unauthenticated", message)
}

fn too_often(bearer: &Bearer, most: u32) -> Error {
    let name = &bearer.token.name;
    let message =
        format!("the token {name:?} may ask each node {most} times a second; wait a second");
    Error::new(Kind::TooOften, "token_rate_limited", message)
}

#[cfg(test)]
mod tests {
    use axum::http::header::AUTHORIZATION;

    use super::super::tests::lonely_node;
    use super::*;
    use crate::machine::{Keeping, Quotas};
    use crate::propose;
    use crate::secret::{OPERATOR, Secret};

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    async fn guard(dir: &std::path::Path, operators: Option<&[[u8; 32]]>) -> Guard {
        let node = lonely_node(dir).await;
        let (keeping, quotas) = (Keeping::default(), Quotas::default());
        let proposals = propose::start(&node, 1_000, keeping, Vec::new(), quotas);
        Guard::new(node, proposals.proposer, Bindings::default_for("script"), operators)
    }

    /// The code of the error, if there is one.
    fn admit(
        guard: &Guard,
        method: Method,
        path: &str,
        token: Option<&str>,
    ) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        let uri: Uri = path.parse().unwrap();
        let id = RequestId::new();
        guard.admit(&method, &uri, &headers, SOURCE, &id).err().map(|error| error.code)
    }

    #[tokio::test]
    async fn without_a_leader_operators_pass_and_nobody_else_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let operator = Secret::generate(OPERATOR).unwrap();
        let guard = guard(dir.path(), Some(&[operator.sha256()])).await;
        let some = Secret::generate("0011223344556677").unwrap();
        let wrong = Secret::generate(OPERATOR).unwrap();
        for path in ["/check", "/admin/tokens", "/metrics", "/nothing", "/openapi.json"] {
            let get = |token| admit(&guard, Method::GET, path, token);
            assert_eq!(get(None), Some("unauthenticated"), "{path}");
            assert_eq!(get(Some(operator.text())), None, "{path}");
            // It may be one that this node has not heard of yet.
            assert_eq!(get(Some(some.text())), Some("no_leader"), "{path}");
            assert_eq!(get(Some(wrong.text())), Some("no_leader"), "{path}");
        }
        assert_eq!(admit(&guard, Method::GET, "/readyz", None), None);
        assert_eq!(admit(&guard, Method::GET, "/healthz", Some("anything")), None);
        assert_eq!(guard.ready().unwrap_err().code, "no_leader");
        // Once it has caught up, they are not.
        guard.is_current.store(true, Ordering::Relaxed);
        for token in [some.text(), wrong.text(), ""] {
            let refused = admit(&guard, Method::GET, "/check", Some(token));
            assert_eq!(refused, Some("unauthenticated"));
        }
        assert_eq!(guard.ready(), Ok(()));
    }

    #[tokio::test]
    async fn where_tokens_are_off_only_what_is_recorded_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let guard = guard(dir.path(), None).await;
        assert_eq!(guard.ready(), Ok(()));
        let admit = |method: Method, path: &str| {
            let (uri, id) = (path.parse().unwrap(), RequestId::new());
            guard.admit(&method, &uri, &HeaderMap::new(), SOURCE, &id).unwrap()
        };
        assert!(admit(Method::POST, "/check").is_none());
        assert!(admit(Method::GET, "/admin/cluster").is_none());
        assert!(admit(Method::POST, "/admin/members").is_some());
    }

    #[tokio::test]
    async fn a_token_is_good_for_its_places_alone() {
        let dir = tempfile::tempdir().unwrap();
        let guard = guard(dir.path(), Some(&[])).await;
        let token = |scopes, bindings: &[&str], prefixes: &[&str]| {
            let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            Token {
                name: "n".to_owned(),
                scopes,
                bindings: texts(bindings),
                name_prefixes: texts(prefixes),
                expires_ms: None,
                sha256: [0; 32],
            }
        };
        let check = |token: &Token, method: Method, path: &str| {
            let Need::Scopes(scopes, place) = needed(&method, path) else { panic!("{path}") };
            guard.check(token, scopes, place, path).err().map(|error| error.code)
        };
        let post = |token: &Token, path: &str| check(token, Method::POST, path);
        let any = token(Scopes::CHECK, &[], &[]);
        assert_eq!(post(&any, "/check"), None);
        assert_eq!(post(&any, "/do/AUDIT_LOGGER/name/a/log"), Some("scope_missing"));
        assert_eq!(check(&any, Method::GET, "/metrics"), Some("scope_missing"));
        let bound = token(Scopes::ALL, &["RATE_LIMITER"], &[]);
        assert_eq!(post(&bound, "/check/batch"), None);
        assert_eq!(post(&bound, "/do/RATE%5FLIMITER/id/00/check"), None);
        for path in ["/log", "/query", "/do/AUDIT_LOGGER/name/a/log", "/admin/tokens"] {
            assert_eq!(post(&bound, path), Some("binding_not_allowed"), "{path}");
        }
        assert_eq!(check(&bound, Method::GET, "/metrics"), Some("binding_not_allowed"));
        let named = token(Scopes::ALL, &[], &["wix:", "a/"]);
        for path in ["wix%3A1/check", "wix:/reset", "a%2Fb/check"] {
            assert_eq!(post(&named, &format!("/do/RATE_LIMITER/name/{path}")), None, "{path}");
        }
        for path in [
            "/check",
            "/log",
            "/do/RATE_LIMITER/name/wi/check",
            "/do/RATE_LIMITER/name/a/check",
            "/do/RATE_LIMITER/id/00/check",
        ] {
            assert_eq!(post(&named, path), Some("name_not_allowed"), "{path}");
        }
        assert_eq!(post(&named, "/admin/tokens"), Some("binding_not_allowed"));
        // The route refuses these in the same way.
        assert_eq!(post(&named, "/do/RATE_LIMITER/name/%zz/check"), None);
    }
}
