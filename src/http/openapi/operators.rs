//! The schemas of `/admin`, as `src/raft` has them.

use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

use crate::limits::{
    NAME_BYTES_MAX, OBJECT_NAME_BYTES_MAX, REQUESTS_MAX, TOKEN_PLACES_MAX,
    TOKEN_REQUESTS_PER_SECOND_MAX, TOKEN_TTL_MS_MAX, WINDOW_MS_MAX, WINDOW_MS_MIN,
};
use crate::machine::Scopes;

use super::schema::{
    Part, array, boolean, bytes, closed, integer, name, named, one_of, one_of_values, or_null,
    string,
};

/// All of them, by name.
pub(super) fn schemas() -> Vec<(&'static str, Part)> {
    let index = |description| or_null(integer(description, 0, None)).into();
    let address = |what: &str| string(&format!("Where it listens for {what}: `host:port`.")).into();
    let id = || ("id", integer("Its id.", 0, Some(u64::MAX)).into());
    let new_id = ("id", integer("Its id.", 1, Some(u64::MAX)).into());
    let voter = || ("voter", boolean("Whether it has a vote.").into());
    let force = || ("force", boolean("Also if no majority would be left that answers.").into());
    let at = || [("http", address("clients")), ("peer", address("peers"))];
    let roles = ["leader", "follower", "candidate", "learner", "joining", "unreachable"];
    let disk = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some([json!("ample"), json!("low"), json!("full"), json!(null)]));
    let [http, peer] = at();
    let node = closed(
        "A node. What it did not say is `null`.",
        [
            id(),
            http,
            peer,
            ("role", one_of_values(Type::String, roles).into()),
            voter(),
            ("lastLog", index("Index of the last entry in its log.")),
            ("applied", index("Index of the last entry that it has applied.")),
            ("ready", boolean("Whether it can serve clients.").into()),
            ("disk", disk.into()),
            ("versionMax", index("The newest version of commands that it knows.")),
        ],
        [],
    );
    let hash = || string("In hexadecimal.").pattern(Some("^[0-9a-f]+$")).into();
    let applied = || integer("Index of the last entry of it.", 0, None).into();
    let state = closed("How far a node is.", [("applied", applied()), ("hash", hash())], []);
    let certificate = closed(
        "A certificate that the node uses itself.",
        [
            ("for", one_of_values(Type::String, ["peers", "clients"]).into()),
            ("serial", string("In hexadecimal.").into()),
            ("notAfter", integer("When it expires, in ms since the Unix epoch.", 0, None).into()),
            ("caNotAfter", index("When the CA expires whose certificates it takes, in ms.")),
        ],
        [],
    );
    let cluster = closed(
        "The cluster as the node that answers sees it.",
        [
            id(),
            ("leader", index("The leader's id, if it knows one.")),
            ("term", integer("The leader's term.", 0, None).into()),
            ("version", integer("The version of commands in use.", 0, None).into()),
            ("nodes", array(node.into()).into()),
            ("stateHash", named("StateHash")),
            ("certificates", array(certificate.into()).into()),
        ],
        [],
    );
    let [http, peer] = at();
    let member = closed("A node of the cluster.", [id(), voter(), http, peer], []);
    let members = closed("All of them, by id.", [("members", array(member.into()).into())], []);
    let [http, peer] = at();
    let step = |name, what: ObjectBuilder| closed("One step.", [(name, what.into())], []).into();
    let instead = index("The voter that goes in the same step.");
    let change = one_of([
        step("add", closed("A node without data, without a vote.", [new_id, http, peer], [])),
        step(
            "promote",
            closed(
                "A vote for a node that has caught up.",
                [id()],
                [("insteadOf", instead), force()],
            ),
        ),
        step("remove", closed("A node goes.", [id()], [force()])),
        step("lead", closed("Another node leads.", [id()], [])),
    ]);
    let limit = |description, further: [(&'static str, Part); 3]| {
        let [binding, type_, updated] = further;
        let requests = integer("Requests that a window admits.", 0, Some(REQUESTS_MAX)).into();
        let window = integer("The window in ms.", WINDOW_MS_MIN, Some(WINDOW_MS_MAX)).into();
        closed(
            description,
            [binding, type_, ("requests", requests), ("windowMs", window), updated],
            [],
        )
    };
    let binding = or_null(string("Whose limiters; null if no binding has them any more.")).into();
    let updated = integer("Since when, in ms since the Unix epoch.", 0, None).into();
    let policy = limit(
        "What is stored for a type.",
        [("binding", binding), ("type", string("The type.").into()), ("updatedTime", updated)],
    );
    let policies =
        closed("By binding and type.", [("policies", array(named("Policy")).into())], []);
    let existed = boolean("Whether there was one.").into();
    let success = one_of_values(Type::Boolean, [true]).into();
    let removed = closed("It is gone.", [("success", success), ("existed", existed)], []);
    let [wanted, token, created] = tokens();
    let tokens = closed("By id.", [("tokens", array(named("Token")).into())], []);
    vec![
        ("NewToken", wanted),
        ("Token", token),
        ("CreatedToken", created),
        ("Tokens", tokens.into()),
        ("Policy", policy.into()),
        ("Policies", policies.into()),
        ("Removed", removed.into()),
        ("Change", change),
        ("Cluster", cluster.into()),
        ("Members", members.into()),
        ("StateHash", state.into()),
    ]
}

/// A token as it is wanted, as it is, and as it is once, with its secret.
fn tokens() -> [Part; 3] {
    let scope = || one_of_values(Type::String, Scopes::NAMES.map(|(name, _)| name));
    let scopes = || -> Part { array(scope().into()).min_items(Some(1)).into() };
    let bindings = || -> (&'static str, Part) {
        let items = array(string("A binding of this node's configuration.").into());
        ("bindings", items.max_items(Some(TOKEN_PLACES_MAX)).into())
    };
    let prefixes = || -> (&'static str, Part) {
        let prefix = bytes("What an object's name begins with.", 1, OBJECT_NAME_BYTES_MAX);
        ("namePrefixes", array(prefix.into()).max_items(Some(TOKEN_PLACES_MAX)).into())
    };
    let named = || -> (&'static str, Part) {
        ("name", name("What people call it.", 1, NAME_BYTES_MAX).into())
    };
    let ttl = or_null(integer("How long it lasts, in ms.", 1, Some(TOKEN_TTL_MS_MAX))).into();
    let rate = || -> (&'static str, Part) {
        let what = "How often it may ask each node in a second; as often as it likes without it.";
        let rate = integer(what, 1, Some(TOKEN_REQUESTS_PER_SECOND_MAX.into()));
        ("requestsPerSecond", or_null(rate).into())
    };
    let wanted = closed(
        "A token to be made. For all bindings, and all names, unless there are some.",
        [named(), ("scopes", scopes())],
        [bindings(), prefixes(), ("ttlMs", ttl), rate()],
    );
    let id = || -> (&'static str, Part) {
        ("id", string("Its id.").pattern(Some("^[0-9a-f]{16}$")).into())
    };
    let created = || -> (&'static str, Part) {
        ("createdTime", integer("When, in ms since the Unix epoch.", 0, None).into())
    };
    let expires = || -> (&'static str, Part) {
        let ms = integer("Its end, in ms since the Unix epoch; null if it has none.", 0, None);
        ("expiresTime", or_null(ms).into())
    };
    let members = || -> [(&'static str, Part); 8] {
        [id(), named(), ("scopes", scopes()), bindings(), prefixes(), created(), expires(), rate()]
    };
    let token = closed("A token.", members(), []);
    let [id, named, scopes, bindings, prefixes, created, expires, rate] = members();
    let secret =
        string("The secret: what clients send.").pattern(Some("^tk_[0-9a-f]{16}_[0-9a-f]{64}$"));
    let with_secret = closed(
        "A token and its secret.",
        [id, named, scopes, bindings, prefixes, created, expires, rate, ("token", secret.into())],
        [],
    );
    [wanted.into(), token.into(), with_secret.into()]
}
