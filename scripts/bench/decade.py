"""One decade of the scale run: a cluster that is filled with so many identifiers and as many
entries, and then measured."""

import random
import shutil
import statistics
import sys
import threading
import time

from fakeclock import FakeClock
from generate import CONNECTIONS, Generator
from nodes import Nodes
from peers import address
from processes import Failure, Servers, listens, wait_until
from reading import Connection, Watch, cluster_s, download, percentile, query
from tallykeep import NODES

DAYS = 30
HOURS = 24
HOUR_S, DAY_S = 3600, 86_400
# Types of entries, as `tallykeep bench` names and numbers them.
TYPES, TYPE = 20, "bench-{}"
PAGE = 100
# Where there are fewer entries, they fill fewer hours of each day, so that an hour has about this
# many: twice as many of each type as a page takes.
HOUR_ENTRIES = 2 * PAGE * TYPES
# The control: as many identifiers whatever the decade.
HOT_KEYS = 10_000
# Longer than the entries are old, until it is their age that is measured.
RETENTION = '"60d"'
# Beside the usual, for snapshots that come every few seconds.
SNAPSHOT_LOG_BYTES_SMALL = 4 * 1024 * 1024
# A node rejoins, and a day expires, under so many checks a second.
MODERATE_RATE = 2_000
# A run of load beside something that takes an unknown time is made of pieces as long as this.
PIECE_S = 2
PIECES_MAX = 300
# The yardstick of an export: this much of the same bytes, as a file.
FILE_BYTES_MAX = 1024**3
YARDSTICK_PORT = 7201
START_TIMEOUT_S = 30
# How far the clock jumps in the control of what a jump costs by itself.
CONTROL_JUMP_S = 2 * HOUR_S
EXPIRY_TIMEOUT_S = 120
# How long the cluster may take to follow wall clocks that have all jumped.
FOLLOW_TIMEOUT_S = 10

MIB = 1024**2


def say(text):
    print(text, file=sys.stderr, flush=True)


class Decade:
    """The figures of `count` identifiers and entries, by their names, which end with units."""

    def __init__(self, count, options, folder):
        self.count = count
        self.options = options
        self.folder = folder
        self.nodes = Nodes(options.binary, folder)
        self.generator = Generator(options.binary)
        self.clock = FakeClock(folder)
        today = int(time.time()) // DAY_S * DAY_S
        # The first of the days, all of which are over.
        self.first_s = today - DAYS * DAY_S
        self.hours = max(1, min(HOURS, count // DAYS // HOUR_ENTRIES))
        self.memory_most = 0
        self.figures = {}

    def run(self):
        """All figures. Whatever happens, the nodes are ended, and their data removed."""
        try:
            self.nodes.configure(retention=RETENTION)
            self._fill_entries()
            self._fill_identifiers()
            self._checks()
            self._half_the_peak()
            self._queries()
            self._export()
            self._restarts()
            self._snapshots()
            self._rejoin()
            self._expiry()
        finally:
            self.nodes.kill()
            shutil.rmtree(self.folder, ignore_errors=True)
        return self.figures

    # --- filling ------------------------------------------------------------------------------

    def _fill_entries(self):
        """Entries of 30 days, the servers' clocks going from hour to hour."""
        self._say(f"{self.count:,} entries in {self.hours} hours of each of {DAYS} days")
        self.clock.set(self.first_s)
        self.nodes.start(environment=self.clock.environment())
        slots = [day * DAY_S + hour * HOUR_S for day in range(DAYS) for hour in range(self.hours)]
        seconds, logged, written = 0, 0, 0
        connection = Connection(NODES[self.nodes.leader()])
        for number, slot in enumerate(slots):
            self.clock.set(self.first_s + slot)
            # The cluster follows a jump once its nodes have told each other of it.
            wait_until(
                lambda: cluster_s(connection) >= self.first_s + slot,
                FOLLOW_TIMEOUT_S,
                "the cluster follows the wall clocks",
            )
            share = self.count * (number + 1) // len(slots) - written
            began = time.monotonic()
            answers = self.generator.fill(self.nodes, "log", share, self.count)
            seconds += time.monotonic() - began
            self._expect_few(answers.errors, share)
            written += share
            logged += answers.answered
        connection.close()
        self._note(
            entries=logged,
            entries_fill_per_s=logged / seconds,
            entries_memory_mib=self.nodes.memory_most_bytes() / MIB,
        )
        self._rest()
        self._note(
            entries_disk_mib=self.nodes.disk_most_bytes() / MIB,
            entry_disk_bytes=self.nodes.rows_bytes() / logged,
        )

    def _fill_identifiers(self):
        """At the true time, which the cluster's clock follows at once: all nodes agree."""
        self._say(f"{self.count:,} identifiers")
        self.nodes.start()
        before = self.nodes.rows_bytes()
        answers = self.generator.fill(self.nodes, "check", self.count, self.count)
        self._expect_few(answers.errors, self.count)
        self._note(
            identifiers_fill_per_s=answers.rate,
            identifiers_memory_mib=self.nodes.memory_most_bytes() / MIB,
        )
        self._rest()
        self._note(
            disk_mib=self.nodes.disk_most_bytes() / MIB,
            identifier_disk_bytes=(self.nodes.rows_bytes() - before) / self.count,
        )
        self.nodes.start()

    def _rest(self):
        """Stops the nodes once they are quiet. Then all that they hold is on their disks."""
        self.nodes.wait_until_quiet()
        self._stop()

    # --- measuring ----------------------------------------------------------------------------

    def _checks(self):
        seconds = self.options.seconds
        self._say(f"checks, {CONNECTIONS} connections, {self.options.rounds} rounds of {seconds} s")
        runs = {"check": (self.count, []), "hot": (min(self.count, HOT_KEYS), [])}
        for keys, _ in runs.values():
            self.generator.closed(self.nodes, self.options.warm_up, keys)
        for _ in range(self.options.rounds):
            for keys, answers in runs.values():
                answers.append(self.generator.closed(self.nodes, seconds, keys))
        for name, (_, answers) in runs.items():
            for figure in ("rate", "p50_ms", "p99_ms", "cpu_per_1000_s"):
                median = statistics.median(getattr(one, figure) for one in answers)
                self._note(**{f"{name}_{figure}": median})
        self._note(
            checks_memory_mib=self.nodes.memory_most_bytes() / MIB,
            others_share=max(one.others_share for _, answers in runs.values() for one in answers),
        )

    def _half_the_peak(self):
        rate = self._half()
        self._say(f"checks at half the peak: {rate:,} a second, by Zipf's law")
        self.generator.open(self.nodes, self.options.warm_up, self.count, rate)
        answers = [
            self.generator.open(self.nodes, self.options.seconds, self.count, rate)
            for _ in range(self.options.rounds)
        ]
        self._note(
            half_rate=rate,
            half_p50_ms=statistics.median(one.p50_ms for one in answers),
            half_p99_ms=statistics.median(one.p99_ms for one in answers),
            half_max_ms=max(one.max_ms for one in answers),
        )

    def _queries(self):
        """Pages of a type and an hour, each chosen by chance, one at a time, nodes in turn."""
        self._say(f"{self.options.queries} queries")
        connections = [Connection(node) for node in NODES.values()]
        chance = random.Random(self.count)
        took, found = [], []
        for number in range(self.options.queries):
            slot = chance.randrange(DAYS) * DAY_S + chance.randrange(self.hours) * HOUR_S
            start_ms = (self.first_s + slot) * 1000
            kind = TYPE.format(chance.randrange(TYPES))
            hour = {"startTime": start_ms, "endTime": start_ms + HOUR_S * 1000 - 1}
            connection = connections[number % len(connections)]
            ms, entries = query(connection, **hour, type=kind, limit=PAGE)
            for entry in entries:
                if entry["type"] != kind or not 0 <= entry["timestamp"] - start_ms < HOUR_S * 1000:
                    raise Failure(f"asked for {kind} in the hour from {start_ms}, got {entry}")
            took.append(ms)
            found.append(len(entries))
        # What the client itself takes, with the smallest page there is.
        least = [query(connections[0], limit=0)[0] for _ in range(self.options.queries)]
        for connection in connections:
            connection.close()
        self._note(
            query_p50_ms=percentile(took, 0.5),
            query_p99_ms=percentile(took, 0.99),
            query_max_ms=max(took),
            query_entries=statistics.mean(found),
            query_empty_p50_ms=percentile(least, 0.5),
            query_empty_p99_ms=percentile(least, 0.99),
        )

    def _export(self):
        """Everything, from a follower: the leader has enough to do."""
        node = self.nodes.leader() % len(NODES) + 1
        self._say(f"export from node {node}")
        path = "/export?format=ndjson"
        rates, growths = [], []
        for _ in range(self._repeats()):
            with Watch(lambda: self.nodes.memory_bytes(node)) as memory:
                total, lines, seconds = download(NODES[node], path)
            if lines < self.figures["entries"]:
                raise Failure(f"exported {lines} of {self.figures['entries']} entries")
            rates.append(total / seconds / 1e6)
            growths.append(memory.growth / MIB)
        self._memory()
        file = self.folder / "exported"
        with open(file, "wb") as kept:
            download(NODES[node], path, kept, min(total, FILE_BYTES_MAX))
        servers = Servers(self.folder)
        listens_at = address(YARDSTICK_PORT)
        try:
            servers.spawn("echo", [self.options.echo, listens_at, file])
            servers.wait_until(lambda: listens(YARDSTICK_PORT), START_TIMEOUT_S, "echo listens")
            yardsticks = []
            # Once more than is counted: the first reads the file into memory.
            for _ in range(self._repeats() + 1):
                sent, _, seconds = download(listens_at, "/file")
                yardsticks.append(sent / seconds / 1e6)
        finally:
            servers.stop()
            file.unlink()
        self._note(
            export_mb=total / 1e6,
            export_mb_per_s=statistics.median(rates),
            # The first: what it leaves in the caches, later ones find there.
            export_growth_mib=growths[0],
            file_mb_per_s=statistics.median(yardsticks[1:]),
            export_ratio=statistics.median(rates) / statistics.median(yardsticks[1:]),
        )

    def _restarts(self):
        self._say("restarts")
        after_stop, after_kill = [], []
        for _ in range(self._repeats()):
            self._stop()
            after_stop.append(self.nodes.start())
        for _ in range(self._repeats()):
            # What is not in the state's files is to be replayed from the log.
            self.generator.closed(self.nodes, PIECE_S, self.count)
            self._memory()
            self.nodes.kill()
            after_kill.append(self.nodes.start())
        self._note(
            ready_s=statistics.median(after_stop), ready_killed_s=statistics.median(after_kill)
        )

    def _snapshots(self):
        """Snapshots every few seconds, beside load."""
        self._stop()
        self.nodes.configure(retention=RETENTION, snapshot_log_bytes=SNAPSHOT_LOG_BYTES_SMALL)
        self.nodes.start()
        rate = self._half()
        self._say(f"snapshots at {rate:,} checks a second")
        mark = self.nodes.log_sizes()
        answers = [
            self.generator.open(self.nodes, self.options.seconds, self.count, rate)
            for _ in range(self.options.rounds)
        ]
        built = list(self.nodes.events("built a snapshot", mark))
        if not built:
            raise Failure("no snapshot was built")
        self._note(
            snapshots=len(built),
            snapshot_ms=statistics.median(one["elapsed_ms"] for one in built),
            snapshot_max_ms=max(one["elapsed_ms"] for one in built),
            snapshot_mib=statistics.median(one["bytes"] for one in built) / MIB,
            snapshot_copied_mib=statistics.median(one["copied_bytes"] for one in built) / MIB,
            building_p99_ms=statistics.median(one.p99_ms for one in answers),
            building_max_ms=max(one.max_ms for one in answers),
        )

    def _rejoin(self):
        """A follower comes back without its data, which it gets as a snapshot, beside load on the
        other two."""
        for name, rate in (("rejoin", MODERATE_RATE), ("sending", self._half())):
            node = self.nodes.leader() % len(NODES) + 1
            others = [other for other in NODES if other != node]
            self._say(f"node {node} rejoins without its data at {rate:,} checks a second")
            self._memory()
            self.nodes.stop(node)
            self.nodes.wipe(node)
            # The load is there before it.
            pieces = [self.generator.open(self.nodes, PIECE_S, self.count, rate, others)]
            with _Ready(self.nodes, node) as ready:
                while ready.seconds is None and len(pieces) < PIECES_MAX:
                    piece = self.generator.open(self.nodes, PIECE_S, self.count, rate, others)
                    pieces.append(piece)
            if ready.seconds is None:
                raise Failure(f"node {node} has not rejoined in {PIECES_MAX * PIECE_S} s")
            self._note(
                **{
                    f"{name}_s": ready.seconds,
                    f"{name}_mib": self.nodes.disk_bytes(node) / MIB,
                    f"{name}_before_p99_ms": pieces[0].p99_ms,
                    f"{name}_p99_ms": statistics.median(one.p99_ms for one in pieces[1:]),
                    f"{name}_worst_p99_ms": max(one.p99_ms for one in pieces[1:]),
                    f"{name}_errors": sum(one.errors for one in pieces),
                }
            )

    def _expiry(self):
        """The first day is due all at once: the clock jumps to where it is.

        And before that by less, for what a jump costs by itself."""
        self._stop()
        # At the start nothing is due, nor after the first jump; after the second the day is, and
        # not the next.
        retention_s = int(time.time()) - self.first_s + CONTROL_JUMP_S + HOUR_S
        self.nodes.configure(retention=f'"{retention_s}s"')
        self.clock.set(time.time())
        self.nodes.start(environment=self.clock.environment())
        day = {"startTime": self.first_s * 1000, "endTime": (self.first_s + DAY_S) * 1000 - 1}
        connection = Connection(NODES[self.nodes.leader()])
        if not query(connection, **day, limit=1)[1]:
            raise Failure("the first day is not there")
        self._say(f"a day expires at {MODERATE_RATE:,} checks a second")
        self.nodes.wait_until_quiet()
        self.generator.open(self.nodes, self.options.warm_up, self.count, MODERATE_RATE)
        quiet = self.generator.open(self.nodes, 2 * PIECE_S, self.count, MODERATE_RATE)
        control = self._during(CONTROL_JUMP_S)
        if not query(connection, **day, limit=1)[1]:
            raise Failure("the first day has gone too early")
        held = self.nodes.rows_bytes()
        gone = _Gone(self.nodes, connection, day)
        expiry = self._during(DAY_S + HOUR_S / 2, gone)
        gone.wait()
        self.nodes.wait_until_quiet()
        day["startTime"], day["endTime"] = (bound + DAY_S * 1000 for bound in day.values())
        if not query(connection, **day, limit=1)[1]:
            raise Failure("the second day has gone with the first")
        connection.close()
        self._memory()
        self._note(
            expiry_s=gone.seconds,
            expiry_freed_mib=(held - self.nodes.rows_bytes()) / MIB,
            # Of all nodes, more than the same load takes without.
            expiry_cpu_s=(expiry.cpu_per_1000_s * expiry.answered / 1000)
            - (control.cpu_per_1000_s * control.answered / 1000),
            expiry_p99_ms=expiry.p99_ms,
            expiry_max_ms=expiry.max_ms,
            jump_p99_ms=control.p99_ms,
            jump_max_ms=control.max_ms,
            no_jump_max_ms=quiet.max_ms,
        )

    def _during(self, jump_s, watch=None):
        """Load, in the midst of which the clock jumps."""

        def jump():
            self.clock.jump(jump_s)
            if watch is not None:
                watch.start()

        timer = threading.Timer(PIECE_S / 2, jump)
        timer.start()
        try:
            return self.generator.open(self.nodes, 5 * PIECE_S, self.count, MODERATE_RATE)
        finally:
            timer.join()

    # --- the rest -----------------------------------------------------------------------------

    def _half(self):
        return int(self.figures["check_rate"] / 2)

    def _repeats(self):
        """How often what takes long with much data is measured."""
        return 3 if self.count < 10**6 else 1

    def _stop(self):
        self._memory()
        self.nodes.stop()

    def _memory(self):
        """Before processes end, whose memory is known as long as they live."""
        self.memory_most = max(self.memory_most, self.nodes.memory_most_bytes("VmHWM"))
        self.figures["memory_most_mib"] = self.memory_most / MIB

    def _expect_few(self, errors, requests):
        """A few requests may meet a change of the leader; who fills does not care for them."""
        if errors > max(10, requests / 1000):
            raise Failure(f"{errors} of {requests} requests failed")

    def _note(self, **figures):
        self.figures |= figures
        said = "  ".join(f"{name} {figure:,.4g}" for name, figure in figures.items())
        self._say(f"  {said}")

    def _say(self, text):
        say(f"{self.count:>10,}  {time.strftime('%H:%M:%S')}  {text}")


class _Ready:
    """Starts a node and watches, in a thread, for when it is ready."""

    def __init__(self, nodes, node):
        self.nodes = nodes
        self.node = node
        self.seconds = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.began = time.monotonic()
        self.nodes.spawn(self.node)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def _run(self):
        while not self.over.wait(0.02):
            try:
                if self.nodes.is_ready(self.node):
                    self.seconds = time.monotonic() - self.began
                    return
            except OSError:
                # It does not listen yet.
                pass


class _Gone:
    """Watches, in a thread, for when nothing is found any more."""

    def __init__(self, nodes, connection, asked):
        self.nodes = nodes
        self.connection = connection
        self.asked = asked
        self.seconds = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.began = time.monotonic()
        self.thread.start()

    def wait(self):
        self.thread.join(EXPIRY_TIMEOUT_S)
        if self.seconds is None:
            raise Failure(f"what has expired is still found after {EXPIRY_TIMEOUT_S} s")

    def _run(self):
        while query(self.connection, **self.asked, limit=1)[1]:
            time.sleep(0.02)
        self.seconds = time.monotonic() - self.began
