"""A connector that follows a growing table of a database by a key column."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from galenic.clock import Clock
from galenic.connect.fed import Polled
from galenic.connect.files.mapping import CsvMapping
from galenic.connect.reconnect import Backoff
from galenic.connect.table.database import BATCH, Database, DatabaseReader
from galenic.connect.tally import Tally
from galenic.errors import ConnectionLost, DataError
from galenic.signals import Sample

KINDS = ("rejected", "guessed", "converted")
STARTS = ("beginning", "end")


class TableLine:
    """One life of the connection; questions are asked in a thread, each with a time limit."""

    def __init__(self, reader: DatabaseReader, timeout: float) -> None:
        self.reader = reader
        self._timeout = timeout
        self._thread = ThreadPoolExecutor(1, "galenic-table")
        self._gone = asyncio.Event()
        self._reason = ""

    async def ask(self, work: Any, *given: Any) -> Any:
        """Do something with the reader in the thread; ConnectionLost without an answer."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                return await loop.run_in_executor(self._thread, work, *given)
        except TimeoutError as error:
            self.drop(f"no answer within {self._timeout:g} s")
            raise ConnectionLost(self._reason, where=self.reader.where) from error
        except ConnectionLost as error:
            self.drop(error.found)
            raise

    def drop(self, reason: str) -> None:
        """End this life."""
        if not self._gone.is_set():
            self._reason = reason
            self._gone.set()

    async def lost(self) -> str:
        """Return the reason when the connection has died."""
        await self._gone.wait()
        return self._reason

    async def hang_up(self) -> None:
        """Free the connection; a question that still runs ends by the limit of the database."""
        self.drop("closed")
        self._thread.submit(self.reader.database.close)
        self._thread.shutdown(wait=False)
        await asyncio.sleep(0)


class TableConnector(Polled[TableLine]):
    """Gives the rows of a table as they are added; comes back by itself.

    Parameters
    ----------
    database : str or path
        SQLite file, or ``postgresql://user@host/database`` without a password.
    table, key : str
        Table or view, and the column that grows with every row.
    mapping : CsvMapping, mapping, or path of a TOML file
        What the columns mean.
    start : str
        ``beginning`` (all rows that are there first) or ``end`` (new ones only).
    period : float [s]
        Time between two looks.
    timeout : float [s]
        Limit of one question.
    queue : int
        Samples that one subscription may hold back; while half of them wait nothing is read.

    Notes
    -----
    After a loss it goes on after the last key that it read. A row whose key is smaller than one
    that was read before is not seen: choose a key that is given when a row is committed.
    """

    def __init__(
        self,
        database: str | Path,
        table: str,
        key: str,
        mapping: CsvMapping | Mapping[str, Any] | str | Path,
        *,
        start: str = STARTS[0],
        period: float = 1.0,
        timeout: float = 10.0,
        queue: int = 100_000,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        name: str = "table",
    ) -> None:
        if start not in STARTS or not (period > 0 and timeout > 0):
            raise DataError(
                f"start {start!r}, period {period!r} s, timeout {timeout!r} s",
                where=f"connection {name}",
                expected=f"start {' or '.join(STARTS)}; period and timeout above 0",
            )
        self.mapping = CsvMapping.of(mapping)
        infos = {column.tag: column.info for column in self.mapping.columns.values()}
        super().__init__(name, infos, period=period, queue=queue, backoff=backoff, clock=clock)
        self._source = str(database), table, key
        Database(database)
        self._from_end = start == "end"
        self._timeout = timeout
        self._key: Any = None
        self._ever = False

    async def look(self, wait: float = 0.0) -> int:
        """Read what is new now, and deliver it; the number of new rows."""
        line, number = await self._line(wait), 0
        while True:
            await self._room()
            found, last = await line.ask(line.reader.after, self._key)
            self._key = last
            now = self.clock.now()
            samples: list[Sample] = []
            for _, row in found:
                samples += [s if self.mapping.received else replace(s, received_time=now)
                            for s in row]  # fmt: skip
            self._feeds.deliver(samples)
            for kind in KINDS:
                self.tally.take(line.reader.tally, kind)
            line.reader.tally = Tally()
            line.reader.rejected.clear()
            number += len(found)
            if len(found) < BATCH:
                return number

    async def _dial(self) -> TableLine:
        address, table, key = self._source
        reader = DatabaseReader(Database(address), table, key, self.mapping)
        line = TableLine(reader, self._timeout)
        try:
            await line.ask(reader.prepare)
            if self._from_end and not self._ever:
                self._key = await line.ask(reader.newest)
        except BaseException:
            await line.hang_up()
            raise
        self._ever = True
        return line

    def _warnings(self) -> list[str]:
        """What was refused, and why."""
        return [
            f"{tag or 'row'}: {words} ({reason.count} times, last {reason.example})"
            for tag, words, reason in self.tally.reasons("rejected")
        ]
