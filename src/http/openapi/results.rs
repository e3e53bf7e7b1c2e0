//! The schemas of what clients get.

use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::codes::CODES;
use super::schema::{
    Part, array, boolean, closed, integer, named, one_of, one_of_values, open, or_null, string,
};

/// All of them, by name.
pub(super) fn schemas() -> Vec<(&'static str, Part)> {
    let is = |value: bool| Part::from(one_of_values(Type::Boolean, [value]));
    let status = |value: u16| Part::from(one_of_values(Type::Integer, [value]));
    let replayed = || [("replayed", is(true))];
    let retry = || ("retryAfter", integer("Seconds to wait.", 1, None).into());
    let id = || ("id", string("The entry's id, a UUIDv7.").pattern(Some(UUID)).into());
    let [remaining, reset] = decided();
    let allowed = [("allowed", is(true)), remaining.clone(), reset.clone()];
    let denied = [("allowed", is(false)), remaining.clone(), reset.clone(), retry()];
    let counted =
        [("status", status(200)), ("allowed", is(true)), remaining.clone(), reset.clone()];
    let refused = [("status", status(429)), ("allowed", is(false)), remaining, reset, retry()];
    let logged = [("status", status(200)), ("success", is(true)), id()];
    let imported = boolean("Whether it was not there before; not in a dry run.");
    let entries = || ("entries", array(named("Entry")).into());
    let count = || ("count", integer("How many entries these are.", 0, None).into());
    let results = |item: &'static str| {
        let results = array(one_of([named(item), named("Problem")]));
        closed("In the place of each item what it came to.", [("results", results.into())], [])
    };
    vec![
        ("Allowed", closed("The request is admitted, and counted.", allowed, []).into()),
        ("Denied", closed("The limit is reached; nothing was counted.", denied, []).into()),
        (
            "CheckResult",
            one_of([
                closed("An admitted check.", counted, replayed()).into(),
                closed("A refused check.", refused, []).into(),
            ]),
        ),
        ("CheckResults", results("CheckResult").into()),
        ("LogResult", closed("An entry that was logged.", logged, replayed()).into()),
        ("LogResults", results("LogResult").into()),
        (
            "ImportResult",
            closed(
                "An entry that was taken.",
                [("status", status(200))],
                [("imported", imported.into())],
            )
            .into(),
        ),
        ("ImportResults", results("ImportResult").into()),
        ("Logged", closed("The entry is in the log.", [("success", is(true)), id()], []).into()),
        ("Done", closed("It is done.", [("success", is(true))], []).into()),
        ("Entry", entry().into()),
        ("Export", closed("All entries that were asked for.", [entries(), count()], []).into()),
        (
            "Page",
            closed(
                "Entries, and a cursor if there are more.",
                [entries(), count()],
                [("cursor", string("Where the next page begins.").into())],
            )
            .into(),
        ),
        ("Problem", problem().into()),
    ]
}

fn decided() -> [(&'static str, Part); 2] {
    [
        ("remaining", integer("Requests that the window still admits.", 0, None).into()),
        ("resetTime", integer("When the window ends, in ms since the Unix epoch.", 0, None).into()),
    ]
}

const UUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

fn entry() -> ObjectBuilder {
    let text = |description| string(description).into();
    let details = ObjectBuilder::new().schema_type(Type::Object);
    open(
        "An entry as it was logged, with its further members.",
        [
            ("id", text("Its id.")),
            ("timestamp", integer("Its time, in ms since the Unix epoch.", 0, None).into()),
            ("type", text("The sort of event.")),
            ("action", text("What was done.")),
        ],
        [
            ("userId", or_null(string("Who did it.")).into()),
            ("ip", or_null(string("From where.")).into()),
            ("details", details.into()),
        ],
    )
}

fn problem() -> ObjectBuilder {
    let codes = CODES.iter().map(|code| code.word);
    closed(
        "RFC 9457. `error` repeats `title`.",
        [
            ("type", one_of_values(Type::String, ["about:blank"]).into()),
            ("title", string("The status's phrase.").into()),
            ("status", integer("The HTTP status.", 400, Some(599)).into()),
            ("detail", string("One sentence for people.").into()),
            ("code", one_of_values(Type::String, codes).into()),
            ("error", string("As `title`.").into()),
        ],
        [("requestId", string("As `X-Request-Id`. Not of an item of a batch.").into())],
    )
}
