"""When a node is passed over, without I/O."""

from __future__ import annotations

from tallykeep._circuit import Circuit
from tallykeep._retry_after import retry_after_s

WALL_S = 1_000_000_000.0


def open_s(circuit: Circuit, now_s: float) -> float:
    """How long the circuit is open, in tenths of a second."""
    return next(tenths for tenths in range(600) if circuit.is_closed(now_s + tenths / 10)) / 10


def test_a_failed_node_is_passed_over_for_a_while_that_doubles_up_to_15_s() -> None:
    circuit, now_s = Circuit(), 100.0
    assert circuit.is_closed(0.0)
    whiles = []
    for _ in range(7):
        circuit.fail(now_s, now_s)
        whiles.append(open_s(circuit, now_s))
        now_s += 20
    assert whiles == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    circuit.succeed()
    assert circuit.is_closed(0.0)
    circuit.fail(now_s, now_s)
    assert open_s(circuit, now_s) == 0.5


def test_attempts_that_were_under_way_are_one_failure() -> None:
    circuit = Circuit()
    for _ in range(20):
        circuit.fail(100.0, 101.0)
    assert open_s(circuit, 101.0) == 0.5
    # One that began in the moment of the failure is a failure of its own.
    circuit.fail(101.0, 101.0)
    assert open_s(circuit, 101.0) == 1.0


def test_one_call_tries_a_failed_node_and_the_others_do_not() -> None:
    circuit = Circuit()
    circuit.begin(100.0, 2.0)
    assert circuit.is_closed(100.0), "a node that has not failed is everybody's"
    circuit.fail(100.0, 100.0)
    assert circuit.is_closed(100.5)
    circuit.begin(100.5, 2.0)
    assert open_s(circuit, 100.5) == 2.0
    # Never shorter than it was.
    circuit.begin(100.5, 1.0)
    assert open_s(circuit, 100.5) == 2.0


def test_a_retry_after_is_seconds_or_a_date() -> None:
    cases = {
        "0": 0.0,
        " 17 ": 17.0,
        "999999999": 999_999_999.0,
        "Sun, 09 Sep 2001 01:46:42 GMT": 2.0,
        "Sun, 09 Sep 2001 01:46:42 -0000": 2.0,
        "Sun, 09 Sep 2001 00:00:00 GMT": 0.0,
        "1000000000": None,
        "-1": None,
        "1.5": None,
        "\u0661": None,
        "soon": None,
        "": None,
        None: None,
    }
    assert {text: retry_after_s(text, WALL_S) for text in cases} == cases
