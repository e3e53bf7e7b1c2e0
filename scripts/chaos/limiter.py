"""The checker of one limiter: is there an order of its calls that explains every answer?

A limiter is a register with the operations check and reset. Limiters are independent of each other,
so each history is checked by itself (Herlihy and Wing, "Linearizability", 1990: locality). The search
is that of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with Lowe's memory of what
was tried ("Testing for Linearizability", 2017): among the calls that no other pending call precedes
in real time it takes one after the other, as far as the model allows it.

Which window a check fell into is not guessed: `resetTime` less the window's length is its start. A
call of unknown fate may take effect at any time after its beginning, or never.
"""

import dataclasses

from history import Fate

# A cluster's clock may be so far from this machine's: the nodes follow a clock that is within five
# seconds of the others' (docs/architecture.md, "Time").
CLOCK_TOLERANCE_S = 6.0
# After so many states a search is given up and said to be undecided.
STATES_MAX = 300_000

# The start of a window that a call of unknown fate began: known once an answer tells.
UNTOLD = -1


class Undecided(Exception):
    """The search was given up; the message says where."""


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """What the model holds: the open window, if there is one, and how late it is at least."""

    # Admitted checks in the window; 0 if none is open.
    count: int
    # When it started, in the cluster's ms; UNTOLD if no answer has told yet.
    start_ms: int
    # The cluster's clock is at least here, in ms: for it never goes back.
    clock_ms: int


EMPTY = State(0, UNTOLD, 0)


@dataclasses.dataclass(slots=True)
class _Operation:
    """A call that was answered, as the model takes it."""

    call: object
    began: float
    ended: float
    is_reset: bool = False
    allowed: bool = False
    # Admitted checks before this one.
    before: int = 0
    start_ms: int = 0


def violation(calls, limiter):
    """What is wrong with the calls of one limiter, in words; None if nothing is.

    Raises `Undecided` if that could not be found out."""
    operations, unknown_checks, unknown_resets = [], [], []
    for call in calls:
        if call.fate is Fate.FAILED:
            continue
        if call.fate is Fate.UNKNOWN:
            (unknown_resets if call.kind == "reset" else unknown_checks).append(call.began)
            continue
        operation = _Operation(call, call.began, call.ended)
        if call.kind == "reset":
            operation.is_reset = True
        else:
            allowed, remaining, reset_ms = call.answer
            if not 0 <= remaining < max(limiter.requests, 1) or (remaining and not allowed):
                return f"an answer that no limiter gives: {_told(call)}"
            operation.allowed = allowed
            operation.before = limiter.requests - remaining - 1
            operation.start_ms = reset_ms - limiter.window_ms
        operations.append(operation)
    operations.sort(key=lambda operation: operation.began)
    return _outlived(operations, limiter) or _Search(
        operations, sorted(unknown_checks), sorted(unknown_resets), limiter
    ).run()


def _outlived(operations, limiter):
    """A window that was still open long after its time was over, if there is one."""
    first = {}
    for operation in operations:
        if not operation.is_reset:
            seen = first.get(operation.start_ms, operation.ended)
            first[operation.start_ms] = min(seen, operation.ended)
    longest_s = limiter.window_ms / 1000 + CLOCK_TOLERANCE_S
    for operation in operations:
        if not operation.is_reset:
            age_s = operation.began - first[operation.start_ms]
            if age_s > longest_s:
                return (
                    f"a window of {limiter.window_ms} ms was still open after {age_s:.1f} s:"
                    f" {_told(operation.call)}"
                )
    return None


def _told(call):
    """A call, for people."""
    return (
        f"{call.kind} of {call.key} at node {call.node}, {call.began:.4f} to {call.ended:.4f}:"
        f" {call.fate.value} {call.answer if call.answer is not None else call.why}"
    )


class _Search:
    def __init__(self, operations, unknown_checks, unknown_resets, limiter):
        self.operations = operations
        # When they began, sorted. They are all alike but for that, so it is always the first of them
        # that is tried.
        self.unknown_checks = unknown_checks
        self.unknown_resets = unknown_resets
        self.limiter = limiter
        began = [operation.began for operation in operations] + unknown_checks[:1]
        self.began = min(began, default=0.0)

    def run(self):
        every = (1 << len(self.operations)) - 1
        # (operations taken, as bits; unknown checks taken; unknown resets taken; state)
        first = (0, 0, 0, EMPTY)
        stack, seen, furthest = [first], {first}, first
        while stack:
            node = stack.pop()
            if node[0] == every:
                return None
            if node[0].bit_count() > furthest[0].bit_count():
                furthest = node
            for successor in self._successors(node):
                if successor not in seen:
                    seen.add(successor)
                    stack.append(successor)
            if len(seen) > STATES_MAX:
                raise Undecided(f"no answer after {STATES_MAX} states; {self._explain(furthest)}")
        return f"no order explains the answers; {self._explain(furthest)}"

    def _successors(self, node):
        """Where the search can go from here; what is most likely comes last, and is tried first."""
        taken, checks, resets, state = node
        candidates, earliest_end = self._candidates(taken)
        found = []
        if resets < len(self.unknown_resets) and self.unknown_resets[resets] <= earliest_end:
            if state.count:
                found.append((taken, checks, resets + 1, State(0, UNTOLD, state.clock_ms)))
        if checks < len(self.unknown_checks) and self.unknown_checks[checks] <= earliest_end:
            for after in self._unknown_check(state, earliest_end):
                found.append((taken, checks + 1, resets, after))
        for position in reversed(candidates):
            for after in self._apply(state, self.operations[position]):
                successor = (taken | 1 << position, checks, resets, after)
                if after == state and not self.operations[position].is_reset:
                    # A refusal changes nothing: one that can come now need not come later. A reset
                    # of nothing might, later, have something to reset.
                    return [successor]
                found.append(successor)
        return found

    def _candidates(self, taken):
        """The operations that may come next, and when the first of those left has ended."""
        candidates, earliest_end = [], float("inf")
        # The first that is not taken: all before it are.
        position = (~taken & (taken + 1)).bit_length() - 1
        while position < len(self.operations):
            operation = self.operations[position]
            if operation.began > earliest_end:
                break
            if not taken >> position & 1:
                candidates.append(position)
                earliest_end = min(earliest_end, operation.ended)
            position += 1
        return candidates, earliest_end

    def _apply(self, state, operation):
        """The states after an answered operation; none if it cannot have been answered so now."""
        if operation.is_reset:
            # It is taken even where there is nothing to reset.
            yield State(0, UNTOLD, state.clock_ms)
            return
        start_ms, limit = operation.start_ms, self.limiter.requests
        is_told = state.start_ms != UNTOLD
        if state.count and (start_ms == state.start_ms or (not is_told and start_ms >= state.clock_ms)):
            # In the open window.
            if operation.allowed and operation.before == state.count < limit:
                yield State(state.count + 1, start_ms, start_ms)
            elif not operation.allowed and state.count >= limit:
                yield State(state.count, start_ms, start_ms)
        if operation.allowed and operation.before == 0:
            # The first of a new window.
            if not state.count:
                if start_ms >= state.clock_ms:
                    yield State(1, start_ms, start_ms)
            elif self._may_have_ended(operation.ended):
                if start_ms >= state.clock_ms + self.limiter.window_ms:
                    yield State(1, start_ms, start_ms)

    def _unknown_check(self, state, until):
        """The states after a check of unknown fate that was carried out before `until`."""
        if not state.count:
            yield State(1, UNTOLD, state.clock_ms)
            return
        if state.count < self.limiter.requests:
            yield State(state.count + 1, state.start_ms, state.clock_ms)
        if self._may_have_ended(until):
            yield State(1, UNTOLD, state.clock_ms + self.limiter.window_ms)

    def _may_have_ended(self, now):
        """Whether any window of this history can be over at a moment: a clock that jumps ends none."""
        return now - self.began >= self.limiter.window_ms / 1000 - CLOCK_TOLERANCE_S

    def _explain(self, node):
        taken, checks, resets, state = node
        candidates, _ = self._candidates(taken)
        window = "no window" if not state.count else f"{state.count} counted since {state.start_ms}"
        lines = [
            f"limit {self.limiter.requests} in {self.limiter.window_ms} ms:"
            f" {taken.bit_count()} of {len(self.operations)} calls, {checks} of"
            f" {len(self.unknown_checks)} unknown checks and {resets} of"
            f" {len(self.unknown_resets)} unknown resets can be placed, which gives {window};"
            " none of these fits then:"
        ]
        lines += [_told(self.operations[position].call) for position in candidates[:6]]
        return "\n    ".join(lines)
