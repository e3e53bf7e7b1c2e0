"""The checker of limiters finds what is planted, and takes what is right."""

import random
import unittest

import limiter
from history import Call, Fate, Limiter
from limiter import violation

HOUR = 3_600_000
START = 1_800_000_000_000


def check(began, ended, left, start=START, node=1, window=HOUR):
    """An answered check: admitted with so many left, refused if `left` is None."""
    answer = (left is not None, left or 0, start + window)
    return Call("check", "k", node, began, ended, Fate.DONE, answer)


def reset(began, ended):
    return Call("reset", "k", 1, began, ended, Fate.DONE)


def unknown(kind, began, ended=99.0):
    return Call(kind, "k", 1, began, ended, Fate.UNKNOWN, why="broken connection")


def failed(kind, began, ended):
    return Call(kind, "k", 1, began, ended, Fate.FAILED, why="no_leader")


class Right(unittest.TestCase):
    def holds(self, calls, requests=3, window=HOUR):
        self.assertIsNone(violation(calls, Limiter(requests, window)))

    def test_no_calls(self):
        self.holds([])

    def test_one_after_the_other(self):
        self.holds([check(i, i + 0.5, left) for i, left in enumerate([2, 1, 0, None, None])])

    def test_beside_each_other_in_any_order(self):
        self.holds([check(0, 9, None), check(1, 9, 0), check(2, 9, 2), check(3, 9, 1)])

    def test_a_reset_between_two_windows(self):
        self.holds([check(0, 1, 2), reset(2, 3), check(4, 5, 2, START + 4000)])

    def test_a_reset_beside_two_checks_takes_its_place_between_them(self):
        self.holds([reset(0, 9), check(1, 2, 2), check(3, 4, 2, START + 3)])

    def test_a_reset_and_a_new_window_in_the_same_millisecond(self):
        self.holds([check(0, 9, 2), reset(0, 9), check(0, 9, 2)])

    def test_a_failed_call_does_nothing(self):
        self.holds([check(0, 1, 2), failed("check", 2, 3), failed("reset", 2, 3), check(4, 5, 1)])

    def test_an_unknown_check_was_carried_out(self):
        self.holds([check(0, 1, 2), unknown("check", 2), check(3, 4, 0)])

    def test_an_unknown_check_was_not_carried_out(self):
        self.holds([check(0, 1, 2), unknown("check", 2), check(3, 4, 1)])

    def test_an_unknown_check_is_carried_out_after_its_client_gave_up(self):
        self.holds([unknown("check", 0, 1), check(2, 3, 2), check(4, 5, 0)])

    def test_an_unknown_check_began_the_window(self):
        self.holds([unknown("check", 0), check(1, 2, 1), check(3, 4, 0)])

    def test_an_unknown_reset(self):
        self.holds([check(0, 1, 2), unknown("reset", 2), check(3, 4, 1), check(5, 6, 2, START + 5)])

    def test_an_unknown_reset_and_an_unknown_check_of_a_new_window(self):
        self.holds([check(0, 1, 2), unknown("reset", 2), unknown("check", 2), check(3, 4, 1, START + 9)])

    def test_short_windows_end_by_themselves(self):
        calls = [check(0, 0.1, 0, window=200), check(0.1, 0.15, None, window=200)]
        calls += [check(0.2, 0.3, 0, START + 200, window=200)]
        self.holds(calls, requests=1, window=200)

    def test_an_unknown_check_began_a_window_after_the_last_was_over(self):
        calls = [check(0, 0.1, 0, window=200), unknown("check", 0.2)]
        calls += [check(0.3, 0.4, None, START + 250, window=200)]
        self.holds(calls, requests=1, window=200)

    def test_random_histories_of_a_right_limiter(self):
        for seed in range(300):
            requests = random.Random(seed).choice([1, 2, 5, 1000])
            calls = simulated(seed, requests)
            self.assertIsNone(violation(calls, Limiter(requests, HOUR)), f"seed {seed}")


class Wrong(unittest.TestCase):
    def fails(self, calls, requests=3, window=HOUR, says="no order"):
        self.assertIn(says, violation(calls, Limiter(requests, window)) or "nothing wrong")

    def test_over_admission(self):
        self.fails([check(i, i + 0.5, left) for i, left in enumerate([2, 1, 0, 0])])

    def test_more_left_than_the_limit(self):
        self.fails([check(0, 1, 3)], says="no limiter gives")

    def test_the_same_grant_twice(self):
        self.fails([check(0, 9, 2), check(0, 9, 1), check(0, 9, 1)])

    def test_a_lost_update(self):
        self.fails([check(0, 1, 2), check(2, 3, 1), check(4, 5, 1)])

    def test_a_grant_that_nobody_asked_for(self):
        self.fails([check(0, 1, 2), check(2, 3, 0)])

    def test_a_call_carried_out_twice(self):
        self.fails([check(0, 1, 2), unknown("check", 2), check(3, 4, 0), check(5, 6, None),
                    check(7, 8, None)], requests=4)

    def test_refused_below_the_limit(self):
        self.fails([check(0, 1, 2), check(2, 3, None)])

    def test_a_stale_refusal_after_a_reset(self):
        calls = [check(0, 1, 0), check(1.1, 1.2, None), reset(2, 3), check(4, 5, None, node=2)]
        self.fails(calls, requests=1)

    def test_a_stale_count_after_a_reset(self):
        self.fails([check(0, 1, 2), reset(2, 3), check(4, 5, 1)])

    def test_a_reset_that_nobody_asked_for(self):
        self.fails([check(0, 1, 2), check(2, 3, 2, START + 2000)])

    def test_a_failed_check_was_carried_out(self):
        self.fails([check(0, 1, 2), failed("check", 2, 3), check(4, 5, 0)])

    def test_a_failed_reset_was_carried_out(self):
        self.fails([check(0, 1, 2), failed("reset", 2, 3), check(4, 5, 2, START + 4000)])

    def test_real_time_is_turned_around(self):
        self.fails([check(0, 1, 1), check(2, 3, 2)])

    def test_the_clock_goes_back(self):
        self.fails([check(0, 1, 2), reset(2, 3), check(4, 5, 2, START - 1)])

    def test_a_window_is_ended_by_a_clock_that_jumped(self):
        self.fails([check(0, 1, 0), check(2, 3, 0, START + HOUR)], requests=1)

    def test_a_window_that_does_not_end(self):
        calls = [check(0, 0.1, 0, window=200), check(9, 9.1, None, window=200)]
        self.fails(calls, requests=1, window=200, says="still open")

    def test_a_new_window_before_the_last_is_over(self):
        calls = [check(0, 0.1, 0, window=200), check(0.2, 0.3, 0, START + 199, window=200)]
        self.fails(calls, requests=1, window=200)

    def test_planted_in_random_histories(self):
        """One admitted check of a right history is said to have left one less, or one more."""
        found = tried = 0
        for seed in range(200):
            calls = simulated(seed, 1000, unknown_share=0)
            admitted = [call for call in calls if call.kind == "check" and call.answer[0]]
            if len(admitted) < 3:
                continue
            tried += 1
            call = random.Random(seed).choice(admitted)
            allowed, left, end = call.answer
            call.answer = (allowed, left - 1 if left else 1, end)
            found += violation(calls, Limiter(1000, HOUR)) is not None
        self.assertGreater(tried, 150)
        self.assertEqual(found, tried)

    def test_a_search_that_is_too_long_says_so(self):
        most, limiter.STATES_MAX = limiter.STATES_MAX, 10
        self.addCleanup(setattr, limiter, "STATES_MAX", most)
        calls = [unknown("check", 0) for _ in range(30)] + [check(1, 2, 0)]
        with self.assertRaises(limiter.Undecided):
            violation(calls, Limiter(50, HOUR))


def simulated(seed, requests, unknown_share=0.1):
    """What clients see of a right limiter, each call carried out at one moment of its interval."""
    randomness = random.Random(seed)
    moments = []
    for client in range(5):
        now = randomness.random()
        for _ in range(12):
            began = now
            at = began + randomness.expovariate(3)
            now = at + randomness.expovariate(3)
            kind = "reset" if randomness.random() < 0.08 else "check"
            moments.append((at, kind, began, now, randomness.random() < unknown_share))
    calls, count, start = [], 0, 0
    for at, kind, began, ended, is_lost in sorted(moments):
        if kind == "reset":
            count = 0
            calls.append(unknown("reset", began, ended) if is_lost else reset(began, ended))
            continue
        if is_lost and randomness.random() < 0.5:
            calls.append(unknown("check", began, ended))
            continue
        if count == 0:
            start = START + round(at * 1000)
        left = requests - count - 1 if count < requests else None
        count = min(count + 1, requests)
        calls.append(unknown("check", began, ended) if is_lost else check(began, ended, left, start))
    return calls


if __name__ == "__main__":
    unittest.main()
