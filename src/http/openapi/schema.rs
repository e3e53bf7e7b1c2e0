//! Schemas, made of few parts.

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, Ref, Schema, SchemaType, Type,
};

/// A schema, or a reference to one.
pub(super) type Part = RefOr<Schema>;

/// Text without control characters.
pub(super) const NO_CONTROLS: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

/// A named component.
pub(super) fn named(name: &str) -> Part {
    Ref::from_schema_name(name).into()
}

/// A string as it comes.
pub(super) fn string(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

/// A string of `least` to `most` bytes of UTF-8. JSON Schema counts characters, so its bounds let
/// through some text that the server refuses; the description says what counts.
pub(super) fn bytes(description: &str, least: usize, most: usize) -> ObjectBuilder {
    let counted = match least {
        0 => format!("{description} At most {most} bytes of UTF-8."),
        _ => format!("{description} {least} to {most} bytes of UTF-8."),
    };
    string(&counted).min_length((least > 0).then_some(least)).max_length(Some(most))
}

/// A name: [`bytes`] without control characters.
pub(super) fn name(description: &str, least: usize, most: usize) -> ObjectBuilder {
    bytes(&format!("{description} No control characters."), least, most).pattern(Some(NO_CONTROLS))
}

/// The same, or `null`, which is as good as absent.
pub(super) fn or_null(schema: ObjectBuilder) -> ObjectBuilder {
    let schema = schema.build();
    let SchemaType::Type(only) = schema.schema_type.clone() else {
        panic!("a part has one type");
    };
    ObjectBuilder::from(schema).schema_type(SchemaType::from_iter([only, Type::Null]))
}

/// An integer.
pub(super) fn integer(description: &str, least: u64, most: Option<u64>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some(description))
        .minimum(Some(least as usize))
        .maximum(most.map(|most| most as usize))
}

/// A boolean.
pub(super) fn boolean(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean).description(Some(description))
}

/// One of these values.
pub(super) fn one_of_values<V: Into<Value>>(
    type_: Type,
    values: impl IntoIterator<Item = V>,
) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(type_).enum_values(Some(values))
}

/// An object whose members are `required` and `optional`, and no others.
pub(super) fn closed<const R: usize, const O: usize>(
    description: &str,
    required: [(&str, Part); R],
    optional: [(&str, Part); O],
) -> ObjectBuilder {
    open(description, required, optional)
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
}

/// An object whose members are `required` and `optional`, and any others.
pub(super) fn open<const R: usize, const O: usize>(
    description: &str,
    required: [(&str, Part); R],
    optional: [(&str, Part); O],
) -> ObjectBuilder {
    let mut object = ObjectBuilder::new().schema_type(Type::Object).description(Some(description));
    for (name, part) in required {
        object = object.property(name, part).required(name);
    }
    for (name, part) in optional {
        object = object.property(name, part);
    }
    object
}

/// An array.
pub(super) fn array(items: Part) -> ArrayBuilder {
    ArrayBuilder::new().items(items)
}

/// Exactly one of these.
pub(super) fn one_of(parts: impl IntoIterator<Item = Part>) -> Part {
    parts.into_iter().fold(OneOfBuilder::new(), OneOfBuilder::item).into()
}
