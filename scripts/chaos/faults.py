"""What a fault is, and all of them by name."""

import dataclasses
import random


@dataclasses.dataclass
class Context:
    """What a fault may do something to."""

    cluster: object
    network: object
    random: random.Random
    # For people, on standard error.
    say: object
    # What came of it, for the table: a few words.
    notes: list = dataclasses.field(default_factory=list)
    # What the product did not do as promised, in words.
    failures: list = dataclasses.field(default_factory=list)


class Fault:
    """One fault: `inject`, a while, `heal`. All nodes are to be ready afterwards by themselves."""

    name = ""
    # For --list.
    what = ""
    # How long it lasts, in seconds: at random between the two.
    lasts_s = (3.0, 6.0)
    # What it takes: "network", "preload", "mount".
    needs = ()
    # Whether no request may fail.
    is_graceful = False

    def __init__(self, context):
        self.context = context
        self.cluster = context.cluster
        self.network = context.network
        self.random = context.random

    async def prepare(self):
        """Before the clients begin."""

    async def inject(self):
        """The fault begins."""
        raise NotImplementedError

    async def heal(self):
        """The fault ends."""

    async def restore(self):
        """After everything was judged: what `prepare` did is undone."""

    # --- who it meets -------------------------------------------------------------------------

    async def a_follower(self):
        leader = await self.cluster.leader()
        return self.random.choice([node for node in self.cluster.processes if node != leader])

    async def the_leader(self):
        return await self.cluster.leader()

    async def anybody(self):
        """The leader in one of two cases: it is where most can go wrong."""
        return await (self.the_leader() if self.random.random() < 0.5 else self.a_follower())

    def others(self, victim):
        return tuple(node for node in self.cluster.processes if node != victim)

    async def called(self, node):
        """A node, with what it is, for people."""
        return f"node {node}, which {'leads' if await self.cluster.leader() == node else 'follows'},"

    def note(self, text):
        self.context.notes.append(text)
        self.context.say(f"  {text}")

    def fail(self, text):
        self.context.failures.append(text)
        self.context.say(f"  FAILED: {text}")
