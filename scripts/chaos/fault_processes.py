"""Faults of processes: killed, frozen, restarted, and with a wrong clock."""

import asyncio
import signal

from clients import CLIENTS
from faults import Fault
from processes import Failure

HOUR_S = 3600


class KillFollower(Fault):
    name = "kill-follower"
    what = "kill -9 of a follower, started again after a while"
    lasts_s = (1.0, 4.0)

    async def victim(self):
        return await self.a_follower()

    async def inject(self):
        self.node = await self.victim()
        self.context.say(f"  kill -9 of node {self.node}")
        self.cluster.kill(self.node)

    async def heal(self):
        self.cluster.start(self.node)


class KillLeader(KillFollower):
    name = "kill-leader"
    what = "kill -9 of the leader, started again after a while"

    async def victim(self):
        return await self.the_leader()


class KillAll(Fault):
    name = "kill-all"
    what = "kill -9 of all nodes at once, started again after a moment"
    lasts_s = (0.1, 1.5)

    async def inject(self):
        self.cluster.kill()

    async def heal(self):
        self.cluster.start()


class PauseFollower(Fault):
    name = "pause-follower"
    what = "SIGSTOP of a follower for longer than an election, then SIGCONT"
    lasts_s = (2.5, 6.0)

    async def victim(self):
        return await self.a_follower()

    async def inject(self):
        self.node = await self.victim()
        self.context.say(f"  SIGSTOP of node {self.node}")
        self.cluster.signal(self.node, signal.SIGSTOP)

    async def heal(self):
        self.cluster.signal(self.node, signal.SIGCONT)


class PauseLeader(PauseFollower):
    name = "pause-leader"
    what = "SIGSTOP of the leader, which wakes up believing that it leads"

    async def victim(self):
        return await self.the_leader()


class Wipe(Fault):
    name = "wipe"
    what = "a node is killed, loses all its data and rejoins"
    lasts_s = (1.0, 3.0)

    async def inject(self):
        self.node = await self.anybody()
        self.context.say(f"  {await self.called(self.node)} loses its data")
        self.cluster.kill(self.node)
        self.cluster.wipe(self.node)

    async def heal(self):
        self.cluster.start(self.node)


class RollingRestart(Fault):
    name = "rolling-restart"
    what = "SIGTERM of each node in turn; no request may fail"
    lasts_s = (0.0, 0.0)
    is_graceful = True

    async def inject(self):
        nodes = list(self.cluster.processes)
        self.random.shuffle(nodes)
        self.stops = len(nodes)
        for node in nodes:
            self.context.say(f"  SIGTERM of node {node}")
            try:
                await self.cluster.stop(node)
            except Failure as failure:
                self.fail(str(failure))
                self.cluster.kill(node)
            self.cluster.start(node)
            await self.cluster.wait_ready(node)
            await asyncio.sleep(self.random.uniform(0.3, 1.5))

    def closed_at_most(self):
        """Connections that may be closed as a request is sent on them; HTTP/1.1 cannot avoid it."""
        return CLIENTS * self.stops


class ClockAhead(Fault):
    name = "clock-ahead"
    what = "the wall clock of one node jumps hours ahead, and back later"
    lasts_s = (4.0, 8.0)
    needs = ("preload",)
    sign = 1

    async def inject(self):
        self.node = await self.anybody()
        hours = self.sign * self.random.uniform(1, 12)
        self.context.say(f"  the clock of {await self.called(self.node)} jumps by {hours:+.1f} h")
        self.jump_s = hours * HOUR_S
        self.cluster.preloads[self.node].clock.jump(self.jump_s)

    async def heal(self):
        self.cluster.preloads[self.node].clock.jump(-self.jump_s)


class ClockBehind(ClockAhead):
    name = "clock-behind"
    what = "the wall clock of one node jumps hours back, and ahead later"
    sign = -1
