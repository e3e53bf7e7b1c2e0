"""The checker of the audit log finds what is planted, and takes what is right."""

import unittest

from auditlog import Entry, violations
from history import CLOSED, Call, Fate


def log(number, began, ended, fate=Fate.DONE, why=""):
    answer = f"id-{number}" if fate is Fate.DONE else None
    return Call("log", "u", 1, began, ended, fate, answer, own_id=f"own-{number}", why=why)


def query(began, ended, *numbers):
    return Call("query", "u", 2, began, ended, Fate.DONE, tuple(f"own-{n}" for n in numbers))


def entry(number, at_ms=None):
    at_ms = 1000 * number if at_ms is None else at_ms
    return Entry(f"id-{number}", at_ms, f"own-{number}", "u")


def exports(*entries):
    return {node: list(entries) for node in (1, 2, 3)}


LOGS = [log(n, n - 0.2, n + 0.2) for n in (1, 2, 3)]
WHOLE = [entry(1), entry(2), entry(3)]


class Right(unittest.TestCase):
    def holds(self, calls, entries, **options):
        self.assertEqual(violations(calls, exports(*entries), **options), [])

    def test_nothing(self):
        self.holds([], [])

    def test_all_is_there(self):
        self.holds(LOGS, WHOLE)

    def test_unknown_entries_may_be_there_or_not(self):
        lost = [log(4, 3.5, 4, Fate.UNKNOWN), log(5, 3.5, 4, Fate.UNKNOWN)]
        self.holds(LOGS + lost, WHOLE + [entry(5, 3900)])

    def test_refused_entries_are_not_there(self):
        self.holds(LOGS + [log(4, 3.5, 4, Fate.FAILED)], WHOLE)

    def test_queries_are_beginnings_of_the_log(self):
        answers = [query(0, 0.1), query(1, 1.1), query(1, 1.1, 1), query(4, 5, 1, 2, 3)]
        self.holds(LOGS + answers, WHOLE)

    def test_an_entry_that_is_logged_beside_another_may_stand_before_it(self):
        self.holds([log(1, 0, 5), log(2, 0, 5)], [entry(1, 50), entry(2, 50)])


class Wrong(unittest.TestCase):
    def fails(self, says, calls, by_node, **options):
        found = violations(calls, by_node, **options)
        self.assertTrue(any(says in line for line in found), found or "nothing wrong")

    def test_a_lost_entry(self):
        self.fails("own-2, sent to node 1", LOGS, exports(entry(1), entry(3)))
        self.fails("not there", LOGS, exports(entry(1), entry(3)))

    def test_a_doubled_entry(self):
        twice = Entry("id-4", 4000, "own-3", "u")
        self.fails("there 2 times", LOGS, exports(*WHOLE, twice))

    def test_a_doubled_entry_of_unknown_fate(self):
        calls = LOGS[:2] + [log(3, 3, 4, Fate.UNKNOWN)]
        twice = Entry("id-4", 4000, "own-3", "u")
        self.fails("there 2 times", calls, exports(*WHOLE, twice))

    def test_another_id_than_was_answered(self):
        changed = Entry("id-9", 3000, "own-3", "u")
        self.fails("is id-9", LOGS, exports(entry(1), entry(2), changed))

    def test_a_refused_entry_is_there(self):
        calls = LOGS[:2] + [log(3, 3, 4, Fate.FAILED, "no_leader")]
        self.fails("said to be refused (no_leader)", calls, exports(*WHOLE))

    def test_an_entry_on_a_connection_that_was_closed_gracefully(self):
        calls = LOGS[:2] + [log(3, 2.9, 3.2, Fate.UNKNOWN, CLOSED)]
        self.assertEqual(violations(calls, exports(*WHOLE)), [])
        self.fails("closed gracefully", calls, exports(*WHOLE), closed_is_unchanged=True)

    def test_an_entry_that_nobody_sent(self):
        self.fails("nobody sent", LOGS, exports(*WHOLE, entry(4)))

    def test_nodes_that_differ(self):
        by_node = exports(*WHOLE) | {3: WHOLE[:2]}
        self.fails("nodes 1 and 3 differ from entry 2", LOGS, by_node)

    def test_an_order_that_is_not_that_of_the_ids(self):
        self.fails("stands after", LOGS, exports(entry(1), entry(3, 2000), entry(2, 2000)))

    def test_a_time_that_goes_back(self):
        self.fails("earlier time", LOGS, exports(entry(1), entry(2), entry(3, 1999)))

    def test_an_entry_overtakes_one_that_was_acknowledged_before(self):
        calls = [log(2, 0, 1), log(1, 2, 3)]
        self.fails("stands before own-2", calls, exports(entry(1, 900), entry(2, 900)))

    def test_an_unknown_entry_overtakes_one_that_was_acknowledged_before(self):
        calls = [log(2, 0, 1), log(1, 2, 3, Fate.UNKNOWN)]
        self.fails("stands before own-2", calls, exports(entry(1, 900), entry(2, 900)))

    def test_a_clock_that_jumps(self):
        by_node = exports(entry(1), entry(2), entry(3, 3_600_000))
        self.fails("clock moved", LOGS, by_node)

    def test_a_clock_that_is_frozen(self):
        calls = LOGS + [log(4, 60, 60.1)]
        self.fails("clock moved", calls, exports(*WHOLE, entry(4, 3001)))

    def test_a_stale_query(self):
        self.fails("lacks own-2", LOGS + [query(2.5, 2.6, 1)], exports(*WHOLE))

    def test_a_query_with_a_hole(self):
        self.fails("not the log's beginning", LOGS + [query(4, 5, 1, 3)], exports(*WHOLE))

    def test_a_query_that_sees_what_is_not_sent_yet(self):
        self.fails("has own-3, sent at", LOGS + [query(2.5, 2.6, 1, 2, 3)], exports(*WHOLE))

    def test_a_query_that_sees_less_than_one_before_it(self):
        calls = [log(n, 0, 9, Fate.UNKNOWN) for n in (1, 2, 3)]
        calls += [query(1, 2, 1, 2), query(3, 4, 1)]
        self.fails("one before it had 2", calls, exports(*WHOLE))


if __name__ == "__main__":
    unittest.main()
