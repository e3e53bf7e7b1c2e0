"""Medians over rounds, and the ratios and targets that follow from them."""

import dataclasses
import statistics

OURS = "tallykeep"
WORKERD = "workerd"
# The peers that are asked the same question, in the order of the tables.
COMPARED = ["echo", "redis", "etcd", WORKERD]


@dataclasses.dataclass(frozen=True)
class Median:
    """The rows of all rounds as one: each figure is the median of its own."""

    system: str
    load: str
    connections: int
    rounds: int
    rate: float
    rate_least: float
    rate_most: float
    p50_ms: float
    p99_ms: float
    cpu_per_1000_s: float
    generator_cpu_per_1000_s: float
    others_share: float


def medians(rows):
    """The medians of rows, in the order in which their systems and loads came, fewest connections
    first."""
    groups = {}
    for row in rows:
        groups.setdefault((row.system, row.load), {}).setdefault(row.connections, []).append(row)

    def median(group, figure):
        return statistics.median(getattr(row, figure) for row in group)

    found = []
    for (system, load), by_connections in groups.items():
        for connections, group in sorted(by_connections.items()):
            found.append(
                Median(
                    system=system,
                    load=load,
                    connections=connections,
                    rounds=len(group),
                    rate=median(group, "rate"),
                    rate_least=min(row.rate for row in group),
                    rate_most=max(row.rate for row in group),
                    p50_ms=median(group, "p50_ms"),
                    p99_ms=median(group, "p99_ms"),
                    cpu_per_1000_s=median(group, "cpu_per_1000_s"),
                    generator_cpu_per_1000_s=median(group, "generator_cpu_per_1000_s"),
                    others_share=median(group, "others_share"),
                )
            )
    return found


class Results:
    """Medians by what they are of."""

    def __init__(self, found):
        self.found = {(row.system, row.load, row.connections): row for row in found}

    def of(self, system, connections, load="check"):
        """A median, or None where it was not measured. A peer that was asked in several ways
        answers with its best."""
        if system != WORKERD:
            return self.found.get((system, load, connections))
        rows = [
            row
            for (name, _, number), row in self.found.items()
            if name == WORKERD and number == connections
        ]
        return max(rows, key=lambda row: row.rate, default=None)

    def ratio(self, figure, ours, theirs):
        """A figure of the first median over that of the second; None where one was not measured,
        or is too small to be."""
        if ours is None or theirs is None or getattr(theirs, figure) == 0:
            return None
        return getattr(ours, figure) / getattr(theirs, figure)


@dataclasses.dataclass(frozen=True)
class Target:
    """One of the figures that the project is to reach, and what it came to."""

    what: str
    goal: float
    # What must be reached at the least, where that is another figure than the goal.
    floor: float | None
    # Whether less is better.
    at_most: bool
    # None if it was not measured.
    measured: float | None

    @property
    def met(self):
        if self.measured is None:
            return "not measured"
        if self._reaches(self.goal):
            return "yes"
        if self.floor is not None and self._reaches(self.floor):
            return "the floor"
        return "no"

    def _reaches(self, bound):
        return self.measured <= bound if self.at_most else self.measured >= bound


def targets(results):
    """The targets, most important first."""
    ours = {number: results.of(OURS, number) for number in (1, 64, 256)}
    many, log = ours[256], results.of(OURS, 256, "log")
    refused = results.of(OURS, 256, "refused")

    def over(peer, connections=256, figure="rate", mine=None):
        return results.ratio(figure, mine or ours[connections], results.of(peer, connections))

    def target(what, goal, measured, floor=None, at_most=False):
        return Target(what, goal, floor, at_most, measured)

    return [
        target("checks/s at 256 connections ÷ echo", 0.5, over("echo"), floor=0.34),
        target("checks/s at 256 ÷ Redis", 1.25, over("redis"), floor=1.0),
        target("checks/s at 64 ÷ Redis", 0.9, over("redis", 64)),
        target("checks/s at 256 ÷ etcd", 15, over("etcd"), floor=10),
        target("checks/s at 256 ÷ workerd's best row", 20, over(WORKERD)),
        target(
            "CPU per check at 256 ÷ echo",
            2.3,
            over("echo", figure="cpu_per_1000_s"),
            floor=3,
            at_most=True,
        ),
        target(
            "CPU-seconds per 1,000 checks at 256",
            0.020,
            many and many.cpu_per_1000_s,
            floor=0.025,
            at_most=True,
        ),
        target(
            "p50 at 1 connection ÷ Redis",
            1.0,
            over("redis", 1, figure="p50_ms"),
            at_most=True,
        ),
        target(
            "checks/s at 256, 95 % refused ÷ echo",
            0.7,
            refused and over("echo", mine=refused),
        ),
        target("log entries/s at 256 ÷ checks/s", 0.5, results.ratio("rate", log, many)),
    ]
