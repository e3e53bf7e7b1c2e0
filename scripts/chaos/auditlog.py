"""The checker of the audit log: every acknowledged entry once, in one order, on every node.

An entry that was acknowledged before another was sent stands before it. A query's answer is the
beginning of the log, for its filter, as long as it was at some moment between the query and its
answer."""

import dataclasses

from history import CLOSED, Fate
from limiter import CLOCK_TOLERANCE_S

# Of one sort of violation, so many are told; the rest is counted.
TOLD_MAX = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """An entry as a node exports it."""

    id: str
    timestamp_ms: int
    own_id: str
    # The `userId`, by which queries ask.
    user: str


def violations(calls, exports, closed_is_unchanged=False):
    """What is wrong with the log. `calls`: all logs and queries; `exports`: by node, its entries from
    the oldest to the newest.

    With `closed_is_unchanged`, a request whose connection was closed instead of answered must not
    have been carried out, as after a graceful stop."""
    logs = [call for call in calls if call.kind == "log"]
    queries = [call for call in calls if call.kind == "query" and call.fate is Fate.DONE]
    found = _unequal(exports)
    entries = next(iter(exports.values()))
    found += _disorder(entries)
    found += _fates(logs, entries, closed_is_unchanged)
    found += _overtaken(logs, entries)
    found += _clock(logs, entries)
    found += _queries(logs, queries, entries)
    return found


def _some(found):
    """The first few, and how many more there are."""
    more = len(found) - TOLD_MAX
    return found[:TOLD_MAX] + ([f"… and {more} more of this sort"] if more > 0 else [])


def _unequal(exports):
    (first, entries), *others = exports.items()
    found = []
    for node, other in others:
        if other != entries:
            pairs = enumerate(zip(entries, other))
            position = next((i for i, (a, b) in pairs if a != b), min(len(entries), len(other)))
            found.append(
                f"the logs of nodes {first} and {node} differ from entry {position} on:"
                f" {entries[position:position + 1]} and {other[position:position + 1]}"
                f" ({len(entries)} and {len(other)} entries)"
            )
    return found


def _disorder(entries):
    found = []
    for before, after in zip(entries, entries[1:]):
        if before.id >= after.id:
            found.append(f"entry {after.id} stands after {before.id}")
        if before.timestamp_ms > after.timestamp_ms:
            found.append(f"entry {after.id} is of an earlier time than {before.id} before it")
    return _some(found)


def _fates(logs, entries, closed_is_unchanged):
    """Acknowledged once, refused never, unknown at most once, and nothing that nobody sent."""
    ids = {}
    for entry in entries:
        ids.setdefault(entry.own_id, []).append(entry.id)
    lost, doubled, made = [], [], []
    for call in logs:
        here = ids.pop(call.own_id, [])
        told = f"entry {call.own_id}, sent to node {call.node} at {call.began:.4f},"
        if len(here) > 1:
            doubled.append(f"{told} {call.fate.value}, is there {len(here)} times: {here}")
        elif call.fate is Fate.DONE and here != [call.answer]:
            was = f"acknowledged at {call.ended:.4f} as {call.answer}"
            lost.append(f"{told} {was}, is {here[0] if here else 'not there'}")
        elif call.fate is Fate.FAILED and here:
            made.append(f"{told} said to be refused ({call.why}), is there")
        elif closed_is_unchanged and call.why == CLOSED and here:
            made.append(f"{told} on a connection that was closed gracefully, is there")
    foreign = [f"entry {ids} that nobody sent" for ids in ids.values()]
    return _some(lost) + _some(doubled) + _some(made) + _some(foreign)


def _overtaken(logs, entries):
    """Entries that stand before one that was acknowledged before they were sent."""
    places = {entry.own_id: place for place, entry in enumerate(entries)}
    sent = sorted((call for call in logs if call.own_id in places), key=lambda call: call.began)
    ended = sorted((call for call in sent if call.fate is Fate.DONE), key=lambda call: call.ended)
    found, last, next_ended = [], None, 0
    for call in sent:
        while next_ended < len(ended) and ended[next_ended].ended < call.began:
            before = ended[next_ended]
            if last is None or places[last.own_id] < places[before.own_id]:
                last = before
            next_ended += 1
        if last is not None and places[call.own_id] < places[last.own_id]:
            found.append(
                f"entry {call.own_id}, sent at {call.began:.4f}, stands before {last.own_id},"
                f" acknowledged at {last.ended:.4f}"
            )
    return _some(found)


def _clock(logs, entries):
    """A clock that froze or jumped: the entries' times against this machine's monotonic clock."""
    times = {entry.own_id: entry.timestamp_ms / 1000 for entry in entries}
    done = [call for call in logs if call.fate is Fate.DONE and call.own_id in times]
    if not done:
        return []
    # The clock was ahead of ours by at least the one and at most the other.
    least = max((times[call.own_id] - call.ended, call.own_id) for call in done)
    most = min((times[call.own_id] - call.began, call.own_id) for call in done)
    drift_s = least[0] - most[0]
    if drift_s <= CLOCK_TOLERANCE_S:
        return []
    return [f"the cluster's clock moved by {drift_s:.1f} s against ours: {most[1]}, {least[1]}"]


def _queries(logs, queries, entries):
    order = {}
    for entry in entries:
        order.setdefault(entry.user, []).append(entry.own_id)
    by_user = {}
    for call in logs:
        by_user.setdefault(call.key, []).append(call)
    found, longest = [], {}
    by_end = iter(sorted(queries, key=lambda query: query.ended))
    ended = next(by_end, None)
    for query in sorted(queries, key=lambda query: query.began):
        told = f"query of {query.key} at node {query.node}, {query.began:.4f} to {query.ended:.4f},"
        whole, part = order.get(query.key, []), list(query.answer)
        if whole[: len(part)] != part:
            found.append(f"{told} is not the log's beginning: {part[-3:]} of {len(part)}")
            continue
        seen = set(part)
        for call in by_user.get(query.key, []):
            if call.fate is Fate.DONE and call.ended < query.began and call.own_id not in seen:
                found.append(f"{told} lacks {call.own_id}, acknowledged at {call.ended:.4f}")
            elif call.began > query.ended and call.own_id in seen:
                found.append(f"{told} has {call.own_id}, sent at {call.began:.4f}")
        while ended is not None and ended.ended < query.began:
            longest[ended.key] = max(longest.get(ended.key, 0), len(ended.answer))
            ended = next(by_end, None)
        if len(part) < longest.get(query.key, 0):
            found.append(f"{told} has {len(part)} entries, one before it had {longest[query.key]}")
    return _some(found)
