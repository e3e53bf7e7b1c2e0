//! Connections from clients: accepting, bounding and ending them, over TLS or without; and asking of each
//! request whether it may pass, before a route is looked for.
//!
//! A connection is bounded in everything that a client may hold for nothing: a handshake, a first request, a
//! head, a body and an answer that is not taken have their time, a head its bytes, HTTP/2 its streams; and
//! one that asks for nothing any more is closed. So are all of them together and, if that is wanted, those of
//! one address.
//!
//! A stop is in three steps, so that it fails no request. At `shutdown` the listener is closed:
//! whoever comes anew is refused, and knows that nothing was sent. Then, for
//! [`limits::DRAIN_BUSY`], connections are served on, but each HTTP/1.1 answer says
//! `Connection: close`, so that a busy client goes elsewhere at a moment of its own. Then those that
//! are idle are closed, and requests under way are finished; a request that crosses the close finds
//! a clean end (`linger.rs`). What is still there after [`limits::DRAIN_TIMEOUT`] is cut.
//!
//! The listener goes first because the system resets whoever it has connected and nobody has
//! accepted, and there is always a moment between the last look at that queue and its end. Clients
//! that were told to close would come again in just that moment; clients that keep their
//! connections do not.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::sources::{Place, Sources, source_of};
use super::taken::Taken;
use super::traffic::{Telemetry, Traffic};
use super::{Api, Guard, error, linger, router, unread};
use crate::error::Kind;
use crate::limits;
use crate::metrics::counted;
use crate::tls::{self, Clients};

/// A node that was full and has more free places than this part of all is not full any more. With
/// one free place it would become so again with the next client, and say so each time.
const FREE_AGAIN: usize = 16;

/// How long to wait before accepting again, when the system has no more sockets to give.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// An address that has all the connections that it may have is told of in the log, and then none for so long.
const ADDRESS_TOLD_INTERVAL: Duration = Duration::from_secs(60);

/// How many connections a node takes from its clients.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// From all of them.
    pub most: usize,
    /// From one address, if that is bounded.
    pub most_per_address: Option<usize>,
}

/// Serves the routes of `api` on connections of `listener`, over TLS if there is `tls`, until `shutdown` is ready,
/// and then ends what is under way.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Clients>>,
    connections: Connections,
    api: Arc<Api>,
    telemetry: Telemetry,
    shutdown: impl Future<Output = ()>,
) {
    let bounds = Bounds {
        connections,
        source_of,
        handshake: limits::CLIENT_HANDSHAKE_TIMEOUT,
        first_request: limits::CLIENT_FIRST_REQUEST_TIMEOUT,
        idle: limits::CLIENT_IDLE_TIMEOUT,
        stall: limits::CLIENT_STALL_TIMEOUT,
    };
    let traffic = Traffic::new(&api.bindings, api.tail.clone(), telemetry);
    let guard = api.guard.clone();
    serve_within(bounds, listener, tls, router(api), traffic, Some(guard), shutdown).await;
}

/// The bounds that tests meet sooner than clients do.
struct Bounds {
    connections: Connections,
    /// Whose connections are counted together.
    source_of: fn(IpAddr) -> Option<IpAddr>,
    handshake: Duration,
    first_request: Duration,
    /// Of HTTP/2; hyper has its own for HTTP/1.1.
    idle: Duration,
    stall: Duration,
}

async fn serve_within(
    bounds: Bounds,
    listener: TcpListener,
    tls: Option<Arc<Clients>>,
    router: Router,
    traffic: Traffic,
    guard: Option<Arc<Guard>>,
    shutdown: impl Future<Output = ()>,
) {
    let Connections { most, most_per_address } = bounds.connections;
    let mut door = Door {
        connections_max: most,
        free: Arc::new(Semaphore::new(most)),
        sources: most_per_address.map(|most| Arc::new(Sources::new(most))),
        source_of: bounds.source_of,
        full: false,
        told_of_address: None,
        connections: JoinSet::new(),
        tls,
        server: Arc::new(Server {
            builder: builder(),
            service: TowerToHyperService::new(router),
            traffic,
            guard,
            handshake: bounds.handshake,
            first_request: bounds.first_request,
            idle: bounds.idle,
            stall: bounds.stall,
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            stop: CancellationToken::new(),
        }),
    };
    let mut shutdown = pin!(shutdown);
    loop {
        select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => door.admit(stream, from),
                Err(error) => wait_out(&error).await,
            },
            Some(_) = door.connections.join_next() => {}
        }
        door.count();
    }

    door.admit_waiting(listener);
    // What never ends by itself would hold its connection until it is cut.
    door.server.traffic.end_tail();
    door.server.draining.store(true, Ordering::Relaxed);
    // Ready sooner if everybody has left.
    let _ = timeout(limits::DRAIN_BUSY, all_ended(&mut door.connections)).await;
    door.server.stopping.store(true, Ordering::Release);
    door.server.stop.cancel();
    if timeout(limits::DRAIN_TIMEOUT, all_ended(&mut door.connections)).await.is_err() {
        let left = door.connections.len();
        tracing::warn!(
            "{left} connections had not ended {:?} after the stop",
            limits::DRAIN_TIMEOUT
        );
        door.connections.shutdown().await;
    }
}

async fn all_ended(connections: &mut JoinSet<()>) {
    while connections.join_next().await.is_some() {}
}

/// Lets an error of `accept` pass. One connection's failure concerns nobody else; when the system
/// has no more descriptors, accepting at once again would only spin.
async fn wait_out(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!("no client's connection could be accepted: {error}");
        sleep(ACCEPT_RETRY).await;
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // The same timeout ends a slow head and an idle connection: hyper tells them not apart.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::CLIENT_IDLE_TIMEOUT)
        .max_buf_size(limits::CLIENT_HEAD_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::CLIENT_IDLE_TIMEOUT)
        .max_concurrent_streams(limits::CLIENT_STREAMS_MAX)
        .max_header_list_size(limits::CLIENT_HEAD_BYTES_MAX);
    builder
}

/// Counts connections in.
struct Door {
    connections_max: usize,
    free: Arc<Semaphore>,
    /// Without it, one address may have all.
    sources: Option<Arc<Sources>>,
    source_of: fn(IpAddr) -> Option<IpAddr>,
    /// Whether connections are turned away: that is logged when it begins.
    full: bool,
    /// When it was logged last that an address has too many.
    told_of_address: Option<Instant>,
    connections: JoinSet<()>,
    /// Without it, connections are not encrypted.
    tls: Option<Arc<Clients>>,
    server: Arc<Server>,
}

impl Door {
    fn admit(&mut self, stream: TcpStream, from: SocketAddr) {
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            if !self.full {
                let most = self.connections.len();
                tracing::warn!("{most} connections are as many as this node takes: refusing more");
            }
            self.full = true;
            counted().http_refused_connections.inc();
            self.refuse(&stream, false);
            return;
        };
        if self.free.available_permits() > self.connections_max / FREE_AGAIN {
            self.full = false;
        }
        // One that comes by IPv4 to a listener for both is written as it is known elsewhere.
        let from = from.ip().to_canonical();
        let Ok(place) = self.place(from) else {
            self.refuse(&stream, true);
            return;
        };
        let admission = Admission { _permit: permit, _place: place };
        let server = Arc::clone(&self.server);
        match &self.tls {
            None => self.connections.spawn(server.plain(stream, from, admission)),
            Some(tls) => {
                self.connections.spawn(server.secure(stream, from, Arc::clone(tls), admission))
            }
        };
    }

    /// A place among those of its address, where these are counted; an error if it has all that it may.
    fn place(&mut self, from: IpAddr) -> Result<Option<Place>, ()> {
        let counted_as = self.sources.as_ref().zip((self.source_of)(from));
        let Some((sources, source)) = counted_as else { return Ok(None) };
        if let Some(place) = sources.admit(source) {
            return Ok(Some(place));
        }
        counted().http_address_refused_connections.inc();
        let now = Instant::now();
        if self.told_of_address.is_none_or(|told| now - told >= ADDRESS_TOLD_INTERVAL) {
            self.told_of_address = Some(now);
            tracing::warn!(
                "{source} has as many connections as one address may have: refusing more"
            );
        }
        Err(())
    }

    /// A courtesy: the client learns why, if its socket takes the answer at once.
    fn refuse(&self, stream: &TcpStream, is_of_address: bool) {
        if self.tls.is_none() {
            let _ = stream.try_write(&error::too_many_connections(is_of_address));
        }
    }

    fn count(&self) {
        counted().http_connections.set(i64::try_from(self.connections.len()).unwrap_or(i64::MAX));
    }

    /// Closes `listener`, but admits whom the system has already connected: they may have sent a
    /// request. The system itself is asked, for what the runtime knows of it may be out of date.
    fn admit_waiting(&mut self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, from)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            match stream {
                Ok(stream) => self.admit(stream, from),
                Err(error) => tracing::debug!("a client's connection was gone at once: {error}"),
            }
        }
    }
}

/// What a connection holds as long as it is there.
struct Admission {
    _permit: OwnedSemaphorePermit,
    _place: Option<Place>,
}

/// What is known of the requests of a connection.
#[derive(Default)]
struct Heard {
    /// There was one.
    any: AtomicBool,
    /// They are HTTP/2's.
    is_http2: AtomicBool,
    /// There was one since it was looked at last.
    lately: AtomicBool,
    /// Whether HTTP/2's answers are taken.
    taken: Taken,
}

impl Heard {
    fn note(&self, version: Version) {
        self.any.store(true, Ordering::Relaxed);
        if version == Version::HTTP_2 {
            self.is_http2.store(true, Ordering::Relaxed);
            self.lately.store(true, Ordering::Relaxed);
        }
    }
}

/// Why a connection is to end that could go on.
enum Over {
    /// All are to end.
    Stopping,
    /// No request came in time.
    Silent,
    /// No further one did.
    Idle,
}

/// What all connections share.
struct Server {
    builder: Builder<TokioExecutor>,
    service: TowerToHyperService<Router>,
    traffic: Traffic,
    guard: Option<Arc<Guard>>,
    /// How long a TLS handshake may take.
    handshake: Duration,
    /// How long a connection's first request may take to come.
    first_request: Duration,
    /// How long an HTTP/2 connection's next request may take to come, at least; at most twice that.
    idle: Duration,
    /// How long a client may take nothing of what it is sent.
    stall: Duration,
    /// Answers ask clients to close their connections.
    draining: AtomicBool,
    /// Connections should end. Set before `stop` tells those that sleep.
    stopping: AtomicBool,
    stop: CancellationToken,
}

impl Server {
    /// One connection, from its first byte to its last.
    async fn plain(self: Arc<Self>, stream: TcpStream, from: IpAddr, _admission: Admission) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("a client's connection was gone at once: {error}");
            return;
        }
        let (stream, returned) = linger::lend(stream, self.stall);
        self.connection(stream, from).await;
        if let Ok(stream) = returned.await {
            linger::close(stream).await;
        }
    }

    /// The same, over TLS.
    async fn secure(
        self: Arc<Self>,
        mut stream: TcpStream,
        from: IpAddr,
        tls: Arc<Clients>,
        _admission: Admission,
    ) {
        let handshake = async {
            stream.set_nodelay(true)?;
            let mut first = [0];
            if stream.peek(&mut first).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !tls::speaks_tls(first[0]) {
                stream.write_all(&error::not_tls()).await?;
                linger::close(stream).await;
                return Err(io::Error::other("not TLS"));
            }
            let (stream, returned) = linger::lend(stream, self.stall);
            match tls.accept(stream).await {
                Ok(stream) => Ok((stream, returned)),
                Err(error) => {
                    // The alert that says why is read by whoever reads to the end.
                    if let Ok(stream) = returned.await {
                        linger::close(stream).await;
                    }
                    Err(error)
                }
            }
        };
        // As long as nothing of a request can have come, a stop need not wait.
        let accepted = select! {
            accepted = timeout(self.handshake, handshake) => accepted,
            () = self.stop.cancelled() => return,
        };
        match accepted {
            Ok(Ok((stream, returned))) => {
                self.connection(stream, from).await;
                if let Ok(stream) = returned.await {
                    linger::close(stream).await;
                }
            }
            Ok(Err(error)) => tracing::debug!("a client's TLS handshake failed: {error}"),
            Err(_) => tracing::debug!("a client's TLS handshake took too long"),
        }
    }

    /// What is said on a connection from `from`, until it is over; `stream` is dropped then.
    async fn connection(
        self: &Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        from: IpAddr,
    ) {
        let heard = Heard::default();
        let service = hyper::service::service_fn(|request: hyper::Request<Incoming>| {
            heard.note(request.version());
            // HTTP/2 has no such header; it says the same in a frame of its own.
            let closes = request.version() < Version::HTTP_2;
            let mut underway = self.traffic.begin(&request);
            let id = underway.id().clone();
            let admitted = match &self.guard {
                Some(guard) => {
                    guard.admit(request.method(), request.uri(), request.headers(), from, &id)
                }
                None => Ok(None),
            };
            if matches!(&admitted, Err(error) if error.kind == Kind::Unauthenticated) {
                underway.withdraw_span();
            }
            let traced = underway.traced();
            let (request, http2) = if closes {
                (request.map(Body::new), None)
            } else {
                let (head, body) = request.into_parts();
                let (body, unread) = unread::lend(Body::new(body));
                (hyper::Request::from_parts(head, body), Some((unread, heard.taken.clone())))
            };
            // It does nothing until it is polled.
            let response = self.service.call(request);
            let server = Arc::clone(self);
            id.scope(async move {
                let mut response = match (admitted, traced) {
                    (Ok(None), None) => response.await?,
                    // Rare, and large where they would be a part of every request's future.
                    (Ok(Some(action)), None) => Box::pin(action.around(response)).await?,
                    (Ok(None), Some(traced)) => Box::pin(traced.scope(response)).await?,
                    (Ok(Some(action)), Some(traced)) => {
                        Box::pin(traced.scope(action.around(response))).await?
                    }
                    (Err(error), _) => {
                        drop(response);
                        error.into_response()
                    }
                };
                if let Some((unread, taken)) = http2 {
                    unread::discard(unread).await;
                    response = response.map(|body| taken.watch(body));
                }
                server.traffic.end(underway, &mut response);
                if closes && server.draining.load(Ordering::Relaxed) {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            })
        });
        let serving = self.builder.serve_connection(TokioIo::new(stream), service);
        let ended = async {
            let mut serving = pin!(serving);
            match self.unless_over(serving.as_mut(), &heard).await {
                Ok(ended) => ended,
                // Requests under way are finished; of a stop that has its own end.
                Err(Over::Stopping) => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
                Err(Over::Idle) => {
                    serving.as_mut().graceful_shutdown();
                    self.unless_stalled(serving, &heard.taken).await.unwrap_or(Ok(()))
                }
                Err(Over::Silent) => Ok(()),
            }
        };
        if let Err(error) = ended.await {
            tracing::debug!("a client's connection ended: {error}");
        }
    }

    /// What `serving` gives, as long as answers are `taken`.
    async fn unless_stalled<T>(
        &self,
        mut serving: Pin<&mut impl Future<Output = T>>,
        taken: &Taken,
    ) -> Option<T> {
        loop {
            match timeout(self.stall, serving.as_mut()).await {
                Ok(ended) => return Some(ended),
                Err(_) if taken.lately() => {}
                Err(_) => return None,
            }
        }
    }

    /// What `serving` gives; or why it is over before that: all connections are to end, or no request was
    /// `heard` in time, neither hyper's timeout nor a keep-alive covers a client that does not even say
    /// which version of HTTP it speaks, nor one of HTTP/2 that answers pings and asks for nothing.
    ///
    /// A connection is polled several times a request, and a token or a timer is a lock: the token is
    /// polled once, to be woken by it, the first timer until a request was heard, and the second only where
    /// hyper has none.
    async fn unless_over<T>(
        &self,
        mut serving: Pin<&mut impl Future<Output = T>>,
        heard: &Heard,
    ) -> Result<T, Over> {
        let mut stop = pin!(self.stop.cancelled());
        let mut silence = pin!(sleep(self.first_request));
        let mut idleness = pin!(sleep(self.idle));
        let mut woken_as: Option<Waker> = None;
        poll_fn(|context| {
            if let Poll::Ready(ended) = serving.as_mut().poll(context) {
                return Poll::Ready(Ok(ended));
            }
            if self.stopping.load(Ordering::Acquire) {
                return Poll::Ready(Err(Over::Stopping));
            }
            if !heard.any.load(Ordering::Relaxed) {
                if silence.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Err(Over::Silent));
                }
            } else if heard.is_http2.load(Ordering::Relaxed) {
                while idleness.as_mut().poll(context).is_ready() {
                    if !heard.lately.swap(false, Ordering::Relaxed) {
                        return Poll::Ready(Err(Over::Idle));
                    }
                    idleness.as_mut().reset(Instant::now() + self.idle);
                }
            }
            if !woken_as.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                woken_as = Some(context.waker().clone());
                return stop.as_mut().poll(context).map(|()| Err(Over::Stopping));
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests;
