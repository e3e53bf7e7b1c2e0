//! Which entries a query or an export gives.

use serde::Serialize;

/// In which order entries come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Newest first.
    #[default]
    Desc,
    /// Oldest first.
    Asc,
}

/// Entries that match all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// The first time, in milliseconds since the Unix epoch, inclusive.
    #[serde(rename = "startTime", skip_serializing_if = "Option::is_none")]
    pub start_time_ms: Option<u64>,
    /// The last time, inclusive.
    #[serde(rename = "endTime", skip_serializing_if = "Option::is_none")]
    pub end_time_ms: Option<u64>,
    /// Equal to the whole of it, as all texts here.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// What was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Where from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Newest first by default.
    pub order: Order,
}

/// A page of the entries that match a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Query {
    /// Which entries.
    #[serde(flatten)]
    pub filter: Filter,
    /// Entries of the page: 0 to 10,000, 100 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Of the page before, with the same filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_is_sent() {
        let json = |query: &Query| serde_json::to_string(query).unwrap();
        assert_eq!(json(&Query::default()), r#"{"order":"desc"}"#);
        let text = |text: &str| Some(text.to_owned());
        let whole = Query {
            filter: Filter {
                start_time_ms: Some(1),
                end_time_ms: Some(2),
                type_: text("t"),
                action: text("a"),
                user_id: text("u"),
                ip: text("1"),
                order: Order::Asc,
            },
            limit: Some(3),
            cursor: text("c"),
        };
        let expected = concat!(
            r#"{"startTime":1,"endTime":2,"type":"t","action":"a","userId":"u","ip":"1","#,
            r#""order":"asc","limit":3,"cursor":"c"}"#
        );
        assert_eq!(json(&whole), expected);
    }
}
