//! `/admin/bindings` and `/admin/objects`: what objects there are, and what each one holds.
//!
//! Linearizable reads, which change nothing. They read many rows, so only so many run at once.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::objects::{not_found, object_behind};
use super::parameters::{invalid, limit, named};
use super::{Api, json_response};
use crate::bindings::Binding;
use crate::error::{Error, Result};
use crate::limits::{self, OBJECTS_LIMIT_DEFAULT, OBJECTS_LIMIT_MAX};
use crate::machine::{NamespaceId, Quota, Space};
use crate::query::Source;
use crate::query::objects::{self, Counted, Cursor, List, Listed, Shown, Sizes};

/// An object as clients see it, without what it holds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    binding: &'a str,
    class: &'static str,
    /// Null if no client ever used it.
    name: Option<&'a str>,
    id: String,
    keys: u64,
    /// These two are null if they are not known.
    bytes: Option<u64>,
    alarm_time: Option<u64>,
    /// Null if there is no quota.
    bytes_max: Option<u64>,
}

/// `GET /admin/bindings`:
/// `{"bindings":[{"name","class","objects","bytes","objectsMax","objectBytesMax"},…]}`.
pub(super) async fn bindings(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response> {
    let [] = named(uri.query().unwrap_or_default(), [])?;
    let namespaces: Vec<_> = api.bindings.iter().map(|binding| binding.namespace.id()).collect();
    let spaces = api.proposer.spaces().await?;
    let known = namespaces.iter().map(|namespace| {
        let Space { objects, bytes, .. } = spaces.counted(*namespace)?;
        Some(Some(Counted { objects, bytes: Some(bytes) }))
    });
    let counted = match known.collect::<Option<Vec<_>>>() {
        Some(counted) => counted,
        // Before a build that counts has counted all.
        None => count(&api, namespaces).await?,
    };
    let views = api.bindings.iter().zip(counted).map(|(binding, counted)| {
        let quota = spaces.quota(binding.namespace.id());
        json!({
            "name": binding.name,
            "class": binding.class.name(),
            "objects": counted.map(|counted| counted.objects),
            "bytes": counted.and_then(|counted| counted.bytes),
            "objectsMax": quota.and_then(|quota| quota.objects_max),
            "objectBytesMax": quota.map(|quota| quota.object_bytes_max),
        })
    });
    let views: Vec<Value> = views.collect();
    Ok(json_response(json!({"bindings": views}).to_string()))
}

/// How many objects each namespace has, by counting them, if they are not too many.
async fn count(api: &Api, namespaces: Vec<NamespaceId>) -> Result<Vec<Option<Counted>>> {
    read(api, move |source, _| {
        let snapshot = source.with_cells(Vec::new());
        let count = |namespace| objects::count(&*snapshot, namespace, limits::OBJECTS_COUNTED_MAX);
        let counted: std::io::Result<Vec<_>> = namespaces.into_iter().map(count).collect();
        counted.map_err(Error::unreadable)
    })
    .await
}

/// `GET /admin/objects`: `{"objects":[…],"cursor"}`, the objects of a binding by their ids.
pub(super) async fn list(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response> {
    let names = ["binding", "prefix", "limit", "cursor"];
    let [binding, prefix, most, cursor] = named(uri.query().unwrap_or_default(), names)?;
    let binding = binding.ok_or_else(|| invalid("binding must be given"))?;
    let binding = find(&api, &binding)?;
    let prefix = prefix.unwrap_or_default();
    if prefix.len() > limits::OBJECT_NAME_BYTES_MAX {
        let most = limits::OBJECT_NAME_BYTES_MAX;
        return Err(invalid(format!("prefix may have at most {most} bytes")));
    }
    let most = limit(most.as_deref(), OBJECTS_LIMIT_DEFAULT, OBJECTS_LIMIT_MAX)?;
    let cursor = cursor.as_deref().map(Cursor::parse).transpose()?;
    let (namespace, retention_ms) = (binding.namespace.id(), api.proposer.retention_ms());
    let quota = api.proposer.spaces().await?.quota(namespace);
    let List { objects, cursor } = read(&api, move |source, _| {
        objects::list(source, namespace, &prefix, most, cursor.as_ref(), retention_ms)
    })
    .await?;
    let views = objects.iter().map(|Listed { id, name, sizes }| {
        view(binding, binding.namespace.hex(*id), name.as_deref(), *sizes, quota)
    });
    let views: Vec<View<'_>> = views.collect();
    let cursor = cursor.map(|cursor| cursor.to_text());
    Ok(json_response(json!({"objects": views, "cursor": cursor}).to_string()))
}

/// `GET /admin/objects/{binding}/…`: the same of one object, with `"storage":[{"key","value"},…]` and a
/// cursor for what more there is of that.
pub(super) async fn show(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response> {
    let (object, binding) = object_behind(3, uri.path(), &api.bindings, None)?;
    let [most, cursor] = named(uri.query().unwrap_or_default(), ["limit", "cursor"])?;
    let most = limit(most.as_deref(), OBJECTS_LIMIT_DEFAULT, OBJECTS_LIMIT_MAX)?;
    let cursor = cursor.as_deref().map(Cursor::parse).transpose()?;
    let (id, retention_ms) = (binding.namespace.hex(object.id), api.proposer.retention_ms());
    let asked = object.name.clone();
    let quota = api.proposer.spaces().await?.quota(object.namespace);
    let shown = read(&api, move |source, _| {
        objects::show(source, &object, most, cursor.as_ref(), retention_ms)
    })
    .await?;
    let shown = shown.ok_or_else(|| {
        not_found(format!("{} has no object of this {}", binding.name, by(asked.as_deref())))
    })?;
    Ok(json_response(page(binding, id, asked.as_deref(), &shown, quota)))
}

fn by(name: Option<&str>) -> &'static str {
    if name.is_some() { "name" } else { "id" }
}

/// The values as they are stored: an entry's numbers and the order of its members are the client's.
fn page(
    binding: &Binding,
    id: String,
    asked: Option<&str>,
    shown: &Shown,
    quota: Option<Quota>,
) -> Vec<u8> {
    let Shown { name, sizes, storage, cursor } = shown;
    let view = view(binding, id, name.as_deref().or(asked), *sizes, quota);
    let mut body = serde_json::to_vec(&view).expect("a view is JSON");
    body.pop();
    body.extend_from_slice(br#","storage":["#);
    for (place, (key, value)) in storage.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        body.extend_from_slice(br#"{"key":"#);
        serde_json::to_writer(&mut body, key).expect("a string is JSON");
        body.extend_from_slice(br#","value":"#);
        body.extend_from_slice(value);
        body.push(b'}');
    }
    let cursor = json!(cursor.as_ref().map(Cursor::to_text));
    body.extend_from_slice(format!(r#"],"cursor":{cursor}}}"#).as_bytes());
    body
}

fn view<'a>(
    binding: &'a Binding,
    id: String,
    name: Option<&'a str>,
    sizes: Sizes,
    quota: Option<Quota>,
) -> View<'a> {
    let Sizes { keys, bytes, alarm_ms } = sizes;
    let (class, alarm_time) = (binding.class.name(), alarm_ms);
    let bytes_max = quota.map(|quota| quota.object_bytes_max);
    View { binding: &binding.name, class, name, id, keys, bytes, alarm_time, bytes_max }
}

/// The binding of this name.
pub(super) fn find<'a>(api: &'a Api, name: &str) -> Result<&'a Binding> {
    api.bindings.get(name).ok_or_else(|| not_found(format!("there is no binding {name:?}")))
}

/// Reads from the state, at the cluster's time that `read` is given, when it is this one's turn.
pub(super) async fn read<T: Send + 'static>(
    api: &Api,
    read: impl FnOnce(&dyn Source, u64) -> Result<T> + Send + 'static,
) -> Result<T> {
    let _turn = timeout(limits::REQUEST_TIMEOUT, api.inspections.acquire())
        .await
        .map_err(|_| Error::overloaded("too many operators look at objects"))?
        .expect("the semaphore is never closed");
    let (now_ms, source) = api.reads.objects().await?;
    spawn_blocking(move || read(&*source, now_ms))
        .await
        .map_err(|error| Error::internal(format!("a look's task did not end: {error}")))?
}
