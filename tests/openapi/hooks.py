"""What schemathesis checks beside its own checks: rules that are in no JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import schemathesis

# What is refused though its schema allows it: an id of another binding, a cursor that no page gave, a range
# that ends before it begins, a key that was used.
BEYOND_SCHEMAS = {
    "foreign_id",
    "bad_cursor",
    "invalid_range",
    "idempotency_key_reused",
    # A check without a limit of its own: whether one is stored for its type is not said in a schema.
    "config_required",
    "no_policy",
    # Which bindings there are, and which names are taken, is not said in one.
    "invalid_token",
    "token_exists",
    "tokens_full",
    "reserved_object",
}


def _problem(response: Any) -> dict[str, Any]:
    """The members of a problem; none if the body is something else."""
    body = response.json() if "json" in response.headers.get("content-type", [""])[0] else {}
    return body if isinstance(body, dict) else {}


def _values(value: Any) -> Iterator[Any]:
    """A value, and all that is in it."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _values(one)


def _is_beyond_schemas(problem: dict[str, Any], case: Any) -> bool:
    """Whether a refusal is for a reason that JSON Schema cannot give."""
    code, detail = problem.get("code"), str(problem.get("detail", ""))
    if code == "not_found" and case.path.startswith("/admin/policies"):
        # Of which types there is a policy is not said in a schema.
        return case.method == "GET" and "no policy is stored" in detail
    if code == "not_found" and case.path.startswith(("/admin/objects", "/admin/limiters")):
        # Which objects there are is not said in a schema.
        return "has no object of this" in detail
    if code in BEYOND_SCHEMAS:
        return True
    if code == "invalid_idempotency_key":
        return "ttl from" in detail and "ttl=" in case.headers.get("Idempotency-Key", "")
    sent = list(_values([case.body, case.path_parameters, case.query]))
    if "JSON integer" in detail:
        # `1.0` is an integer to JSON Schema.
        return any(isinstance(value, float) and value.is_integer() for value in sent)
    if "bytes" in detail:
        # JSON Schema counts characters.
        return any(isinstance(value, str) and not value.isascii() for value in sent)
    return False


@schemathesis.check
def what_is_described_is_accepted(ctx: Any, response: Any, case: Any) -> None:
    """What the document allows is done, or refused for a reason that no schema can give."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code < 400 or response.status_code in (405, 429):
        return
    problem = _problem(response)
    if not _is_beyond_schemas(problem, case):
        raise AssertionError(f"{response.status_code} to what is described: {problem}")


@schemathesis.check
def a_bad_item_is_told_in_its_place(ctx: Any, response: Any, case: Any) -> None:
    """A batch that is not as described is refused, or one of its items is."""
    if not case.path.endswith(("/batch", "/import")) or response.status_code != 200:
        return
    if case.meta is None or not case.meta.generation.mode.is_negative or case.method != "POST":
        return
    if not response.request.headers.get("Content-Type", "").startswith("application/json"):
        # That is what was not as described, and any content type is taken.
        return
    if not any(result["status"] >= 400 for result in response.json()["results"]):
        raise AssertionError("a batch that is not as described was carried out")
