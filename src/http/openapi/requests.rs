//! The schemas of what clients send, as `http/json` reads it.

use serde_json::json;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ObjectBuilder, SchemaType, Type,
};

use super::schema::{
    NO_CONTROLS, Part, array, bytes, closed, integer, name, named, one_of, open, or_null, string,
};
use crate::limits::{
    BATCH_ITEMS_MAX, CURSOR_CHARS_MAX, DETAILS_BYTES_MAX, ENTRY_ID_BYTES_MAX, JSON_DEPTH_MAX,
    NAME_BYTES_MAX, QUERY_LIMIT_DEFAULT, QUERY_LIMIT_MAX, REQUESTS_MAX, TIME_MS_MAX, WINDOW_MS_MAX,
    WINDOW_MS_MIN,
};

/// All of them, by name.
pub(super) fn schemas() -> Vec<(&'static str, Part)> {
    let identifier = || name("Whose requests are counted.", 1, NAME_BYTES_MAX).into();
    let sort = || or_null(name("The sort of limiter.", 1, NAME_BYTES_MAX)).into();
    let members = || {
        [
            ("requests", integer("Requests that a window admits.", 0, Some(REQUESTS_MAX)).into()),
            ("windowMs", integer("The window in ms.", WINDOW_MS_MIN, Some(WINDOW_MS_MAX)).into()),
        ]
    };
    let limit = open("A limit. Members that it does not have are ignored.", members(), []);
    let new_policy = closed("What is to be stored for a type.", members(), []);
    let nothing = ObjectBuilder::new().schema_type(Type::Null);
    let check = open(
        "Members that it does not have are ignored. Without a `config` the limit is the policy of the \
         `type`.",
        [("identifier", identifier())],
        [("type", sort()), ("config", one_of([named("Limit"), nothing.into()]))],
    );
    let reset = open(
        "Members that it does not have are ignored.",
        [("identifier", identifier())],
        [("type", sort())],
    );
    let amount = integer("How many requests are given back.", 1, Some(REQUESTS_MAX)).into();
    let told = or_null(name("Whose policy the answer tells.", 1, NAME_BYTES_MAX)).into();
    let credit = closed(
        "What of a count is given back.",
        [("identifier", identifier()), ("amount", amount)],
        [("type", told)],
    );
    vec![
        ("Check", check.into()),
        ("Credit", credit.into()),
        ("Limit", limit.into()),
        ("NewPolicy", new_policy.into()),
        ("Reset", reset.into()),
        ("CheckBatch", batch("checks", "Check")),
        ("LogEntry", log_entry().into()),
        ("LogBatch", batch("entries", "LogEntry")),
        ("ImportedEntry", imported_entry().into()),
        ("ImportBatch", batch("entries", "ImportedEntry")),
        ("Query", query().into()),
        ("Value", value()),
    ]
}

/// One of many; a bad item is answered in its place, and does not stop the others.
fn batch(member: &'static str, item: &str) -> Part {
    let items = array(named(item)).min_items(Some(1)).max_items(Some(BATCH_ITEMS_MAX));
    let description = "Each item is answered in its place. One that is none is answered with its \
        problem there, and does not keep the others from being carried out.";
    closed(description, [(member, items.into())], []).into()
}

/// The members of an entry that have an index.
fn texts() -> [(&'static str, Part); 4] {
    [
        ("type", name("The sort of event.", 1, NAME_BYTES_MAX).into()),
        ("action", name("What was done.", 1, NAME_BYTES_MAX).into()),
        ("userId", or_null(name("Who did it.", 0, NAME_BYTES_MAX)).into()),
        ("ip", or_null(name("From where.", 0, NAME_BYTES_MAX)).into()),
    ]
}

fn details() -> Part {
    let description = format!(
        "Anything, up to {DETAILS_BYTES_MAX} bytes without white space, nested up to \
         {JSON_DEPTH_MAX} deep with the entry itself; strings may have control characters here."
    );
    ObjectBuilder::new().schema_type(Type::Object).description(Some(description)).into()
}

/// Further members are kept, in their order.
fn with_further(entry: ObjectBuilder) -> ObjectBuilder {
    entry
        .property_names(Some(name("A member's name.", 1, NAME_BYTES_MAX).build()))
        .additional_properties(Some(AdditionalProperties::from(named("Value"))))
}

fn log_entry() -> ObjectBuilder {
    let [type_, action, user_id, ip] = texts();
    let further = [
        user_id,
        ip,
        ("details", details()),
        ("timestamp", named("Value")),
        ("id", named("Value")),
    ];
    let description = "The server gives the entry its `id` and `timestamp`; what the client says in \
        their place is kept as `clientId` and `clientTime`. Further members are kept as they are. No \
        member stands there twice, at any depth.";
    with_further(open(description, [type_, action], further))
}

fn imported_entry() -> ObjectBuilder {
    let [type_, action, user_id, ip] = texts();
    let pattern = format!("^[A-Za-z0-9_-]{{1,{ENTRY_ID_BYTES_MAX}}}$");
    let id = string("Its id, kept as it is.").pattern(Some(pattern));
    let time = integer("Its time, in ms since the Unix epoch.", 0, Some(TIME_MS_MAX));
    let required = [("id", id.into()), ("timestamp", time.into()), type_, action];
    let description = "An entry that has its id and time. Further members are kept as they are.";
    with_further(open(description, required, [user_id, ip, ("details", details())]))
}

/// Any JSON without control characters.
fn value() -> Part {
    let scalar = SchemaType::from_iter([Type::Null, Type::Boolean, Type::Number]);
    let text = || ObjectBuilder::new().schema_type(Type::String).pattern(Some(NO_CONTROLS));
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property_names(Some(text().build()))
        .additional_properties(Some(AdditionalProperties::from(named("Value"))));
    AnyOfBuilder::new()
        .item(ObjectBuilder::new().schema_type(scalar))
        .item(text())
        .item(array(named("Value")))
        .item(object)
        .description(Some("Any JSON without control characters."))
        .into()
}

fn query() -> ObjectBuilder {
    let time = |description| or_null(integer(description, 0, Some(TIME_MS_MAX))).into();
    let text = |description| or_null(bytes(description, 0, NAME_BYTES_MAX)).into();
    let order = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some([json!("desc"), json!("asc"), json!(null)]))
        .description(Some("`desc`, the newest first, if it is left out."));
    let limit = integer("So many entries at most.", 0, Some(QUERY_LIMIT_MAX as u64))
        .default(Some(json!(QUERY_LIMIT_DEFAULT)));
    let cursor =
        string("Where an earlier page of the same query ended.").max_length(Some(CURSOR_CHARS_MAX));
    let optional = [
        ("startTime", time("From this time on, in ms since the Unix epoch.")),
        ("endTime", time("Up to this time, in ms; not before `startTime`.")),
        ("type", text("Entries of this `type`.")),
        ("action", text("Entries of this `action`.")),
        ("userId", text("Entries of this `userId`.")),
        ("ip", text("Entries of this `ip`.")),
        ("order", order.into()),
        ("limit", or_null(limit).into()),
        ("cursor", or_null(cursor).into()),
    ];
    closed("A member that is left out, or `null`, filters nothing.", [], optional)
}
