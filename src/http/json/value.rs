//! JSON values as the documented bodies have them, read in one pass.
//!
//! serde's derived structs would do, but for what they let through (an array in place of an object)
//! and for what their errors do not say (which member, which bound). So a value of any type is
//! taken in, and whoever asks for it as an integer or a text gets it or an error with its name.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{duplicate, invalid, malformed, unreadable};
use crate::error::Result;

/// The members of an object that are of interest.
pub(super) trait Members<'de>: Default {
    /// Takes the value of the member `name` from `map`.
    fn take<A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> std::result::Result<(), A::Error>;
}

/// No members are of interest.
#[derive(Default)]
pub(super) struct Nothing;

/// A JSON value; objects are read as `T`.
pub(super) enum Value<'de, T> {
    /// `null`
    Null,
    /// An integer from 0 to 2^64 - 1, written as one: not `1.0`, not `1e3`.
    Integer(u64),
    /// A string, borrowed where it has no escapes.
    Text(Cow<'de, str>),
    /// An object.
    Object(T),
    /// Another number, an array or a boolean.
    Other,
}

/// A member that may be there once.
pub(super) struct Field<'de, T = Nothing> {
    value: Option<Value<'de, T>>,
    twice: bool,
}

/// Reads a body, which must be an object.
pub(super) fn read<'de, T: Members<'de>>(body: &'de [u8]) -> Result<T> {
    let value = serde_json::from_slice::<Value<'de, T>>(body);
    match value.map_err(|error| unreadable(&error))? {
        Value::Object(members) => Ok(members),
        _ => Err(malformed("it is a JSON value of another type")),
    }
}

impl<T> Default for Field<'_, T> {
    fn default() -> Self {
        Self { value: None, twice: false }
    }
}

impl<'de, T: Members<'de>> Field<'de, T> {
    /// Takes the value from `map`.
    pub fn take<A: MapAccess<'de>>(&mut self, map: &mut A) -> std::result::Result<(), A::Error> {
        self.twice |= self.value.replace(map.next_value()?).is_some();
        Ok(())
    }

    /// The value; `null` is as good as absent.
    pub fn value(self, member: &str) -> Result<Option<Value<'de, T>>> {
        if self.twice {
            return Err(duplicate(member));
        }
        Ok(self.value.filter(|value| !matches!(value, Value::Null)))
    }

    /// The integer, within `bounds`.
    pub fn integer(self, member: &str, bounds: RangeInclusive<u64>) -> Result<Option<u64>> {
        match self.value(member)? {
            None => Ok(None),
            Some(Value::Integer(integer)) if bounds.contains(&integer) => Ok(Some(integer)),
            Some(_) => {
                let (least, most) = bounds.into_inner();
                let rule = format_args!("be a JSON integer from {least} to {most}");
                Err(invalid(member, rule))
            }
        }
    }

    /// The string.
    pub fn text(self, member: &str) -> Result<Option<Cow<'de, str>>> {
        match self.value(member)? {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(member, "be a string")),
        }
    }
}

impl<'de> Members<'de> for Nothing {
    fn take<A: MapAccess<'de>>(
        &mut self,
        _name: &str,
        map: &mut A,
    ) -> std::result::Result<(), A::Error> {
        map.next_value::<IgnoredAny>().map(|_| ())
    }
}

impl<'de, T: Members<'de>> Deserialize<'de> for Value<'de, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}

/// The name of a member, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
pub(super) struct Name<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

struct AnyValue<T>(PhantomData<T>);

impl<'de, T: Members<'de>> Visitor<'de> for AnyValue<T> {
    type Value = Value<'de, T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, integer: u64) -> std::result::Result<Self::Value, E> {
        Ok(Value::Integer(integer))
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(
        self,
        mut elements: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut members = T::default();
        while let Some(Name(name)) = map.next_key()? {
            members.take(&name, &mut map)?;
        }
        Ok(Value::Object(members))
    }
}
