"""A TCP relay that can be cut, frozen and mended: acts out what networks do."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class TcpRelay:
    """Passes bytes between clients and a target, until told to misbehave.

    `cut` closes all connections and refuses new ones, as an unplugged cable noticed by both
    ends. `freeze` keeps them open and passes nothing, as a dead firewall: only time limits help.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port of this machine."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        if self._server is None:
            return
        self._server.close()
        self._refusing = True
        self._abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        await asyncio.sleep(0)

    def cut(self) -> None:
        """Close all connections and refuse new ones."""
        self._refusing = True
        self._abort()

    def freeze(self) -> None:
        """Pass nothing more, and say nothing about it."""
        self._flowing.clear()

    def mend(self) -> None:
        """Work again; connections that were frozen are closed, as a firewall restarted would."""
        if not self._flowing.is_set():
            self._abort()
        self._refusing = False
        self._flowing.set()

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        opened: list[asyncio.StreamWriter] = [writer]
        try:
            if self._refusing:
                return
            await self._flowing.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            opened.append(far_writer)
            self._writers.add(far_writer)
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in opened:
                self._writers.discard(each)
                each.transport.abort()
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
