"""A client knows of each request what can be known of it."""

import asyncio
import unittest

import history
import wire


class Network:
    def __init__(self, port):
        self.port = port

    def http(self, _node):
        return "127.0.0.1", self.port


class Answers(unittest.IsolatedAsyncioTestCase):
    async def serve(self, *answers):
        """A client of a server that gives these answers, one a request, and closes when one is None."""
        left = list(answers)

        async def talk(reader, writer):
            try:
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(int(head.rpartition(b"content-length: ")[2]))
                    answer = left.pop(0)
                    if answer is None:
                        break
                    writer.write(answer)
                    if not left:
                        break
            except asyncio.IncompleteReadError:
                pass
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        client = wire.Client(Network(server.sockets[0].getsockname()[1]))

        async def end():
            client.close()
            server.close()
            await server.wait_closed()

        self.addAsyncCleanup(end)
        return client

    async def test_an_answer(self):
        client = await self.serve(b"HTTP/1.1 429 No\r\nContent-Length: 2\r\n\r\n{}")
        self.assertEqual(await client.post(1, "/", b"body"), (429, b"{}"))

    async def test_an_answer_in_chunks_and_one_after_it(self):
        client = await self.serve(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
        )
        self.assertEqual(await client.get(1, "/"), (200, b"abcde"))
        self.assertEqual(await client.get(1, "/"), (200, b"x"))

    async def test_a_connection_that_ends_with_its_answer_is_not_used_again(self):
        answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        client = await self.serve(answer, answer)
        await client.get(1, "/")
        self.assertEqual(client.connections, {})

    async def test_a_connection_that_is_closed_instead_of_an_answer(self):
        client = await self.serve(None)
        with self.assertRaisesRegex(wire.Lost, history.CLOSED):
            await client.post(1, "/", b"")

    async def test_an_answer_that_is_cut(self):
        for cut in (b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"):
            client = await self.serve(cut)
            with self.assertRaisesRegex(wire.Lost, history.BROKEN):
                await client.post(1, "/", b"")

    async def test_nobody_listens(self):
        client = await self.serve()
        client.network.port = 1
        with self.assertRaises(wire.NotSent):
            await client.post(1, "/", b"")

    async def test_no_answer_in_time(self):
        client = await self.serve(b"", b"")
        with self.assertRaisesRegex(wire.Lost, history.TIMED_OUT):
            await client.get(1, "/", timeout_s=0.05)


if __name__ == "__main__":
    unittest.main()
