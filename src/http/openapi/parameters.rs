//! What clients say in paths, query strings and headers.

use serde_json::Value;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::ObjectBuilder;

use super::place::{Named, Place};
use super::schema::{Part, bytes, string};
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, IDEMPOTENCY_TTL_S_MAX, OBJECT_NAME_BYTES_MAX};

/// The parameters of a path that means an object.
pub(super) fn object(place: Place, named: &Named) -> [Parameter; 2] {
    let mut binding = string("A binding of this node's configuration.").min_length(Some(1));
    if !named.bindings.is_empty() {
        binding = binding.enum_values(Some(named.bindings.clone()));
    }
    let which = match place {
        Place::Id => {
            let id = string("The object's id, as `idFromName` gives it: 64 hexadecimal digits.");
            in_path("id", id.pattern(Some("^[0-9a-fA-F]{64}$")), named.id.as_deref())
        }
        _ => {
            let name = bytes("The object's name, percent-encoded.", 1, OBJECT_NAME_BYTES_MAX);
            in_path("name", name, Some(named.object))
        }
    };
    [in_path("binding", binding, named.bindings.first().map(String::as_str)), which]
}

fn in_path(name: &str, schema: ObjectBuilder, example: Option<&str>) -> Parameter {
    parameter(name, ParameterIn::Path, schema.into(), example.map(Value::from))
}

pub(super) fn parameter(
    name: &str,
    place: ParameterIn,
    schema: Part,
    example: Option<Value>,
) -> Parameter {
    let required = match place {
        ParameterIn::Path => Required::True,
        _ => Required::False,
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(schema))
        .example(example)
        .build()
}

pub(super) fn in_query(name: &str, schema: ObjectBuilder) -> Parameter {
    parameter(name, ParameterIn::Query, schema.into(), None)
}

pub(super) fn idempotency_key() -> Parameter {
    let bare = r"[!#-+\--:<-\[\]-~]";
    let quoted = r#"(?:[ !#-\[\]-~]|\\["\\])"#;
    let most = IDEMPOTENCY_KEY_BYTES_MAX;
    let pattern =
        format!(r#"^(?:{bare}{{1,{most}}}|"{quoted}{{1,{most}}}"(?:; *ttl=[0-9]{{1,15}})?)$"#);
    let description = format!(
        "The request is carried out once, and sent again it gets the same answer. 1 to {most} \
         characters of ASCII, in double quotes or, if none of them is a space, a comma, a semicolon, \
         a quote or a backslash, without. Behind the quotes may stand `;ttl=` and 1 to \
         {IDEMPOTENCY_TTL_S_MAX} seconds, for which the answer is kept at most."
    );
    let schema = string(&description).pattern(Some(pattern));
    parameter("Idempotency-Key", ParameterIn::Header, schema.into(), None)
}
