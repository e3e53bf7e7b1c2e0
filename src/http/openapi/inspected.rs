//! What is said of the routes that look inside, and their schemas.

use serde_json::{Value, json};
use utoipa::openapi::Required;
use utoipa::openapi::path::{OperationBuilder, Parameter};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::operations::{OPERATORS, answering, change, ok, replayed};
use super::parameters::{in_query, object as in_path};
use super::place::{Description, Names, Place};
use super::responses::{json as json_answer, of};
use super::schema::{Part, array, bytes, closed, integer, name, one_of_values, or_null, string};
use crate::bindings::Class;
use crate::limits::{NAME_BYTES_MAX, OBJECT_NAME_BYTES_MAX, OBJECTS_LIMIT_MAX, TOP_LIMIT_MAX};

const EXAMPLE_ID: &str = "97c9927a7487caac96de21bc414588dfacf7f543e6239705cfc26f8c354fae36";

fn about(class: Option<Class>, id: &'static str, operation: OperationBuilder) -> Description {
    Description { class, id, operation }
}

fn binding(bindings: Vec<String>) -> ObjectBuilder {
    let binding = string("A binding of this node's configuration.").min_length(Some(1));
    match bindings.is_empty() {
        true => binding,
        false => binding.enum_values(Some(bindings)),
    }
}

fn limit(what: &str, most: usize) -> ObjectBuilder {
    integer(&format!("How many {what} at most."), 1, Some(most as u64))
}

fn cursor() -> ObjectBuilder {
    string("Where an earlier page of the same list said that there may be more.")
}

fn an_object() -> Value {
    json!({"binding": "RATE_LIMITER", "class": "RateLimiter", "name": "wix:192.168.1.1",
        "id": EXAMPLE_ID, "keys": 1, "bytes": 75, "alarmTime": 1_795_442_144_218_u64,
        "bytesMax": 134_217_728})
}

pub(in crate::http) fn bindings(_: &Names) -> Description {
    let one = json!({"name": "AUDIT_LOGGER", "class": "AuditLogger", "objects": 30, "bytes": 52_000,
            "objectsMax": null, "objectBytesMax": 134_217_728});
    let answer = json_answer("All of them.", "Bindings", json!({"bindings": [one]}));
    let summary = "The bindings, and how much is there of each";
    about(None, "bindings", ok(answering(OPERATORS, summary, &[400, 500, 503]), answer))
}

pub(in crate::http) fn objects(names: &Names) -> Description {
    let prefix = bytes("What the objects' names begin with.", 0, OBJECT_NAME_BYTES_MAX);
    let operation =
        answering(OPERATORS, "The objects of a binding", &[400, 404, 500, 503])
            .description(Some(
                "In the order of their ids. A page may be short, or empty, and still have a cursor: only \
                 its absence is the end.",
            ))
            .parameter(required(in_query("binding", binding(names.any().bindings))))
            .parameter(in_query("prefix", prefix))
            .parameter(in_query("limit", limit("objects", OBJECTS_LIMIT_MAX)))
            .parameter(in_query("cursor", cursor()));
    let example = json!({"objects": [an_object()], "cursor": null});
    about(None, "objects", ok(operation, json_answer("A page.", "Objects", example)))
}

fn required(mut parameter: Parameter) -> Parameter {
    parameter.required = Required::True;
    parameter
}

pub(in crate::http) fn object_by_name(names: &Names) -> Description {
    object(names, Place::Name)
}

pub(in crate::http) fn object_by_id(names: &Names) -> Description {
    object(names, Place::Id)
}

fn object(names: &Names, place: Place) -> Description {
    let operation = answering(OPERATORS, "What an object holds", &[400, 404, 500, 503])
        .description(Some(
            "As the guide's objects would have it in their storage: `ratelimit:{identifier}`, or \
             `log:{timestamp}:{id}`. The object may be of any class.",
        ));
    let operation = in_path(place, &names.any())
        .into_iter()
        .fold(operation, OperationBuilder::parameter)
        .parameter(in_query("limit", limit("keys", OBJECTS_LIMIT_MAX)))
        .parameter(in_query("cursor", cursor()));
    let mut example = an_object();
    example["storage"] = json!([{"key": "ratelimit:192.168.1.1",
        "value": {"count": 5, "windowStart": 1_795_442_084_218_u64}}]);
    example["cursor"] = json!(null);
    let answer = json_answer("The object, with a page of it.", "Object", example);
    about(None, "object", ok(operation, answer))
}

pub(in crate::http) fn limiter(_: &Names) -> Description {
    let identifier = "Whose count; the one for which `/check` uses the limiter if it is left out.";
    let type_ =
        "Whose policy is the limit; what the name has before the identifier if it is left out.";
    let summary = "How a limiter stands, without a check";
    let operation = answering(OPERATORS, summary, &[400, 404, 500, 503])
        .parameter(in_query("identifier", name(identifier, 1, NAME_BYTES_MAX)))
        .parameter(in_query("type", name(type_, 1, NAME_BYTES_MAX)));
    let answer = json_answer("How it stands.", "LimiterState", a_limiter());
    about(Some(Class::RateLimiter), "limiter", ok(operation, answer))
}

fn a_limiter() -> Value {
    json!({"binding": "RATE_LIMITER", "name": "wix:192.168.1.1", "id": EXAMPLE_ID,
        "identifier": "192.168.1.1", "type": "wix", "count": 5,
        "windowStart": 1_795_442_084_218_u64, "resetTime": 1_795_442_144_218_u64,
        "windowMs": 60_000, "limit": 100, "remaining": 95, "now": 1_795_442_100_000_u64})
}

pub(in crate::http) fn credit(_: &Names) -> Description {
    let body = json!({"identifier": "192.168.1.1", "amount": 10});
    let operation = change(OPERATORS, "Give back some of a count", "Credit", body).description(Some(
        "The next check sees it, on whichever node. The window stays as it is; more than was counted \
         is as much as was. The answer tells how the limiter stands behind it.",
    ));
    let mut example = a_limiter();
    example["credited"] = json!(10);
    let answer = replayed(json_answer("It is given back.", "CreditedLimiter", example));
    about(Some(Class::RateLimiter), "credit", ok(operation, answer))
}

pub(in crate::http) fn top(names: &Names) -> Description {
    let summary = "Which limiters refuse most on this node";
    let operation = answering(OPERATORS, summary, &[400, 404, 500])
        .description(Some("Of the last five to ten minutes. Other nodes have counts of their own."))
        .parameter(in_query("binding", binding(names.limiters().to_vec())))
        .parameter(in_query("limit", limit("limiters", TOP_LIMIT_MAX)));
    let one = json!({"binding": "RATE_LIMITER", "name": "wix:192.168.1.1", "id": EXAMPLE_ID,
        "identifier": "192.168.1.1", "refused": 1200, "refusedMin": 1180});
    let example = json!({"node": 1, "sinceTime": 1_795_441_800_000_u64, "limiters": [one]});
    about(
        None,
        "topLimiters",
        ok(operation, json_answer("The most first.", "TopLimiters", example)),
    )
}

pub(in crate::http) fn tail(names: &Names) -> Description {
    let summary = "The requests that this node answers, as it answers them";
    let statuses = "Statuses, such as `429` or `4xx`, with commas between.";
    let status = "([1-5]xx|[1-5][0-9][0-9])";
    let part = ObjectBuilder::new()
        .schema_type(Type::Number)
        .description(Some("Tell of this part of them."))
        .exclusive_minimum(Some(0.0))
        .maximum(Some(1.0));
    let operation = answering(OPERATORS, summary, &[400, 404, 503])
        .description(Some(
            "Server-sent events: `request` holds a request's JSON, `dropped` the number of those that \
             the client was too slow for. It never ends by itself.",
        ))
        .parameter(in_query("binding", binding(names.any().bindings)))
        .parameter(in_query("name", string("The object's name; `*` stands for any characters.")))
        .parameter(in_query("endpoint", string("Such as `/check`.")))
        .parameter(in_query(
            "status",
            string(statuses).pattern(Some(format!("^{status}(,{status})*$"))),
        ))
        .parameter(in_query("sample", part));
    let example = json!(
        "event: request\ndata: {\"time\":1795442144218,\"node\":1,\
        \"method\":\"POST\",\"endpoint\":\"/check\",\"binding\":\"RATE_LIMITER\",\
        \"class\":\"RateLimiter\",\"name\":\"wix:u\",\"id\":null,\"identifier\":\"u\",\
        \"status\":429,\"durationMs\":0.9,\
        \"requestId\":\"5b0c9a5d1d6b4f3f8a1e2c3d4b5a6978\"}\n\n"
    );
    let answer = of("text/event-stream", "Events.", string("Events.").into(), example);
    about(None, "tail", ok(operation, answer))
}

/// The schemas, by name.
pub(super) fn schemas() -> Vec<(&'static str, Part)> {
    let count = |what: &str| Part::from(integer(what, 0, None));
    let maybe = |what: &str| Part::from(or_null(integer(what, 0, None)));
    let class = || one_of_values(Type::String, ["RateLimiter", "AuditLogger"]).into();
    let of = || ("binding", string("Whose object it is.").into());
    let title = || ("name", or_null(string("Its name; null if no client ever used it.")).into());
    let id = || ("id", string("Its id.").pattern(Some("^[0-9a-f]{64}$")).into());
    let more = || ("cursor", or_null(string("Where there may be more.")).into());
    let measured = || {
        let alarm = "When its alarm rings, in ms since the Unix epoch; null if that is not known.";
        [
            ("keys", count("Keys of its storage.")),
            ("bytes", maybe("Bytes that they take; null if that is not known.")),
            ("alarmTime", maybe(alarm)),
            ("bytesMax", maybe("Bytes that the object may take; null if that is not bounded.")),
        ]
    };
    let one_binding = closed(
        "A binding.",
        [
            ("name", string("Its name.").into()),
            ("class", class()),
            ("objects", maybe("How many objects it has; null if that is not known.")),
            ("bytes", maybe("Bytes that they take; null if that is not known.")),
            ("objectsMax", maybe("How many there may be; null if that is not bounded.")),
            ("objectBytesMax", maybe("Bytes that one may take; null if that is not bounded.")),
        ],
        [],
    );
    let bindings = array(one_binding.into());
    let bindings = closed("As they are configured.", [("bindings", bindings.into())], []);
    let [keys, bytes, alarm, most] = measured();
    let listed = [of(), ("class", class()), title(), id(), keys, bytes, alarm, most];
    let listed = array(closed("An object.", listed, []).into()).into();
    let objects = closed("By their ids.", [("objects", listed), more()], []);
    let value = ObjectBuilder::new().schema_type(Type::Object).description(Some("What is stored."));
    let row = closed("A row.", [("key", string("Its key.").into()), ("value", value.into())], []);
    let [keys, bytes, alarm, most] = measured();
    let storage = ("storage", array(row.into()).into());
    let object = closed(
        "An object and a part of its storage.",
        [of(), ("class", class()), title(), id(), keys, bytes, alarm, most, storage, more()],
        [],
    );
    let standing = || -> [(&'static str, Part); 12] {
        [
            of(),
            title(),
            id(),
            ("identifier", or_null(string("Whose count it is; null if there is none.")).into()),
            ("type", or_null(string("Whose policy is asked; null if that is not known.")).into()),
            ("count", count("Admitted requests in the window.")),
            ("windowStart", maybe("When the window began, in ms; null if none is open.")),
            ("resetTime", maybe("When the window ends, in ms; null if none is open.")),
            ("windowMs", maybe("The window of the policy in ms; null without one.")),
            ("limit", maybe("The requests of the policy; null without one.")),
            ("remaining", maybe("What the window still admits; null without a policy.")),
            ("now", count("The cluster's clock, in ms since the Unix epoch.")),
        ]
    };
    let limiter = closed("How a limiter stands.", standing(), []);
    let [a, b, c, d, e, f, g, h, i, j, k, l] = standing();
    let credited = ("credited", count("How many requests were given back."));
    let credited = closed(
        "How a limiter stands behind a credit.",
        [a, b, c, d, e, f, g, h, i, j, k, l, credited],
        [],
    );
    let refusing = closed(
        "A limiter that has refused.",
        [
            of(),
            title(),
            id(),
            ("identifier", string("Whose requests.").into()),
            ("refused", count("How many were refused, at most.")),
            ("refusedMin", count("How many were refused, at least.")),
        ],
        [],
    );
    let top = closed(
        "What one node has counted.",
        [
            ("node", count("Its id.")),
            ("sinceTime", count("Since when, in ms since the Unix epoch.")),
            ("limiters", array(refusing.into()).into()),
        ],
        [],
    );
    vec![
        ("Bindings", bindings.into()),
        ("Objects", objects.into()),
        ("Object", object.into()),
        ("LimiterState", limiter.into()),
        ("CreditedLimiter", credited.into()),
        ("TopLimiters", top.into()),
    ]
}
