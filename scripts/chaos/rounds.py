"""One round: clients, a fault, its end, and the judgement of all that the clients saw."""

import asyncio
import dataclasses
import gc
import hashlib
import json
import random
import time

import auditlog
import limiter
from auditlog import Entry
from clients import Clients
from cluster import LeftBehind
from faults import Context
from history import CLOSED, Fate
from network import NODES
from processes import Failure


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of a round without a fault, before it and after it."""

    before_s: float = 2.0
    after_s: float = 2.0
    # At most; a fault says itself how long it lasts.
    lasts_s: float = 3600.0


QUICK = Timing(before_s=1.0, after_s=1.0, lasts_s=3.0)


@dataclasses.dataclass
class Round:
    """What a round came to."""

    number: int
    name: str
    fault: str
    operations: int = 0
    failed: int = 0
    unknown: int = 0
    # Of the unknown: on connections that were closed where an answer should have begun.
    closed: int = 0
    sent_elsewhere: int = 0
    # From the fault's beginning until all nodes were ready again, and some more.
    lasted_s: float = 0.0
    # The longest time without a good answer, and without one to a change, within that.
    pause_s: float = 0.0
    write_pause_s: float = 0.0
    # What was promised and is not so.
    violations: list = dataclasses.field(default_factory=list)
    # What else went wrong: nodes that do not return, requests that failed and should not have.
    failures: list = dataclasses.field(default_factory=list)
    undecided: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)
    # Why answers were not good, with their number.
    reasons: dict = dataclasses.field(default_factory=dict)
    # The log of this round, to be compared once more at the end: entries, and their hash.
    entries: int = 0
    log_hash: str = ""
    # Whether it was judged, or could not be played; a run may be ended in the middle of a round.
    is_finished: bool = False

    @property
    def is_good(self):
        # What was not decided was not shown to be right.
        return not self.violations and not self.failures and not self.undecided


class Rounds:
    """All rounds of a run, on one cluster."""

    def __init__(self, cluster, network, seed, timing, say):
        self.cluster = cluster
        self.network = network
        self.seed = seed
        self.timing = timing
        self.say = say
        self.done = []

    async def run(self, fault_type):
        """One round of a fault."""
        number = len(self.done) + 1
        # Named so that the dice are the same for this fault of this seed, whatever ran before.
        times = sum(result.fault == fault_type.name for result in self.done)
        name = f"{fault_type.name}-{times + 1}"
        randomness = random.Random(f"{self.seed}/{name}")
        context = Context(self.cluster, self.network, randomness, self.say)
        result = Round(number, name, fault_type.name)
        self.done.append(result)
        result.notes, result.failures = context.notes, context.failures
        self.say(f"round {number}: {fault_type.name}")
        said = {node: self.cluster.log_bytes(node) for node in NODES}
        fault = fault_type(context)
        try:
            calls, limiters = await self._play(fault, result)
            _count(calls, result)
            await self._judge(fault, calls, limiters, result)
        except Failure as failure:
            result.failures.append(str(failure))
            self.say(f"  FAILED: {failure}")
            await self._start_over()
        self._look_at_logs(said, result)
        await fault.restore()
        result.is_finished = True
        self._tell(result)

    async def _start_over(self):
        """After a round that could not be played to its end: the next one is to have a chance."""
        self.network.heal()
        self.cluster.kill()
        self.cluster.start()
        await self.cluster.wait_ready()

    async def _play(self, fault, result):
        """The round itself; gives what the clients saw."""
        await self.cluster.wait_ready()
        await fault.prepare()
        # A pause of the collector would be taken for one of the service.
        gc.collect()
        gc.disable()
        clients = Clients(self.network, result.name, self.seed)
        try:
            await asyncio.sleep(self.timing.before_s)
            clients.check_alive()
            began = time.monotonic()
            await fault.inject()
            longest = min(fault.lasts_s[1], self.timing.lasts_s)
            await asyncio.sleep(fault.random.uniform(min(fault.lasts_s[0], longest), longest))
            self.say(f"  healed after {time.monotonic() - began:.1f} s")
            await fault.heal()
            await self._all_return(result)
            await asyncio.sleep(self.timing.after_s)
            ended = time.monotonic()
            clients.check_alive()
        finally:
            gc.enable()
            await clients.stop()
        await clients.look_again()
        result.sent_elsewhere = clients.sent_elsewhere
        result.lasted_s = ended - began
        result.pause_s = _longest_pause(clients.calls, began, ended, lambda _: True)
        result.write_pause_s = _longest_pause(clients.calls, began, ended, _is_change)
        return clients.calls, clients.limiters

    async def _all_return(self, result):
        """Waits until all nodes serve and have what the others have. Those that do not by themselves
        are started again, and those that this does not help lose their data."""
        for attempt in range(2 * len(NODES)):
            try:
                await self.cluster.wait_ready()
                return await self.cluster.wait_caught_up()
            except LeftBehind as failure:
                result.failures.append(str(failure))
                self.say(f"  FAILED: {failure}; it is {'started again' if not attempt else 'wiped'}")
                self.cluster.kill(failure.node)
                if attempt:
                    self.cluster.wipe(failure.node)
                self.cluster.start(failure.node)
            except Failure as failure:
                result.failures.append(f"a node did not return: {failure}")
                self.say(f"  FAILED: {result.failures[-1]}")
                for node in self.cluster.ended():
                    self.cluster.start(node)
        raise Failure("the nodes do not return, whatever is done")

    async def _judge(self, fault, calls, limiters, result):
        result.violations += await self.cluster.differences()
        exports = {}
        for node in NODES:
            text = await self.cluster.export(node, result.name)
            exports[node] = [_entry(line) for line in text.splitlines()]
            if node == NODES[0]:
                result.entries = len(exports[node])
                result.log_hash = hashlib.sha256(text).hexdigest()
        result.violations += auditlog.violations(calls, exports, fault.is_graceful)
        histories = {identifier: [] for identifier in limiters}
        for call in calls:
            if call.kind in ("check", "reset"):
                histories[call.key].append(call)
        for identifier, history in histories.items():
            try:
                found = limiter.violation(history, limiters[identifier])
            except limiter.Undecided as undecided:
                result.undecided.append(f"limiter {identifier}: {undecided}")
                continue
            if found:
                result.violations.append(f"limiter {identifier}: {found}")
        if fault.is_graceful:
            bad = result.failed + result.unknown - result.closed
            if bad or result.closed > fault.closed_at_most():
                result.failures.append(
                    f"requests failed in a graceful fault: {result.reasons}, of which closed"
                    f" connections may be {fault.closed_at_most()}"
                )

    def _look_at_logs(self, said, result):
        """A node that panicked has a bug, whatever its clients saw."""
        for node, offset in said.items():
            for line in self.cluster.log_since(node, offset).splitlines():
                if "panicked" in line:
                    result.violations.append(f"node {node}: {line.strip()}")
                elif " ERROR " in line:
                    self.say(f"  node {node}: {line.strip()[:300]}")

    def _tell(self, result):
        self.say(
            f"  {result.operations} operations, longest pause {result.pause_s:.2f} s"
            f" ({result.write_pause_s:.2f} s of changes), {result.failed} failed,"
            f" {result.unknown} unknown {result.reasons}, {result.entries} entries,"
            f" {len(result.violations)} violations"
        )
        for line in result.violations:
            self.say(f"  VIOLATION: {line}")
        for line in result.undecided:
            self.say(f"  undecided: {line}")

    async def look_back(self):
        """At the end: each round's entries are still there, and the same on every node."""
        for result in self.done:
            for node in NODES:
                text = await self.cluster.export(node, result.name)
                if hashlib.sha256(text).hexdigest() != result.log_hash:
                    result.violations.append(
                        f"node {node} had {result.entries} entries of this round, equal to the"
                        f" others', and has {len(text.splitlines())} that are not the same"
                    )
                    self.say(f"VIOLATION: round {result.number}: {result.violations[-1]}")


def _entry(line):
    content = json.loads(line)
    own_id = content.get("details", {}).get("own", "")
    return Entry(content["id"], content["timestamp"], own_id, content.get("userId", ""))


def _is_change(call):
    """Whether an answer took a place in the log."""
    if call.kind == "check":
        return call.answer[0]
    return call.kind != "query"


def _longest_pause(calls, began, ended, wanted):
    """The longest time between two good answers, whoever asked and whoever answered."""
    answered = sorted(
        call.ended for call in calls
        if call.fate is Fate.DONE and began <= call.ended <= ended and wanted(call)
    )
    moments = [began, *answered, ended]
    return max(after - before for before, after in zip(moments, moments[1:]))


def _count(calls, result):
    result.operations = len(calls)
    for call in calls:
        if call.fate is not Fate.DONE:
            result.reasons[call.why] = result.reasons.get(call.why, 0) + 1
            result.failed += call.fate is Fate.FAILED
            result.unknown += call.fate is Fate.UNKNOWN
            result.closed += call.why == CLOSED
