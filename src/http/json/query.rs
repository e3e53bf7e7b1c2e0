//! The body of `/query`.

use serde::de::{IgnoredAny, MapAccess};

use super::value::{Field, Members, read};
use super::{invalid, shown};
use crate::error::{Error, Result};
use crate::limits;
use crate::query::{Filter, Order};

/// Guide, "POST /query".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryBody {
    /// Which entries, in which order; validated.
    pub filter: Filter,
    /// How many: 0 to [`limits::QUERY_LIMIT_MAX`].
    pub limit: usize,
    /// Where to go on, as [`crate::query::Cursor::parse`] reads it.
    pub cursor: Option<String>,
}

/// Reads the body of `/query`. A member that is `null` is as good as absent.
///
/// # Errors
/// `malformed_json`, also for an empty body; `unknown_member`, because a filter that is misspelt
/// would otherwise give everything; `duplicate_key`; `invalid_field` naming the member and its
/// bound; `invalid_range` where the time range ends before it starts.
pub fn query(body: &[u8]) -> Result<QueryBody> {
    let members: QueryMembers<'_> = read(body)?;
    if let Some(name) = members.unknown {
        let message = format!("{name:?} is no member of a query");
        return Err(Error::invalid("unknown_member", message));
    }
    let order = match members.order.text("order")?.as_deref() {
        None => Order::default(),
        Some("asc") => Order::Asc,
        Some("desc") => Order::Desc,
        Some(_) => return Err(invalid("order", "be \"asc\" or \"desc\"")),
    };
    let text = |field: Field<'_>, member| -> Result<Option<String>> {
        Ok(field.text(member)?.map(|text| text.into_owned()))
    };
    let times = 0..=limits::TIME_MS_MAX;
    let filter = Filter {
        start_ms: members.start_time.integer("startTime", times.clone())?,
        end_ms: members.end_time.integer("endTime", times)?,
        type_: text(members.type_, "type")?,
        action: text(members.action, "action")?,
        user_id: text(members.user_id, "userId")?,
        ip: text(members.ip, "ip")?,
        order,
    };
    filter.validate()?;
    let limit = members.limit.integer("limit", 0..=limits::QUERY_LIMIT_MAX as u64)?;
    let limit = limit.map_or(limits::QUERY_LIMIT_DEFAULT, |limit| limit as usize);
    Ok(QueryBody { filter, limit, cursor: text(members.cursor, "cursor")? })
}

#[derive(Default)]
struct QueryMembers<'de> {
    start_time: Field<'de>,
    end_time: Field<'de>,
    type_: Field<'de>,
    action: Field<'de>,
    user_id: Field<'de>,
    ip: Field<'de>,
    limit: Field<'de>,
    cursor: Field<'de>,
    order: Field<'de>,
    /// The first member that a query does not have.
    unknown: Option<String>,
}

impl<'de> Members<'de> for QueryMembers<'de> {
    fn take<A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> std::result::Result<(), A::Error> {
        match name {
            "startTime" => self.start_time.take(map),
            "endTime" => self.end_time.take(map),
            "type" => self.type_.take(map),
            "action" => self.action.take(map),
            "userId" => self.user_id.take(map),
            "ip" => self.ip.take(map),
            "limit" => self.limit.take(map),
            "cursor" => self.cursor.take(map),
            "order" => self.order.take(map),
            _ => {
                self.unknown.get_or_insert_with(|| shown(name));
                map.next_value::<IgnoredAny>().map(|_| ())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there_and_the_defaults() {
        let nothing = query(b"{}").unwrap();
        assert_eq!(nothing, QueryBody { filter: Filter::default(), limit: 100, cursor: None });
        let nulls = br#"{"startTime":null,"type":null,"limit":null,"cursor":null,"order":null}"#;
        assert_eq!(query(nulls).unwrap(), nothing);
        let body = br#"{"startTime":0,"endTime":253402300799999,"type":"wix","action":"a",
            "userId":"","ip":"::1","limit":10000,"cursor":"c","order":"asc"}"#;
        let filter = Filter {
            start_ms: Some(0),
            end_ms: Some(limits::TIME_MS_MAX),
            type_: Some("wix".into()),
            action: Some("a".into()),
            user_id: Some(String::new()),
            ip: Some("::1".into()),
            order: Order::Asc,
        };
        let cursor = Some("c".to_owned());
        assert_eq!(query(body).unwrap(), QueryBody { filter, limit: 10_000, cursor });
        assert_eq!(query(br#"{"limit":0}"#).unwrap().limit, 0);
    }

    #[test]
    fn refuses_and_says_why() {
        let cases = [
            ("", "malformed_json", "EOF"),
            ("[]", "malformed_json", "another type"),
            (r#"{"typ":"wix"}"#, "unknown_member", "\"typ\""),
            (r#"{"startTime":2,"endTime":1}"#, "invalid_range", "startTime 2 is after endTime 1"),
            (r#"{"startTime":-1}"#, "invalid_field", "startTime must be a JSON integer from 0"),
            (r#"{"endTime":253402300800000}"#, "invalid_field", "to 253402300799999"),
            (r#"{"endTime":"1"}"#, "invalid_field", "endTime must be a JSON integer"),
            (r#"{"limit":10001}"#, "invalid_field", "limit must be a JSON integer from 0 to 10000"),
            (r#"{"limit":1.0}"#, "invalid_field", "limit"),
            (r#"{"order":"newest"}"#, "invalid_field", "order must be \"asc\" or \"desc\""),
            (r#"{"ip":1}"#, "invalid_field", "ip must be a string"),
            (r#"{"ip":"1","ip":"1"}"#, "duplicate_key", "ip"),
        ];
        for (body, code, part) in cases {
            let error = query(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, code, "{body}");
            assert!(error.message.contains(part), "{body}: {error}");
        }
    }
}
