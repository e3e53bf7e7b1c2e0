//! The words that problems have for programs, `code`: all of them.

/// A word, the status that it comes with, and what it means.
pub(super) struct Code {
    /// The HTTP status.
    pub status: u16,
    /// What programs compare.
    pub word: &'static str,
    /// What happened, for people.
    pub meaning: &'static str,
}

const fn code(status: u16, word: &'static str, meaning: &'static str) -> Code {
    Code { status, word, meaning }
}

/// By status. A test holds the sources, and the table of docs/api.md, to this list.
pub(super) const CODES: &[Code] = &[
    code(
        400,
        "bad_cursor",
        "the cursor is none that this node gives, or belongs to another query or list",
    ),
    code(400, "broken_body", "the body ended before its announced length"),
    code(
        400,
        "config_required",
        "a check without `config`, and without a `type` whose policy could be asked",
    ),
    code(400, "control_character", "a control character outside of `details`"),
    code(400, "duplicate_key", "a member stands there twice"),
    code(400, "foreign_id", "the object's id belongs to another binding"),
    code(400, "import_expired", "an imported entry is as old as the log's retention"),
    code(400, "import_future", "an imported entry's time is not over"),
    code(400, "invalid_change", "a change of members that is malformed"),
    code(400, "invalid_encoding", "broken percent-encoding, or not UTF-8"),
    code(400, "invalid_field", "a member is missing, of the wrong type or out of bounds"),
    code(400, "invalid_id", "an object's id that is not 64 hexadecimal digits"),
    code(400, "invalid_idempotency_key", "an `Idempotency-Key` that is malformed, or there twice"),
    code(400, "invalid_parameter", "a parameter that is unknown, there twice or out of bounds"),
    code(400, "invalid_range", "`startTime` is after `endTime`"),
    code(400, "invalid_token", "a token to be made, or an id of one, that is malformed"),
    code(400, "lone_surrogate", "an escape that is half of a character"),
    code(400, "malformed_json", "the body is not JSON, or not an object"),
    code(400, "name_too_long", "an object's name is too long"),
    code(400, "no_policy", "a check without `config`, and no policy is stored for its `type`"),
    code(400, "not_tls", "the connection began in the clear where the node speaks TLS"),
    code(400, "other_class", "the object holds the state of another class"),
    code(400, "slow_body", "the body did not come in time"),
    code(400, "too_deep", "arrays and objects are nested too deep"),
    code(400, "unknown_member", "a member that a query or a batch does not have"),
    code(401, "unauthenticated", "no token, or none that is valid here and now"),
    code(403, "binding_not_allowed", "the token is for other bindings"),
    code(403, "name_not_allowed", "the token is for objects of other names"),
    code(403, "reserved_object", "the object is written by the nodes alone"),
    code(403, "scope_missing", "the token does not have the scope that the route needs"),
    code(404, "not_found", "no such route or binding, or the binding is of another class"),
    code(405, "method_not_allowed", "`Allow` says which methods the route takes"),
    code(409, "already_member", "the node belongs to the cluster"),
    code(409, "import_conflict", "another entry of this id and time is there"),
    code(409, "import_order", "the entry's day has later entries"),
    code(409, "node_not_empty", "the new node has data"),
    code(409, "node_not_fit", "the node cannot do this"),
    code(409, "node_not_reached", "the node does not answer"),
    code(409, "node_too_old", "the node's version is too old"),
    code(409, "not_a_member", "the node does not belong to the cluster"),
    code(409, "not_caught_up", "the learner is behind"),
    code(409, "policies_full", "as many policies are stored as may be"),
    code(409, "token_exists", "a token of this name is in force"),
    code(409, "tokens_full", "as many tokens are stored as may be"),
    code(409, "too_many_nodes", "the cluster has as many nodes as it may"),
    code(409, "would_lose_quorum", "no majority that answers would be left"),
    code(413, "body_too_large", "the body is too large"),
    code(413, "details_too_large", "`details` is too large"),
    code(422, "idempotency_key_reused", "the key was used for another request"),
    code(429, "token_rate_limited", "the token asks this node more often than it may"),
    code(500, "internal", "a fault that the node's log tells more of"),
    code(503, "no_leader", "no leader could be reached, or the node cannot serve yet"),
    code(503, "not_recorded", "it could not be recorded in the audit log, and so was not done"),
    code(503, "not_yet_supported", "not before all nodes of the cluster are upgraded"),
    code(503, "overloaded", "the node has as much to do as it takes"),
    code(503, "unknown_outcome", "no answer in time; it may have been carried out"),
    code(507, "idempotency_keys_full", "no room for the answers of further keys"),
    code(507, "insufficient_storage", "the disks of too many nodes are nearly full"),
    code(507, "object_full", "the object would take more than its binding's quota"),
    code(507, "objects_full", "the binding has as many objects as its quota allows"),
];
