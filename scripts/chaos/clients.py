"""The clients: they call all nodes all the time, and remember every call.

Everything has names of its own round by round, so that a round is judged by itself, and new ones
every second or two, so that a limiter's history stays short enough to be searched."""

import asyncio
import json
import random
import re
import time

import wire
from history import NOT_CONNECTED, Call, Fate, Limiter, fate_of
from network import NODES
from processes import Failure

CLIENTS = 24
# Between two calls of one client, at random up to twice as much.
THINK_S = 0.03
# A client whose node has failed it stays away for so long.
AWAY_S = 1.0
# How long an identifier is in use.
GENERATION_S = 1.5

HOUR_MS = 3_600_000
# The limiters in use at any moment: never full, so that every answer tells the count; full soon, so
# that most are refused; and with windows that end.
LIMITERS = (
    Limiter(1_000_000, HOUR_MS),
    Limiter(25, HOUR_MS),
    Limiter(1, HOUR_MS),
    Limiter(6, 300),
    Limiter(1_000_000, 700),
)
# Of 100 calls; the others are checks.
RESETS, LOGS, QUERIES = 2, 30, 3
OWN_IDS = re.compile(rb'"details":\{"own":"([^"]*)"')
# Of a page; far more than one generation logs.
QUERY_LIMIT = 10_000


class Clients:
    """All clients of one round, which is named."""

    def __init__(self, network, name, seed, count=CLIENTS):
        self.network = network
        self.name = name
        self.calls = []
        # By identifier.
        self.limiters = {}
        # Requests that found nobody listening and went to another node.
        self.sent_elsewhere = 0
        self.began = time.monotonic()
        self.stopping = False
        self.tasks = [
            asyncio.create_task(self._run(number, random.Random(f"{seed}/{name}/{number}")))
            for number in range(count)
        ]

    async def stop(self):
        """Lets what is under way end."""
        self.stopping = True
        await asyncio.gather(*self.tasks)

    def check_alive(self):
        """Fails if a client has ended: a bug of ours, or an answer that is none."""
        for task in self.tasks:
            if task.done():
                task.result()
                raise Failure("a client has ended")

    async def _run(self, number, randomness):
        client = wire.Client(self.network)
        home = NODES[number % len(NODES)]
        node, back_at = home, 0.0
        count = 0
        try:
            while not self.stopping:
                await asyncio.sleep(randomness.uniform(0, 2 * THINK_S))
                if time.monotonic() >= back_at:
                    node = home
                count += 1
                kind, key, path, body, own_id = self._choose(randomness, f"{number}-{count}")
                call = await self._call_somewhere(client, node, kind, key, path, body, own_id)
                self.calls.append(call)
                if call.fate is not Fate.DONE:
                    node, back_at = _next(call.node), time.monotonic() + AWAY_S
        finally:
            client.close()

    def _choose(self, randomness, own_id):
        generation = int((time.monotonic() - self.began) / GENERATION_S)
        number = randomness.randrange(100)
        if number < LOGS:
            user = f"{self.name}-{generation}"
            body = {"type": self.name, "action": "entry", "userId": user, "details": {"own": own_id}}
            return "log", user, "/log", body, own_id
        if number < LOGS + QUERIES:
            user = f"{self.name}-{max(0, generation - randomness.randrange(2))}"
            body = {"type": self.name, "userId": user, "order": "asc", "limit": QUERY_LIMIT}
            return "query", user, "/query", body, ""
        slot = randomness.randrange(len(LIMITERS))
        identifier = f"{self.name}-{slot}-{generation}"
        self.limiters[identifier] = LIMITERS[slot]
        if number < LOGS + QUERIES + RESETS:
            return "reset", identifier, "/reset", {"identifier": identifier, "type": "chaos"}, ""
        return "check", identifier, "/check", check_body(identifier, LIMITERS[slot]), ""

    async def _call_somewhere(self, client, node, kind, key, path, body, own_id):
        """A call at this node or, if it cannot be reached, at the next that can: nothing was sent, so
        it is still the same request."""
        for _ in NODES:
            call = await make(client, node, kind, key, path, body, own_id)
            if call.why != NOT_CONNECTED:
                return call
            node = _next(node)
            self.sent_elsewhere += 1
        return call

    async def look_again(self):
        """Asks each limiter once more, at the end: what became of calls of unknown fate, and whether
        any was carried out twice."""
        client = wire.Client(self.network)
        try:
            for position, (identifier, limiter) in enumerate(self.limiters.items()):
                node = NODES[position % len(NODES)]
                body = check_body(identifier, limiter)
                call = await make(client, node, "check", identifier, "/check", body)
                self.calls.append(call)
        finally:
            client.close()


def check_body(identifier, limiter):
    config = {"requests": limiter.requests, "windowMs": limiter.window_ms}
    return {"identifier": identifier, "type": "chaos", "config": config}


def _next(node):
    return NODES[node % len(NODES)]


async def make(client, node, kind, key, path, body, own_id=""):
    """One call. Its end is when the answer was read, whatever was done with it later."""
    text = json.dumps(body).encode()
    call = Call(kind, key, node, time.monotonic(), 0.0, Fate.UNKNOWN, own_id=own_id)
    try:
        status, answer = await client.post(node, path, text)
    except wire.NotSent:
        call.fate, call.why = Fate.FAILED, NOT_CONNECTED
    except wire.Lost as lost:
        call.why = str(lost)
    else:
        call.ended = time.monotonic()
        code = wire.code_of(answer) if status not in (200, 429) else ""
        call.fate = fate_of(status, code)
        if call.fate is Fate.DONE:
            call.answer = _read(kind, answer)
        else:
            call.why = code or str(status)
            if 400 <= status < 500:
                # Every request here is a right one.
                raise Failure(f"node {node} answers {path} with {status}: {answer[:300]}")
    call.ended = call.ended or time.monotonic()
    return call


def _read(kind, answer):
    if kind == "query":
        return tuple(own_id.decode() for own_id in OWN_IDS.findall(answer))
    content = json.loads(answer)
    if kind == "check":
        return content["allowed"], content["remaining"], content["resetTime"]
    if kind == "log":
        return content["id"]
    return content["success"]
