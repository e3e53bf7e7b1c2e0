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
use super::traffic::{Telemetry, Traffic};
use super::{Api, Guard, error, linger, router, unread};
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
            let underway = self.traffic.begin(&request);
            let (id, traced) = (underway.id().clone(), underway.traced());
            let admitted = match &self.guard {
                Some(guard) => {
                    guard.admit(request.method(), request.uri(), request.headers(), from, &id)
                }
                None => Ok(None),
            };
            let (request, unread) = if closes {
                (request.map(Body::new), None)
            } else {
                let (head, body) = request.into_parts();
                let (body, unread) = unread::lend(Body::new(body));
                (hyper::Request::from_parts(head, body), Some(unread))
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
                if let Some(unread) = unread {
                    unread::discard(unread).await;
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
                // Requests under way are finished.
                Err(Over::Stopping | Over::Idle) => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
                Err(Over::Silent) => Ok(()),
            }
        };
        if let Err(error) = ended.await {
            tracing::debug!("a client's connection ended: {error}");
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
mod tests {
    use axum::routing::get;
    use futures_util::{FutureExt, StreamExt, stream};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};
    use tokio::task::JoinHandle;

    use super::super::tail::Tail;
    use super::*;
    use crate::bindings::Bindings;
    use crate::trace::Tracer;

    const ASK: &[u8] = b"GET /now HTTP/1.1\r\nhost: x\r\n\r\n";
    const ASK_SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";

    /// Longer than any test.
    const LONG: Duration = Duration::from_secs(3600);
    /// More than the system's buffers between a client and its server hold.
    const LARGE_BYTES: usize = 64 * 1024 * 1024;

    /// A server whose `/now` answers at once, `/slow` when it is let; then `/broken` breaks off.
    struct Running {
        address: std::net::SocketAddr,
        /// Notified when `/slow` was asked for.
        asked: Arc<Notify>,
        /// Lets `/slow` answer.
        let_go: Arc<Notify>,
        stop: oneshot::Sender<()>,
        server: JoinHandle<()>,
    }

    /// None but the number of connections that a test would meet.
    fn bounds(most: usize) -> Bounds {
        Bounds {
            connections: Connections { most, most_per_address: None },
            source_of,
            handshake: LONG,
            first_request: LONG,
            idle: LONG,
            stall: LONG,
        }
    }

    async fn start(connections_max: usize, first_request: Duration) -> Running {
        start_as(Bounds { first_request, ..bounds(connections_max) }, None).await
    }

    async fn start_as(bounds: Bounds, tls: Option<Arc<Clients>>) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, let_go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (stop, stopped) = oneshot::channel();
        let slow = {
            let (asked, let_go) = (Arc::clone(&asked), Arc::clone(&let_go));
            move || async move {
                asked.notify_one();
                let_go.notified().await;
                "slow"
            }
        };
        let broken = {
            let let_go = Arc::clone(&let_go);
            move || async move {
                let first = stream::iter([Ok("some")]);
                let then = stream::once(async move {
                    let_go.notified().await;
                    Err(io::Error::other("disk"))
                });
                Body::from_stream(first.chain(then))
            }
        };
        let router = Router::new()
            .route("/now", get(|| async { "now" }))
            .route("/large", get(|| async { vec![b'x'; LARGE_BYTES] }))
            .route("/slow", get(slow))
            .route("/broken", get(broken));
        let telemetry = Telemetry { tracer: Tracer::default(), slow_request: LONG };
        let traffic = Traffic::new(&Bindings::default_for("test"), Tail::new(1, || 0), telemetry);
        let server = tokio::spawn(serve_within(
            bounds,
            listener,
            tls,
            router,
            traffic,
            None,
            stopped.map(|_| ()),
        ));
        Running { address, asked, let_go, stop, server }
    }

    /// Reads until the answer's body, `end`, has come.
    async fn read_until(stream: &mut TcpStream, end: &str) -> String {
        let mut answer = String::new();
        while !answer.ends_with(end) {
            let mut piece = [0; 1024];
            let read = stream.read(&mut piece).await.unwrap();
            assert!(read > 0, "the connection ended after {answer:?}");
            answer.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
        answer
    }

    async fn read_to_end(stream: &mut TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_stop_finishes_what_is_under_way_and_closes_what_is_idle() {
        let running = start(10, LONG).await;
        let mut idle = TcpStream::connect(running.address).await.unwrap();
        idle.write_all(ASK).await.unwrap();
        read_until(&mut idle, "now").await;
        let mut busy = TcpStream::connect(running.address).await.unwrap();
        busy.write_all(ASK).await.unwrap();
        assert!(!read_until(&mut busy, "now").await.contains("connection: close"));
        busy.write_all(ASK_SLOW).await.unwrap();
        running.asked.notified().await;
        // Connected, and with its request sent, but perhaps not yet accepted.
        let mut late = TcpStream::connect(running.address).await.unwrap();
        late.write_all(ASK).await.unwrap();

        running.stop.send(()).unwrap();
        assert!(read_to_end(&mut late).await.ends_with("now"));
        assert_eq!(read_to_end(&mut idle).await, "");
        assert!(TcpStream::connect(running.address).await.is_err());
        running.let_go.notify_one();
        let answer = read_to_end(&mut busy).await;
        assert!(answer.contains("connection: close") && answer.ends_with("slow"), "{answer}");
        drop((idle, busy, late));
        running.server.await.unwrap();
    }

    /// Frames of HTTP/2 that come (RFC 9113, section 4.1): their types, and the stream's end.
    async fn read_frame(stream: &mut TcpStream) -> (u8, bool) {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        let (kind, flags) = (head[3], head[4]);
        (kind, matches!(kind, DATA | HEADERS) && flags & 1 == 1)
    }

    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const PING: u8 = 6;

    #[tokio::test]
    async fn an_answer_over_http2_comes_without_a_reset_although_nobody_read_the_body() {
        let running = start(10, LONG).await;
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        // POST would be refused at once; a GET may have a body too, and its route can be held.
        let fields = b"\x82\x86\x04\x05/slow\x01\x01x";
        let head = [0, 0, u8::try_from(fields.len()).unwrap(), HEADERS, 4, 0, 0, 0, 1];
        client.write_all(&[&head[..], fields].concat()).await.unwrap();
        running.asked.notified().await;
        running.let_go.notify_one();
        client.write_all(b"\0\0\x02\0\x01\0\0\0\x01{}").await.unwrap();
        loop {
            let (kind, is_end) = read_frame(&mut client).await;
            assert_ne!(kind, RST_STREAM);
            if is_end {
                break;
            }
        }
        // What would have come behind the answer has come before this.
        client.write_all(b"\0\0\x08\x06\0\0\0\0\0pingping").await.unwrap();
        loop {
            let (kind, _) = read_frame(&mut client).await;
            assert_ne!(kind, RST_STREAM);
            if kind == PING {
                break;
            }
        }
        drop(client);
        running.stop.send(()).unwrap();
        running.server.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_is_told_to_close_cannot_come_back() {
        let running = start(10, LONG).await;
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(ASK).await.unwrap();
        read_until(&mut client, "now").await;
        running.stop.send(()).unwrap();
        loop {
            client.write_all(ASK).await.unwrap();
            let answer = read_until(&mut client, "now").await;
            if answer.contains("connection: close") {
                break;
            }
        }
        assert!(TcpStream::connect(running.address).await.is_err());
    }

    #[tokio::test]
    async fn a_request_that_crosses_the_close_finds_a_clean_end() {
        let running = start(10, LONG).await;
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(ASK).await.unwrap();
        read_until(&mut client, "now").await;
        running.stop.send(()).unwrap();
        // The node's half is closed now, and the client may not have looked.
        assert_eq!(read_to_end(&mut client).await, "");
        client.write_all(ASK).await.unwrap();
        assert_eq!(read_to_end(&mut client).await, "");
        // The server waits for the client alone.
        drop(client);
        running.server.await.unwrap();
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_never_looks_complete() {
        let running = start(10, LONG).await;
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(b"GET /broken HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let answer = read_until(&mut client, "some\r\n").await;
        assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
        running.let_go.notify_one();
        // The connection closes without the last, empty chunk.
        assert_eq!(read_to_end(&mut client).await, "");
    }

    #[tokio::test]
    async fn a_connection_too_many_is_told_so_and_room_is_given_again() {
        let running = start(1, LONG).await;
        let mut first = TcpStream::connect(running.address).await.unwrap();
        first.write_all(ASK).await.unwrap();
        read_until(&mut first, "now").await;
        let mut second = TcpStream::connect(running.address).await.unwrap();
        let answer = read_to_end(&mut second).await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
        drop(first);
        loop {
            let mut next = TcpStream::connect(running.address).await.unwrap();
            if next.write_all(ASK).await.is_ok() {
                let mut answer = [0; 12];
                if next.read_exact(&mut answer).await.is_ok() && answer == *b"HTTP/1.1 200" {
                    break;
                }
            }
        }
    }

    /// Whether the server answers a client anew, and with what.
    async fn status_of_another(running: &Running) -> Option<String> {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(ASK).await.ok()?;
        let mut status = [0; 12];
        client.read_exact(&mut status).await.ok()?;
        Some(String::from_utf8(status.into()).unwrap())
    }

    #[tokio::test]
    async fn an_address_has_its_share_of_connections() {
        let connections = Connections { most: 10, most_per_address: Some(2) };
        let source_of = |ip: IpAddr| Some(ip);
        let running = start_as(Bounds { connections, source_of, ..bounds(10) }, None).await;
        let refused = || counted().http_address_refused_connections.get();
        let before = refused();
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut client = TcpStream::connect(running.address).await.unwrap();
            client.write_all(ASK).await.unwrap();
            read_until(&mut client, "now").await;
            held.push(client);
        }
        let mut third = TcpStream::connect(running.address).await.unwrap();
        let answer = read_to_end(&mut third).await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        assert!(answer.contains("from this address"), "{answer}");
        assert!(refused() > before);
        held.pop();
        while status_of_another(&running).await.as_deref() != Some("HTTP/1.1 200") {}
    }

    #[tokio::test]
    async fn this_machine_s_own_connections_are_not_counted() {
        let connections = Connections { most: 10, most_per_address: Some(1) };
        let running = start_as(Bounds { connections, ..bounds(10) }, None).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut client = TcpStream::connect(running.address).await.unwrap();
            client.write_all(ASK).await.unwrap();
            read_until(&mut client, "now").await;
            held.push(client);
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_not_kept() {
        let stall = Duration::from_millis(50);
        let running = start_as(Bounds { stall, ..bounds(1) }, None).await;
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        // It holds the only place until the server gives up.
        while status_of_another(&running).await.as_deref() != Some("HTTP/1.1 200") {}
        let mut taken = Vec::new();
        let _ = client.read_to_end(&mut taken).await;
        assert!(taken.starts_with(b"HTTP/1.1 200") && taken.len() < LARGE_BYTES, "{}", taken.len());
    }

    #[tokio::test]
    async fn a_head_is_bounded() {
        let running = start(10, LONG).await;
        let ask = async |headers: String| {
            let mut client = TcpStream::connect(running.address).await.unwrap();
            let head =
                format!("GET /now HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n");
            // The server may close before it has read all of it.
            let _ = client.write_all(head.as_bytes()).await;
            let mut status = [0; 12];
            client.read_exact(&mut status).await.unwrap();
            String::from_utf8(status.into()).unwrap()
        };
        let most = limits::CLIENT_HEAD_BYTES_MAX as usize;
        assert_eq!(ask(format!("x: {}\r\n", "x".repeat(most - 1024))).await, "HTTP/1.1 200");
        assert_eq!(ask(format!("x: {}\r\n", "x".repeat(most))).await, "HTTP/1.1 431");
        // hyper's own bound; two are there besides.
        assert_eq!(ask("x: x\r\n".repeat(98)).await, "HTTP/1.1 200");
        assert_eq!(ask("x: x\r\n".repeat(99)).await, "HTTP/1.1 431");
    }

    /// A client's first words in HTTP/2: the preface, and settings that are the defaults.
    const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const HEADERS: u8 = 1;
    const GOAWAY: u8 = 7;
    const CONTINUATION: u8 = 9;

    /// A frame (RFC 9113, section 4.1).
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// `GET /now` with so many bytes in further headers, in as many frames as that takes.
    fn get_now(stream: u32, further_bytes: usize) -> Vec<u8> {
        // :method GET, :scheme http, then :path and :authority as literals (RFC 7541).
        let mut fields = b"\x82\x86\x04\x04/now\x01\x01x".to_vec();
        for _ in 0..further_bytes.div_ceil(100) {
            fields.extend([&b"\0\x01x\x63"[..], &[b'x'; 99]].concat());
        }
        let pieces: Vec<&[u8]> = fields.chunks(16 * 1024).collect();
        let frames = pieces.iter().enumerate().map(|(place, piece)| {
            let end_headers = if place + 1 == pieces.len() { 4 } else { 0 };
            match place {
                0 => frame(HEADERS, 1 | end_headers, stream, piece),
                _ => frame(CONTINUATION, end_headers, stream, piece),
            }
        });
        frames.collect::<Vec<_>>().concat()
    }

    /// The next frame of this kind: its stream and its payload. None at the end of the connection.
    async fn next_frame(client: &mut TcpStream, wanted: u8) -> Option<(u32, Vec<u8>)> {
        loop {
            let mut head = [0; 9];
            client.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            client.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if head[3] == wanted {
                return Some((stream, payload));
            }
        }
    }

    /// `:status 200` is one byte of a table (RFC 7541, appendix A).
    const OK: u8 = 0x88;

    #[tokio::test]
    async fn a_head_is_bounded_in_http2_too() {
        let running = start(10, LONG).await;
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(HELLO).await.unwrap();
        // As HTTP/2 counts it, each of the headers has 132 bytes.
        let most = limits::CLIENT_HEAD_BYTES_MAX as usize;
        client.write_all(&get_now(1, most / 2)).await.unwrap();
        let (stream, answer) = next_frame(&mut client, HEADERS).await.unwrap();
        assert_eq!((stream, answer[0]), (1, OK));
        client.write_all(&get_now(3, most)).await.unwrap();
        let (stream, answer) = next_frame(&mut client, HEADERS).await.unwrap();
        assert_eq!(stream, 3);
        assert_ne!(answer[0], OK, "431");
        // The connection goes on.
        client.write_all(&get_now(5, 0)).await.unwrap();
        let (stream, answer) = next_frame(&mut client, HEADERS).await.unwrap();
        assert_eq!((stream, answer[0]), (5, OK));
    }

    #[tokio::test]
    async fn an_idle_connection_of_http2_is_closed_and_says_so() {
        let idle = Duration::from_millis(50);
        let running = start_as(Bounds { idle, ..bounds(10) }, None).await;
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(&[HELLO, &get_now(1, 0)].concat()).await.unwrap();
        let (stream, answer) = next_frame(&mut client, HEADERS).await.unwrap();
        assert_eq!((stream, answer[0]), (1, OK));
        assert!(next_frame(&mut client, GOAWAY).await.is_some());
        while next_frame(&mut client, GOAWAY).await.is_some() {}
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_not_kept() {
        let running = start(10, Duration::from_millis(1)).await;
        let mut client = TcpStream::connect(running.address).await.unwrap();
        // As far as this goes, it might become HTTP/1 as well as HTTP/2.
        client.write_all(b"P").await.unwrap();
        assert_eq!(read_to_end(&mut client).await, "");
    }

    fn over_tls(handshake: Duration) -> (Bounds, Option<Arc<Clients>>, tls::Trust) {
        let (clients, trust) = tls::tests::localhost();
        (Bounds { handshake, ..bounds(10) }, Some(clients), trust)
    }

    #[tokio::test]
    async fn a_client_over_tls_is_served_and_told_of_the_end() {
        let (bounds, clients, trust) = over_tls(LONG);
        let running = start_as(bounds, clients).await;
        let stream = TcpStream::connect(running.address).await.unwrap();
        let mut client = trust.connect("127.0.0.1", stream).await.unwrap();
        for _ in 0..2 {
            client.write_all(ASK).await.unwrap();
            let mut answer = vec![0; 1024];
            let mut length = 0;
            while !answer[..length].ends_with(b"now") {
                length += client.read(&mut answer[length..]).await.unwrap();
            }
        }
        running.stop.send(()).unwrap();
        // A connection that was cut would be an error here.
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        drop(client);
        running.server.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_does_not_speak_tls_is_told_that_it_has_to() {
        let (bounds, clients, _) = over_tls(LONG);
        let running = start_as(bounds, clients).await;
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(ASK).await.unwrap();
        let answer = read_to_end(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains("not_tls") && answer.contains("https://"), "{answer}");
    }

    #[tokio::test]
    async fn a_handshake_that_does_not_end_is_not_waited_for() {
        let (bounds, clients, _) = over_tls(Duration::from_millis(50));
        let running = start_as(bounds, clients).await;
        for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
            let mut client = TcpStream::connect(running.address).await.unwrap();
            client.write_all(begun).await.unwrap();
            // Closed or reset, for what was sent was not read to its end.
            let ended = client.read(&mut [0]).await;
            assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        }
        running.stop.send(()).unwrap();
        running.server.await.unwrap();
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_a_handshake() {
        let (bounds, clients, _) = over_tls(LONG);
        let running = start_as(bounds, clients).await;
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(b"\x16").await.unwrap();
        running.stop.send(()).unwrap();
        running.server.await.unwrap();
        assert!(matches!(client.read(&mut [0]).await, Ok(0) | Err(_)));
    }

    #[tokio::test]
    async fn a_connection_too_many_over_tls_is_closed_and_room_is_given_again() {
        let (bounds, clients, trust) = over_tls(LONG);
        let connections = Connections { most: 1, most_per_address: None };
        let running = start_as(Bounds { connections, ..bounds }, clients).await;
        // Its handshake alone takes the place.
        let mut first = TcpStream::connect(running.address).await.unwrap();
        first.write_all(b"\x16").await.unwrap();
        let mut second = TcpStream::connect(running.address).await.unwrap();
        assert!(matches!(second.read(&mut [0]).await, Ok(0) | Err(_)));
        drop(first);
        loop {
            let next = TcpStream::connect(running.address).await.unwrap();
            let Ok(mut next) = trust.connect("127.0.0.1", next).await else { continue };
            next.write_all(ASK).await.unwrap();
            let mut answer = [0; 12];
            next.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
            break;
        }
    }
}
