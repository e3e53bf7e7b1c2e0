//! A limiter in etcd: the count is read, and put back in a transaction that holds only if nobody
//! has changed it meanwhile; else all over again.
//!
//! The read is linearizable, as it is unless one asks for less: a limiter that refuses upon a stale
//! count would not be exact.

mod messages;

use std::time::{SystemTime, UNIX_EPOCH};

use http::uri::PathAndQuery;
use messages::{
    Compare, EQUAL, KeyValue, MOD, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest,
    TxnResponse,
};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::load::{Checked, Connection, Error, REQUESTS, WINDOW_MS};

/// One closed loop at the leader.
pub struct Etcd {
    grpc: Grpc<Channel>,
}

/// Opens one HTTP/2 connection that so many closed loops share, each with a stream of its own. gRPC
/// is made for that, and every further connection made etcd slower and dearer.
///
/// # Errors
/// If etcd is not there.
pub async fn connect(address: &str, loops: usize) -> Result<Vec<Etcd>, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    let channel = endpoint.connect().await?;
    Ok((0..loops).map(|_| Etcd { grpc: Grpc::new(channel.clone()) }).collect())
}

impl Connection for Etcd {
    async fn check(&mut self, identifier: u32) -> Result<Checked, Error> {
        let key = format!("ratelimit:wix:user-{identifier}").into_bytes();
        let mut retries = 0;
        loop {
            let read = self.range(&key).await?;
            let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
            let window = match &read {
                Some(found) => Window::decode(&found.value)?,
                None => Window { count: 0, start_ms: now_ms },
            };
            let Some(window) = window.admit(now_ms) else {
                return Ok(Checked { allowed: false, retries });
            };
            // A key that is not there has revision 0.
            let revision = read.map_or(0, |found| found.mod_revision);
            if self.put_if_unchanged(key.clone(), revision, window.encode()).await? {
                return Ok(Checked { allowed: true, retries });
            }
            retries += 1;
        }
    }
}

impl Etcd {
    async fn range(&mut self, key: &[u8]) -> Result<Option<KeyValue>, Error> {
        let request = RangeRequest { key: key.to_vec() };
        let response: RangeResponse = self.call("/etcdserverpb.KV/Range", request).await?;
        Ok(response.kvs.into_iter().next())
    }

    /// Whether the value was put, because the key still had this revision.
    async fn put_if_unchanged(
        &mut self,
        key: Vec<u8>,
        mod_revision: i64,
        value: Vec<u8>,
    ) -> Result<bool, Error> {
        let unchanged = Compare {
            result: EQUAL,
            target: MOD,
            key: key.clone(),
            mod_revision: Some(mod_revision),
        };
        let put = RequestOp { put: Some(PutRequest { key, value }) };
        let request = TxnRequest { compare: vec![unchanged], success: vec![put] };
        let response: TxnResponse = self.call("/etcdserverpb.KV/Txn", request).await?;
        Ok(response.succeeded)
    }

    async fn call<Q, A>(&mut self, path: &'static str, request: Q) -> Result<A, Error>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        self.grpc.ready().await?;
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        let path = PathAndQuery::from_static(path);
        Ok(self.grpc.unary(tonic::Request::new(request), path, codec).await?.into_inner())
    }
}

/// What is stored for a limiter: the guide's `{count, windowStart}`, in sixteen bytes.
#[derive(Clone, Copy)]
struct Window {
    count: u64,
    start_ms: u64,
}

impl Window {
    /// The window after one more request; `None` if it is refused.
    fn admit(self, now_ms: u64) -> Option<Self> {
        if now_ms >= self.start_ms + WINDOW_MS {
            return Some(Self { count: 1, start_ms: now_ms });
        }
        (self.count < REQUESTS).then_some(Self { count: self.count + 1, ..self })
    }

    fn encode(self) -> Vec<u8> {
        [self.count.to_be_bytes(), self.start_ms.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (count, start_ms) = bytes.split_at_checked(8).ok_or("a window has sixteen bytes")?;
        Ok(Self {
            count: u64::from_be_bytes(count.try_into()?),
            start_ms: u64::from_be_bytes(start_ms.try_into()?),
        })
    }
}
