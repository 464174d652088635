"""A TCP proxy that can refuse, delay, freeze, cut and lose answers; it stands between payflow and its broker."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from dataclasses import dataclass, field

from payflow.embedded import HOST

_CHUNK = 65_536


@dataclass
class Weather:
    """How the line is at the moment."""

    delay_seconds: float = 0.0
    thawed: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is not set nothing passes; connections stay open."""
    lose_answers: float = 0.0
    """Chance that a piece of an answer is thrown away and its connection cut."""


class Proxy:
    """Forwards one loopback port to another, in a thread of its own."""

    def __init__(self, target_port: int) -> None:
        self.weather = Weather()
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self.listen()
        self.thaw()

    def freeze(self) -> None:
        """Let nothing pass, until `thaw`."""
        self._loop.call_soon_threadsafe(self.weather.thawed.clear)

    def thaw(self) -> None:
        self._loop.call_soon_threadsafe(self.weather.thawed.set)

    def listen(self) -> None:
        """Take connections (again)."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def refuse(self) -> None:
        """Take no connections and cut those there are, until `listen`."""
        asyncio.run_coroutine_threadsafe(self._refuse(), self._loop).result(10)

    def cut(self) -> None:
        """Cut every connection; new ones are welcome."""
        self._loop.call_soon_threadsafe(self._cut)

    def stop(self) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._end_all())
        finally:
            self._loop.close()

    async def _end_all(self) -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, HOST, self.port, reuse_address=True)
            self.port = int(self._server.sockets[0].getsockname()[1])

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._cut()

    def _cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            there_reader, there_writer = await asyncio.open_connection(HOST, self._target_port)
        except OSError:
            self._open.discard(writer)
            writer.transport.abort()
            return
        self._open.add(there_writer)
        ways = (self._pass_on(reader, there_writer), self._pass_on(there_reader, writer, is_answer=True))
        await asyncio.gather(*ways)
        for one in (writer, there_writer):
            self._open.discard(one)
            one.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool = False
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(_CHUNK):
                await self.weather.thawed.wait()
                await asyncio.sleep(self.weather.delay_seconds)
                if is_answer and self.weather.lose_answers and random.random() < self.weather.lose_answers:
                    break
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
