"""Faults of disks: full, slow, and with a damaged end of the log."""

import asyncio
import os
import shutil
import time

import isolation
import wal
from faults import Fault
from processes import Failure

# What a node may write beyond what it has, before its disk is low anyway: two times its reserve.
ROOM_BYTES = 128 * 1024 * 1024
# The disk fills up to this, at this pace: below a quarter of the node's reserve, and not so fast that
# the node, which looks twice a second, cannot see it come. A disk that is filled to its last byte in
# a moment ends the node, with a message (docs/decisions/0020).
LEFT_BYTES = 8 * 1024 * 1024
FILL_BYTES = 1024 * 1024
FILL_PAUSE_S = 0.02
# A node whose disk has room again is given so long to serve again by itself.
RECOVERY_TIMEOUT_S = 20
DAMAGED_TIMEOUT_S = 30


class DiskFull(Fault):
    name = "disk-full"
    what = "one node's disk is full for a while; it has to go on by itself when there is room again"
    lasts_s = (8.0, 12.0)
    needs = ("mount",)

    async def prepare(self):
        """The node's data moves to a small file system of its own."""
        self.node = await self.anybody()
        self.folder = self.cluster.data(self.node)
        self.aside = self.folder.with_name(f"{self.folder.name}-aside")
        await self.cluster.stop(self.node)
        self.folder.rename(self.aside)
        self.folder.mkdir()
        used = sum(path.stat().st_blocks * 512 for path in self.aside.rglob("*") if path.is_file())
        isolation.mount_memory(self.folder, used + ROOM_BYTES)
        shutil.copytree(self.aside, self.folder, dirs_exist_ok=True)
        self.cluster.start(self.node)
        await self.cluster.wait_ready()
        if self.random.random() < 0.5:
            await self._lead()

    async def _lead(self):
        """Has the node lead, if it may: by restarts of who leads instead."""
        for _ in range(4):
            leader = await self.cluster.leader()
            if leader == self.node:
                return
            await self.cluster.stop(leader)
            self.cluster.start(leader)
            await self.cluster.wait_ready()

    async def inject(self):
        self.context.say(f"  the disk of {await self.called(self.node)} is full")
        self.ballast = self.folder / "ballast"
        self.said = self.cluster.log_bytes(self.node)
        self.task = asyncio.create_task(self._fill())

    async def _fill(self):
        """Takes what room there is, but for a little, again and again: the node may free some."""
        piece = bytes(FILL_BYTES)
        with open(self.ballast, "ab", buffering=0) as file:
            while True:
                free = os.statvfs(self.folder)
                if free.f_bavail * free.f_frsize > LEFT_BYTES + FILL_BYTES:
                    file.write(piece)
                await asyncio.sleep(FILL_PAUSE_S)

    async def heal(self):
        self.task.cancel()
        await asyncio.wait([self.task])
        self.ballast.unlink()
        try:
            await self.cluster.wait_ready(self.node, timeout_s=RECOVERY_TIMEOUT_S)
            # Ready is not yet taking writes.
            await self._takes_writes()
            self.note("recovered without a restart")
        except Failure as failure:
            self.fail(f"node {self.node} had a full disk and needed a restart: {failure}")
            self.cluster.kill(self.node)
            self.cluster.start(self.node)

    async def _takes_writes(self):
        """Waits until the node applies what the others do: its log is written again."""
        deadline = time.monotonic() + RECOVERY_TIMEOUT_S
        reports = [await self.cluster.report(other) for other in self.others(self.node)]
        wanted = max(report["stateHash"]["applied"] for report in reports if report)
        while time.monotonic() < deadline:
            report = await self.cluster.report(self.node)
            if report and report["stateHash"]["applied"] > wanted:
                return
            await asyncio.sleep(0.05)
        raise Failure(f"it does not get beyond index {wanted} in {RECOVERY_TIMEOUT_S} s")

    async def restore(self):
        """Back to the disk."""
        if not self.folder.is_mount():
            return
        if self.cluster.runs(self.node):
            await self.cluster.stop(self.node)
        shutil.rmtree(self.aside)
        shutil.copytree(self.folder, self.aside)
        isolation.unmount(self.folder)
        self.folder.rmdir()
        self.aside.rename(self.folder)
        self.cluster.start(self.node)
        await self.cluster.wait_ready()


class DiskSlow(Fault):
    name = "disk-slow"
    what = "each sync of one node's disk takes up to a quarter of a second longer"
    lasts_s = (4.0, 8.0)
    needs = ("preload",)

    async def inject(self):
        self.node = await self.anybody()
        delay_ms = self.random.uniform(20, 250)
        told = await self.called(self.node)
        self.context.say(f"  each sync of {told} takes {delay_ms:.0f} ms longer")
        self.cluster.preloads[self.node].delay_syncs(delay_ms)

    async def heal(self):
        self.cluster.preloads[self.node].delay_syncs(0)


class LostTail(Fault):
    name = "lost-tail"
    what = "kill -9 of a node, and its log loses what it synced last; the others hold it all"
    lasts_s = (0.0, 1.0)

    async def inject(self):
        self.node = await self.anybody()
        self.context.say(f"  kill -9 of {(await self.called(self.node))[:-1]}")
        self.cluster.kill(self.node)
        # Whatever is damaged was acknowledged by a majority without this node, or by nobody.
        await self.cluster.wait_held_by(*self.others(self.node))
        path = wal.newest(self.cluster.data(self.node) / "log")
        found = wal.records(path)
        if found:
            self._damage(path, found)
        else:
            self.note("its log was empty, and nothing was damaged")

    def _damage(self, path, found):
        """`path` has the records `found`, and behind them what an older log left."""
        torn = min(len(found), self.random.randint(1, 5))
        first = found[-torn]
        # Somewhere within the first of these records: its end was never written, nor those after it.
        keep = self.random.randrange(first.offset, first.end)
        how = self.random.choice(["cut", "blank"])
        if how == "cut":
            os.truncate(path, keep)
        else:
            with open(path, "r+b") as file:
                file.seek(keep)
                file.write(bytes(found[-1].end - keep))
        self.context.say(
            f"  node {self.node}: the last {found[-1].end - keep} bytes of {path.name} are {how},"
            f" {torn} of {len(found)} records"
        )

    async def heal(self):
        said = self.cluster.log_bytes(self.node)
        self.cluster.start(self.node)
        try:
            await self.cluster.wait_ready(self.node, timeout_s=DAMAGED_TIMEOUT_S)
            await self.cluster.wait_caught_up(self.node)
        except Failure as failure:
            self._did_not_come_back(said, failure)
        else:
            self._came_back(said)

    def _came_back(self, _said):
        self.note("came back by itself")

    def _did_not_come_back(self, said, failure):
        """A node that does not come back has to say why; then it gets its data from the others."""
        if self.cluster.runs(self.node):
            self.fail(f"a damaged node neither follows nor ends: {failure}")
        text = self.cluster.log_since(self.node, said)
        reasons = [line for line in text.splitlines() if _names_damage(line)]
        if reasons:
            # Where this run keeps its files is nobody's concern.
            reason = reasons[-1].strip().split(f"{self.cluster.data(self.node)}/")[-1]
            self.note(f"refused to start: {reason[-300:]}")
        else:
            self.fail(f"a damaged node does not say what is wrong: {text.strip()[-500:]}")
        self.cluster.kill(self.node)
        self.cluster.wipe(self.node)
        self.cluster.start(self.node)


def _names_damage(line):
    words = ("corrupt", "damaged", "checksum", "missing", "torn", "truncated")
    return any(word in line.lower() for word in words)


class TornTail(LostTail):
    name = "torn-tail"
    what = "kill -9 of a node in the middle of a write, which nobody has acknowledged"

    def _damage(self, path, found):
        last, size = found[-1], path.stat().st_size
        content = path.read_bytes()[last.offset : last.end]
        # A record like the last, of which only the beginning was written.
        written = min(self.random.randint(1, len(content) - 1), max(0, size - last.end))
        with open(path, "r+b") as file:
            file.seek(last.end)
            file.write(content[:written])
        self.context.say(
            f"  node {self.node}: {written} of {len(content)} bytes of a further record are written"
            f" to {path.name}"
        )

    def _did_not_come_back(self, said, failure):
        self.fail(f"a write that was never acknowledged keeps a node from coming back: {failure}")
        super()._did_not_come_back(said, failure)


class BitFlip(LostTail):
    name = "bit-flip"
    what = "kill -9 of a node, and a bit of its log flips; it has to be noticed"

    def _damage(self, path, found):
        # Not the very last: that could be a write that was cut short.
        record = self.random.choice(found[len(found) // 2 : -1] or found)
        position = record.offset + record.header_bytes
        position += self.random.randrange(max(1, record.payload_bytes))
        bit = self.random.randrange(8)
        with open(path, "r+b") as file:
            file.seek(position)
            (byte,) = file.read(1)
            file.seek(position)
            file.write(bytes([byte ^ 1 << bit]))
        behind = sum(other.offset > record.offset for other in found)
        self.context.say(
            f"  node {self.node}: bit {bit} of byte {position} of {path.name} is flipped,"
            f" {behind} of {len(found)} records stand behind it"
        )

    def _came_back(self, said):
        lines = self.cluster.log_since(self.node, said).splitlines()
        told = [line for line in lines if _names_damage(line)]
        if told:
            self.note(f"came back by itself and said: {told[-1].strip()[-300:]}")
        else:
            # What it lost it had acknowledged: it is no longer of the majority that others count on.
            self.fail(
                f"node {self.node} came back without a word of the damage to what it had synced"
            )
