"""Faults of the network between the nodes. Clients reach all nodes all the time, those that are cut
off too: what such a node answers has to be true."""

import asyncio

from faults import Fault
from network import CLIENTS, EVERYBODY


def _between(some, others):
    """All ways from and to."""
    return [(a, b) for a in some for b in others] + [(b, a) for a in some for b in others]


class PartitionLeader(Fault):
    name = "partition-leader"
    what = "the leader is cut off from the others, both ways"
    needs = ("network",)

    async def victim(self):
        return await self.the_leader()

    async def inject(self):
        node = await self.victim()
        self.context.say(f"  node {node} is cut off from the other nodes")
        self.network.set(_between([node], self.others(node)), loss=1)

    async def heal(self):
        self.network.heal()


class PartitionFollower(PartitionLeader):
    name = "partition-follower"
    what = "a follower is cut off from the others, both ways"

    async def victim(self):
        return await self.a_follower()


class CutIn(PartitionLeader):
    name = "cut-in"
    what = "one node no longer hears the others, which hear it"

    async def inject(self):
        node = await self.anybody()
        self.context.say(f"  {await self.called(node)} no longer hears the others")
        self.network.set([(other, node) for other in self.others(node)], loss=1)


class CutOut(PartitionLeader):
    name = "cut-out"
    what = "the others no longer hear one node, which hears them"

    async def inject(self):
        node = await self.anybody()
        self.context.say(f"  {await self.called(node)} is no longer heard by the others")
        self.network.set([(node, other) for other in self.others(node)], loss=1)


class Flapping(PartitionLeader):
    name = "flapping"
    what = "one node is cut off and back again several times a second or so"
    lasts_s = (4.0, 8.0)

    async def inject(self):
        node = await self.anybody()
        self.context.say(f"  {await self.called(node)} is cut off now and then")
        self.task = asyncio.create_task(self._flap(node))

    async def _flap(self, node):
        pairs = _between([node], self.others(node))
        while True:
            self.network.set(pairs, loss=1)
            await asyncio.sleep(self.random.uniform(0.1, 1.0))
            self.network.heal()
            await asyncio.sleep(self.random.uniform(0.1, 1.0))

    async def heal(self):
        self.task.cancel()
        await asyncio.wait([self.task])
        self.network.heal()


class Loss(PartitionLeader):
    name = "loss"
    what = "packets are lost on all ways, those of clients too"
    lasts_s = (4.0, 8.0)

    async def inject(self):
        share = self.random.uniform(0.02, 0.2)
        self.context.say(f"  {share:.0%} of all packets are lost")
        self.network.set(_everywhere(), loss=share)


class Delay(PartitionLeader):
    name = "delay"
    what = "packets are late by random times, and so out of order, between nodes"
    lasts_s = (4.0, 8.0)

    async def inject(self):
        delay, jitter = self.random.uniform(1, 40), self.random.uniform(1, 60)
        self.context.say(f"  packets are {delay:.0f} to {delay + jitter:.0f} ms late")
        pairs = [pair for pair in _everywhere() if CLIENTS not in pair]
        self.network.set(pairs, delay_ms=delay, jitter_ms=jitter)


def _everywhere():
    return [(a, b) for a in EVERYBODY for b in EVERYBODY if a != b]
