"""A connector that reads CSV files as they appear and grow in a folder."""

from __future__ import annotations

import asyncio
import csv
import io
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from galenic.clock import Clock, SystemClock
from galenic.connect.connector import (
    BAD_WAITING_FOR_INITIAL_DATA,
    ConnectorStatus,
    TagInfo,
    Value,
    not_open,
    refusal,
    require_tags,
)
from galenic.connect.files.mapping import CsvMapping
from galenic.connect.files.reader import CsvReader
from galenic.connect.files.rows import Rejected
from galenic.connect.tally import Tally
from galenic.errors import ConnectionLost, GalenicError
from galenic.signals import Quality, Receipt, Sample

log = logging.getLogger(__name__)

MOST_REJECTED = 1000
MOST_IN_BATCH = 1000


@dataclass
class _Progress:
    """How far one subscription has read one file: bytes and rows, and the header."""

    reader: CsvReader
    position: int = 0
    rows: int = 0
    header: list[str] | None = None


class CsvFolder:
    """Gives the rows of all CSV files in a folder, then new rows as they are written.

    Parameters
    ----------
    folder : path
        Watched folder.
    mapping : CsvMapping, mapping, or path of a TOML file
        What the columns of every file mean.
    pattern : str
        Which files.
    period : float [s]
        How often to look.
    name : str
        Of the connection, for messages.

    Attributes
    ----------
    rejected : deque of Rejected
        The last 1,000 values that could not be read; all are counted in ``status.warnings``.

    Notes
    -----
    A row counts when its line end is there, so a half-written row is read later. Files are read
    in order of their names, each subscription from their beginning, as fast as it takes them. A
    file that gets shorter is read anew. A file with a wrong header is told in
    ``status.warnings`` and passed over.
    """

    def __init__(
        self,
        folder: str | Path,
        mapping: CsvMapping | Mapping[str, Any] | str | Path,
        *,
        pattern: str = "*.csv",
        period: float = 1.0,
        clock: Clock | None = None,
        name: str = "files",
    ) -> None:
        self.folder = Path(folder)
        self.mapping = CsvMapping.of(mapping)
        self.pattern = pattern
        self.period = period
        self.clock = clock or SystemClock()
        self.name = name
        self.rejected: deque[Rejected] = deque(maxlen=MOST_REJECTED)
        self.tally = Tally()
        self._rejections = 0
        self._checked: dict[Path, int] = {}
        self._broken: dict[Path, str] = {}
        self._tags = {column.tag: column.info for column in self.mapping.columns.values()}
        self._latest: dict[str, Sample] = {}
        self._closed = asyncio.Event()
        self._closed.set()
        self._connected = False
        self._since = self.clock.now()
        self._reason = "not opened"

    async def open(self) -> None:
        """Start; ConnectionLost if the folder is not there now, while looking goes on."""
        self._closed.clear()
        self._look()
        if not self._connected:
            raise ConnectionLost(
                f"connection {self.name!r}: {self._reason}",
                hint="make the folder or correct its name; looking goes on until close()",
            )

    async def close(self) -> None:
        """End every subscription."""
        self._closed.set()
        self._set(False, "closed")

    def subscribe(self, tags: Sequence[str]) -> AsyncIterator[list[Sample]]:
        """Batches of samples from the beginning of the files on."""
        require_tags(tags, self._tags, self.name)
        if self._closed.is_set():
            raise not_open(self.name)
        return self._follow(frozenset(tags))

    async def read(self, tags: Sequence[str]) -> list[Sample]:
        """The last sample given of each tag; bad before the first."""
        require_tags(tags, self._tags, self.name)
        if self._closed.is_set():
            raise not_open(self.name)
        now, status = self.clock.now(), BAD_WAITING_FOR_INITIAL_DATA
        return [
            self._latest.get(tag)
            or Sample(tag, None, self._tags[tag].unit, now, now, Quality.BAD, status)
            for tag in tags
        ]

    async def write(self, tag: str, value: Value, unit: str = "", key: str = "") -> Receipt:
        """Refused: the files belong to somebody else."""
        require_tags([tag], self._tags, self.name)
        return refusal(key, tag, self.clock.now(), "a folder of files cannot be written")

    async def browse(self) -> list[TagInfo]:
        """The tags of the mapping, by name."""
        return [self._tags[tag] for tag in sorted(self._tags)]

    @property
    def status(self) -> ConnectorStatus:
        """Whether the folder is there, broken files and rejected values."""
        if not self._closed.is_set():
            self._look()
        warnings = list(self._broken.values())
        if self._rejections:
            warnings.append(f"{self._rejections} values rejected, last: {self.rejected[-1]}")
        return ConnectorStatus(
            self._connected, self._since, 0, self._reason, warnings=tuple(warnings)
        )

    async def _follow(self, tags: frozenset[str]) -> AsyncIterator[list[Sample]]:
        files: dict[Path, _Progress] = {}
        while not self._closed.is_set():
            for path in self._look():
                progress = files.setdefault(path, _Progress(CsvReader(path, self.mapping)))
                for batch in self._new_rows(path, progress):
                    self._latest.update((sample.tag, sample) for sample in batch)
                    wanted = [sample for sample in batch if sample.tag in tags]
                    if wanted:
                        yield wanted
                    await asyncio.sleep(0)
                    if self._closed.is_set():
                        return
            try:
                async with asyncio.timeout(self.period):
                    await self._closed.wait()
            except TimeoutError:
                pass

    def _look(self) -> list[Path]:
        """The files that can be read; notes whether the folder is there."""
        if not self.folder.is_dir():
            self._set(False, f"there is no folder {str(self.folder)!r}")
            return []
        self._set(True, "")
        return [p for p in sorted(self.folder.glob(self.pattern)) if p not in self._broken]

    def _new_rows(self, path: Path, progress: _Progress) -> Iterator[list[Sample]]:
        """The samples of the complete rows that were added since the last look."""
        try:
            if path.stat().st_size < progress.position:
                progress.position, progress.rows, progress.header = 0, 0, None
            with path.open("rb") as file:
                file.seek(progress.position)
                added = file.read()
            complete = added[: added.rfind(b"\n") + 1]
            progress.position += len(complete)
            yield from self._parse(progress, complete.decode(self.mapping.encoding))
        except (OSError, UnicodeDecodeError, csv.Error, GalenicError) as error:
            self._broken[path] = f"{path.name}: {error}".replace("\n", ";")
            log.warning("connection %s: %s", self.name, self._broken[path])

    def _parse(self, progress: _Progress, text: str) -> Iterator[list[Sample]]:
        batch: list[Sample] = []
        now = self.clock.now()
        for cells in csv.reader(io.StringIO(text), delimiter=self.mapping.delimiter):
            progress.rows += 1
            if progress.header is None:
                progress.reader.check_header(cells)
                progress.header = cells
                continue
            row = progress.reader.read_row(progress.rows, progress.header, cells)
            batch += [replace(sample, received_time=now) for sample in row]
            if len(batch) >= MOST_IN_BATCH:
                yield batch
                batch = []
        self._count_rejected(progress)
        if batch:
            yield batch

    def _count_rejected(self, progress: _Progress) -> None:
        """Take over what was rejected, once however many subscriptions read the file."""
        path = progress.reader.path
        known = self._checked.get(path, 0)
        new = [item for item in progress.reader.rejected if item.row > known]
        progress.reader.rejected.clear()
        self._checked[path] = max(known, progress.rows)
        self.rejected.extend(new)
        self._rejections += len(new)
        for kind in ("rejected", "guessed", "converted") if progress.rows > known else ():
            self.tally.take(progress.reader.tally, kind)
        progress.reader.tally = Tally()

    def _set(self, connected: bool, reason: str) -> None:
        if connected != self._connected:
            self._since = self.clock.now()
            if not connected and reason != "closed":
                log.warning("connection %s is lost: %s", self.name, reason)
            elif connected and self._reason != "not opened":
                log.info("connection %s is back", self.name)
        self._connected, self._reason = connected, reason
