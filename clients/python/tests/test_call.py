"""What is sent where and when, without I/O: the test is the network and the clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tallykeep import NoAnswerError, RequestError, ServerError
from tallykeep._call import Answer, Attempt, Broken, Calls, Pause, Request
from tallykeep._settings import settings

CHECK = Request("POST", "/check", b"{}", key='"k"', has_own_key=True)
OK: Answer | Broken = Answer(200, {}, b"{}")
REFUSED: Answer | Broken = Broken("connection refused")


class World:
    """Carries calls out on a clock of its own. ``answer`` is asked for every attempt."""

    def __init__(self, count: int, timeout_s: float = 5.0, chance: float = 0.0) -> None:
        self.now_s = 100.0
        self.asked: list[tuple[str, float]] = []
        self.attempts: list[Attempt] = []
        endpoints = [f"http://{name}" for name in "abc"[:count]]
        self.calls = Calls(
            settings(endpoints, "token", timeout_s, 2.0),
            now_s=lambda: self.now_s,
            wall_s=lambda: 1_000_000_000.0,
            chance=lambda: chance,
        )

    def call(
        self, answer: Callable[[str], Answer | Broken], request: Request = CHECK
    ) -> tuple[Answer, list[tuple[str, float]]]:
        """The answer, and which node was asked when, in seconds since the call began."""
        began_s, first = self.now_s, len(self.asked)
        steps = self.calls.call(request)
        came: Answer | Broken | None = None
        while True:
            try:
                step = steps.send(came)
            except StopIteration as end:
                return end.value, self.asked[first:]
            if isinstance(step, Pause):
                assert step.duration_s > 0
                self.now_s += step.duration_s
                came = None
            else:
                self.attempts.append(step)
                self.asked.append((step.url[7], round(self.now_s - began_s, 3)))
                came = answer(step.url[7])

    def late(self) -> Broken:
        """The node took as long as it may."""
        self.now_s += self.attempts[-1].limit_s
        return Broken("late")


def busy(after: str | None) -> Answer:
    """A 503."""
    return Answer(503, {} if after is None else {"retry-after": after}, b'{"code":"overloaded"}')


def often(after: str | None) -> Answer:
    """The 429 of a token that asks the node too often."""
    headers = {} if after is None else {"retry-after": after}
    return Answer(429, headers, b'{"detail":"wait a second","code":"token_rate_limited"}')


def test_calls_take_the_nodes_in_turn() -> None:
    world = World(3)
    asked = [world.call(lambda _: OK)[1][0][0] for _ in range(6)]
    assert "".join(asked) == "abcabc"


def test_the_first_turn_is_by_chance() -> None:
    first = [World(3, chance=chance).call(lambda _: OK)[1][0][0] for chance in (0.0, 0.5, 0.99)]
    assert first == ["a", "b", "c"]


def test_what_fails_is_asked_of_the_next_node_at_once_with_the_same_bytes_and_key() -> None:
    world = World(3)
    answer, asked = world.call(lambda name: OK if name == "c" else REFUSED)
    assert answer is OK
    assert asked == [("a", 0.0), ("b", 0.0), ("c", 0.0)]
    sent = {(one.method, one.body, one.headers["Idempotency-Key"]) for one in world.attempts}
    assert sent == {("POST", b"{}", '"k";ttl=65')}
    assert all(one.headers["Authorization"] == "Bearer token" for one in world.attempts)


@pytest.mark.parametrize(("timeout_s", "ttl_s"), [(0.001, 61), (5.0, 65), (5.001, 66)])
def test_a_calls_own_key_is_to_be_remembered_for_its_time_and_a_minute(
    timeout_s: float, ttl_s: int
) -> None:
    world = World(1, timeout_s=timeout_s)
    world.call(lambda _: OK)
    # A caller's own is for the cluster to forget.
    world.call(lambda _: OK, Request("POST", "/check", b"{}", key='"own"'))
    keys = [one.headers["Idempotency-Key"] for one in world.attempts]
    assert keys == [f'"k";ttl={ttl_s}', '"own"']


def test_an_attempt_has_its_own_limit_and_never_more_than_is_left_of_the_call() -> None:
    world = World(2, timeout_s=3.0)
    with pytest.raises(NoAnswerError, match="http://b cannot be reached: late"):
        world.call(lambda _: world.late())
    assert [one.limit_s for one in world.attempts] == [2.0, 1.0]


def test_a_single_node_has_the_whole_deadline() -> None:
    world = World(1, timeout_s=5.0)
    with pytest.raises(NoAnswerError):
        world.call(lambda _: world.late())
    assert [one.limit_s for one in world.attempts] == [5.0]


def test_a_node_that_failed_is_asked_again_after_a_pause_that_doubles() -> None:
    world = World(1, timeout_s=4.0)
    with pytest.raises(NoAnswerError):
        world.call(lambda _: REFUSED)
    times = [when for _, when in world.asked]
    pauses = [round(b - a, 3) for a, b in itertools.pairwise(times)]
    assert pauses == [0.025, 0.05, 0.1, 0.2, 0.4, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]


def test_a_pause_is_by_half_a_matter_of_chance() -> None:
    world = World(1, timeout_s=4.0, chance=0.999)
    came = iter([REFUSED, OK])
    assert world.call(lambda _: next(came))[1] == [("a", 0.0), ("a", 0.05)]


def test_a_503_is_asked_of_the_others_at_once_and_of_the_same_after_its_retry_after() -> None:
    world = World(2)
    came = iter([busy("1"), busy("3"), OK])
    assert world.call(lambda _: next(came))[1] == [("a", 0.0), ("b", 0.0), ("a", 1.0)]


def test_a_retry_after_may_be_a_date() -> None:
    world = World(1)
    came = iter([busy("Sun, 09 Sep 2001 01:46:42 GMT"), OK])
    assert world.call(lambda _: next(came))[1] == [("a", 0.0), ("a", 2.0)]


@pytest.mark.parametrize("after", ["6", "Sun, 09 Sep 2001 02:46:40 GMT"])
def test_a_retry_after_beyond_the_deadline_is_not_waited_for(after: str) -> None:
    world = World(1)
    with pytest.raises(ServerError) as caught:
        world.call(lambda _: busy(after))
    assert world.asked == [("a", 0.0)]
    error = caught.value
    assert (error.status, error.code, error.retryable) == (503, "overloaded", True)
    assert error.overloaded


def test_a_token_that_asks_too_often_asks_the_others_at_once_and_the_same_after_retry_after() -> (
    None
):
    world = World(3)
    came = iter([often("1"), busy("1"), often("1"), often("1"), OK])
    asked = [("a", 0.0), ("b", 0.0), ("c", 0.0), ("a", 1.0), ("b", 1.0)]
    assert world.call(lambda _: next(came)) == (OK, asked)
    assert len({one.headers["Idempotency-Key"] for one in world.attempts}) == 1
    # It is no failure of the node, which is asked again in its turn.
    assert {world.call(lambda _: OK)[1][0][0] for _ in range(3)} == {"a", "b", "c"}


def test_a_token_that_asks_every_node_too_often_until_the_deadline_is_told() -> None:
    world = World(2, timeout_s=2.5)
    with pytest.raises(RequestError) as caught:
        world.call(lambda _: often("1"))
    assert [when for _, when in world.asked] == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    error = caught.value
    assert str(error) == "tallykeep at http://b answered 429: wait a second"
    assert (error.status, error.code) == (429, "token_rate_limited")
    assert (error.retryable, error.overloaded) == (True, False)


@pytest.mark.parametrize("after", ["0", None])
def test_a_token_that_asks_too_often_asks_no_node_without_a_pause(after: str | None) -> None:
    world = World(1, timeout_s=0.2)
    with pytest.raises(RequestError):
        world.call(lambda _: often(after))
    assert [when for _, when in world.asked] == [0.0, 0.025, 0.075, 0.175]


@pytest.mark.parametrize(
    "body", [b'{"allowed":false}', b'{"code":"slow_down"}', b"[]", b"<h1>", b""]
)
def test_a_429_that_is_not_of_the_token_is_the_answer(body: bytes) -> None:
    world = World(2)
    refused = Answer(429, {"retry-after": "1"}, body)
    assert world.call(lambda _: refused) == (refused, [("a", 0.0)])


@pytest.mark.parametrize("after", ["0", None, "soon", "-1", "Sun, 09 Sep 2001 00:00:00 GMT"])
def test_a_node_that_says_to_come_back_at_once_is_not_asked_without_a_pause(
    after: str | None,
) -> None:
    world = World(1, timeout_s=1.0)
    with pytest.raises(ServerError):
        world.call(lambda _: busy(after))
    assert [when for _, when in world.asked] == [0.0, 0.025, 0.075, 0.175, 0.375, 0.775]


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_500_is_asked_of_every_other_node_once(status: int) -> None:
    world = World(3)
    with pytest.raises(ServerError) as caught:
        world.call(lambda _: Answer(status, {}, b"<h1>"))
    assert world.asked == [("a", 0.0), ("b", 0.0), ("c", 0.0)]
    assert (caught.value.status, caught.value.code, caught.value.retryable) == (status, None, True)


@pytest.mark.parametrize("status", [501, 507, 599])
def test_other_5xx_are_the_whole_clusters(status: int) -> None:
    world = World(2)
    with pytest.raises(ServerError) as caught:
        world.call(lambda _: Answer(status, {}, b'{"detail":"full","code":"x"}'))
    assert world.asked == [("a", 0.0)]
    assert str(caught.value) == f"tallykeep at http://a answered {status}: full"
    assert not caught.value.retryable


@pytest.mark.parametrize("code", ["insufficient_storage", "object_full", "objects_full"])
def test_a_507_changed_nothing_and_is_final(code: str) -> None:
    world = World(2)
    with pytest.raises(ServerError) as caught:
        world.call(lambda _: Answer(507, {}, b'{"code":"%s"}' % code.encode()))
    assert world.asked == [("a", 0.0)]
    assert (caught.value.status, caught.value.code, caught.value.retryable) == (507, code, False)


@pytest.mark.parametrize("status", [200, 302, 400, 409, 413, 422, 429])
def test_what_is_below_500_is_the_answer(status: int) -> None:
    world = World(2)
    assert world.call(lambda _: Answer(status, {}))[0].status == status
    assert len(world.asked) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(507, "idempotency_keys_full"), (503, "not_yet_supported")]
)
def test_a_cluster_that_takes_no_key_is_asked_once_without_one(status: int, code: str) -> None:
    no_key = Answer(status, {}, b'{"code":"%s"}' % code.encode())

    def answer(_: str) -> Answer | Broken:
        return no_key if "Idempotency-Key" in world.attempts[-1].headers else OK

    world = World(2)
    assert world.call(answer)[1] == [("a", 0.0), ("a", 0.0)]
    assert [one.body for one in world.attempts] == [b"{}", b"{}"]

    # Not if the caller asked for a key, ...
    world = World(2, timeout_s=1.0)
    with pytest.raises(ServerError):
        world.call(answer, Request("POST", "/check", b"{}", key='"own"'))
    assert all("Idempotency-Key" in one.headers for one in world.attempts)

    # ... nor if an earlier attempt may have been carried out.
    world = World(2, timeout_s=1.0)
    with pytest.raises((ServerError, NoAnswerError)):
        world.call(lambda name: REFUSED if name == "a" else answer(name))
    assert all("Idempotency-Key" in one.headers for one in world.attempts)


def test_an_attempt_without_a_key_is_not_repeated() -> None:
    world = World(2)
    came = iter([Answer(507, {}, b'{"code":"idempotency_keys_full"}'), REFUSED, OK])
    with pytest.raises(NoAnswerError):
        world.call(lambda _: next(came))
    assert len(world.asked) == 2


def test_a_dead_node_is_passed_over_then_tried_by_one_call_for_twice_as_long() -> None:
    world = World(2)

    def answer(name: str) -> Answer | Broken:
        return OK if name == "b" else REFUSED

    tries = []
    for _ in range(400):
        if ("a", 0.0) in world.call(answer)[1]:
            tries.append(round(world.now_s - 100.0, 1))
        world.now_s += 0.1
    assert tries[0] == 0.0
    whiles = [round(b - a, 1) for a, b in itertools.pairwise(tries)]
    # In their turn, which is every other call.
    assert whiles == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0, 15.0], abs=0.25)


def test_a_node_that_answers_again_is_used_again() -> None:
    world = World(2)
    world.call(lambda name: OK if name == "b" else REFUSED)
    assert {world.call(lambda _: OK)[1][0][0] for _ in range(4)} == {"b"}
    world.now_s += 0.5
    assert {world.call(lambda _: OK)[1][0][0] for _ in range(4)} == {"a", "b"}


def test_when_all_nodes_were_found_dead_each_is_tried_once_more_and_none_is_waited_for() -> None:
    world = World(2)
    with pytest.raises(NoAnswerError):
        world.call(lambda _: REFUSED)
    began_s, before = world.now_s, len(world.asked)
    with pytest.raises(NoAnswerError) as caught:
        world.call(lambda _: REFUSED)
    assert len(world.asked) - before == 2
    assert world.now_s == began_s
    assert (caught.value.status, caught.value.retryable) == (None, True)


def test_calls_that_were_under_way_when_a_node_died_are_one_failure() -> None:
    world = World(2)
    under_way = [world.calls.call(CHECK) for _ in range(20)]
    for steps in under_way:
        next(steps)
    world.now_s += 0.1
    # Of two nodes, "a" is the one that died.
    for steps in under_way[::2]:
        steps.send(REFUSED)
    # The first while, and not the longest one.
    world.now_s += 0.5
    assert {world.call(lambda _: OK)[1][0][0] for _ in range(4)} == {"a", "b"}


def test_a_call_that_is_given_up_is_not_held_against_the_node() -> None:
    world = World(2)
    steps = world.calls.call(CHECK)
    next(steps)
    steps.close()
    assert {world.call(lambda _: OK)[1][0][0] for _ in range(4)} == {"a", "b"}
