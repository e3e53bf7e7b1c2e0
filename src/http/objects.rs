//! `/do/{binding}/name/{name}/…` and `/do/{binding}/id/{id}/…`: which object a path means.
//!
//! The path is taken apart before it is decoded, so that a name may hold any character, `/`
//! included. Decoding is strict: a broken escape is refused and not passed on as it stands.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Api;
use crate::bindings::{Binding, Bindings, Class};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::machine::ObjectRef;

/// The limiter that a path names.
pub(super) struct Limiter(pub(super) ObjectRef);

/// The audit shard that a path names.
pub(super) struct Shard {
    pub(super) object: ObjectRef,
    /// The key of its namespace.
    pub(super) key: [u8; 32],
}

impl FromRequestParts<Arc<Api>> for Limiter {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self> {
        object(parts.uri.path(), &api.bindings, Class::RateLimiter).map(|(object, _)| Self(object))
    }
}

impl FromRequestParts<Arc<Api>> for Shard {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self> {
        let (object, binding) = object(parts.uri.path(), &api.bindings, Class::AuditLogger)?;
        Ok(Self { object, key: *binding.namespace.key() })
    }
}

/// The object of `/do/{binding}/{name or id}/{which}/…`, and its binding, if that is of `class`.
pub(crate) fn object<'a>(
    path: &str,
    bindings: &'a Bindings,
    class: Class,
) -> Result<(ObjectRef, &'a Binding)> {
    object_behind(2, path, bindings, Some(class))
}

/// The object of `{binding}/{name or id}/{which}` behind so many segments of a path, of `class` or, without
/// one, of any.
pub(super) fn object_behind<'a>(
    behind: usize,
    path: &str,
    bindings: &'a Bindings,
    class: Option<Class>,
) -> Result<(ObjectRef, &'a Binding)> {
    let segments = segments(path, behind)?;
    let name = percent_decode(segments.binding, "the binding's name")?;
    let binding =
        bindings.get(&name).ok_or_else(|| not_found(format!("there is no binding {name:?}")))?;
    if class.is_some_and(|class| class != binding.class) {
        let class = binding.class.name();
        return Err(not_found(format!("{name} binds the class {class}, which has no such route")));
    }
    let object = match segments.by {
        "name" => by_name(binding, segments.which)?,
        _ => by_id(binding, segments.which)?,
    };
    Ok((object, binding))
}

/// How a path names its object.
pub(super) enum Which {
    /// By its name.
    Name(String),
    /// By its id, from which its name cannot be told.
    Id,
}

/// The binding's name and the object's name or id in `/do/{binding}/{name or id}/{which}/…`: those that
/// [`object`] goes by.
pub(super) fn parts(path: &str) -> Result<(String, Which)> {
    let Segments { binding, by, which } = segments(path, 2)?;
    let binding = percent_decode(binding, "the binding's name")?;
    let which = match by {
        "name" => Which::Name(percent_decode(which, "the object's name")?),
        _ => Which::Id,
    };
    Ok((binding, which))
}

/// The parts of a path, not decoded yet.
struct Segments<'a> {
    binding: &'a str,
    by: &'a str,
    which: &'a str,
}

fn segments(path: &str, behind: usize) -> Result<Segments<'_>> {
    let mut segments = path.split('/').skip(behind);
    // The router lets an empty segment pass. workerd knows an object of the empty name, but a path
    // with `//` in it is one that proxies shorten.
    let mut segment = || segments.next().filter(|segment| !segment.is_empty());
    match (segment(), segment(), segment()) {
        (Some(binding), Some(by), Some(which)) => Ok(Segments { binding, by, which }),
        _ => Err(not_found(format!("there is no route {path}"))),
    }
}

/// Checks that a route of objects is one of the class that its path names, whatever the method.
///
/// # Errors
/// [`Kind::NotFound`] if there is no such binding, or its class has no such route.
pub(super) fn check_route(path: &str, bindings: &Bindings) -> Result<()> {
    if !path.starts_with("/do/") {
        return Ok(());
    }
    let class = match path.rsplit('/').next() {
        Some("check" | "reset") => Class::RateLimiter,
        _ => Class::AuditLogger,
    };
    match object(path, bindings, class) {
        Err(error) if error.kind == Kind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn by_name(binding: &Binding, name: &str) -> Result<ObjectRef> {
    let name = percent_decode(name, "the object's name")?;
    if name.len() > limits::OBJECT_NAME_BYTES_MAX {
        return Err(Error::invalid(
            "name_too_long",
            format!("an object's name may have at most {} bytes", limits::OBJECT_NAME_BYTES_MAX),
        ));
    }
    Ok(binding.namespace.object(&name))
}

fn by_id(binding: &Binding, id: &str) -> Result<ObjectRef> {
    let id = percent_decode(id, "the object's id")?;
    if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::invalid("invalid_id", "an object's id is 64 hexadecimal digits"));
    }
    binding.namespace.object_from_hex(&id).ok_or_else(|| {
        Error::invalid("foreign_id", format!("the id is not of {}'s namespace", binding.name))
    })
}

pub(super) fn not_found(message: String) -> Error {
    Error::new(Kind::NotFound, "not_found", message)
}

/// Decodes `%XX`; `what` names the text in an error.
///
/// # Errors
/// [`Kind::Invalid`] if an escape is broken or the bytes are not UTF-8.
pub(super) fn percent_decode(text: &str, what: &str) -> Result<String> {
    let broken = || {
        let detail = format!("{what} is not percent-encoded UTF-8");
        Error::invalid("invalid_encoding", detail)
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2).ok_or_else(broken)?;
        bytes.extend(hex::decode(digits).map_err(|_| broken())?);
        rest = behind;
    }
    String::from_utf8(bytes).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_strictly() {
        assert_eq!(percent_decode("wix%3a1%2F2+%C3%A9", "it").unwrap(), "wix:1/2+é");
        for broken in ["%", "%4", "%zz", "%+1", "%FF", "a%C3"] {
            assert_eq!(percent_decode(broken, "it").unwrap_err().code, "invalid_encoding");
        }
    }
}
