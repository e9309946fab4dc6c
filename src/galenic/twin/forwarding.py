"""An edge machine sends its records to the centre, when the network lets it.

It works, controls and records without the centre; what the centre lacks is told by the centre
itself, so nothing is remembered here and nothing can be sent twice or left out.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.errors import ConnectionLost, DataError, GalenicError
from galenic.records import replica
from galenic.twin.concurrency import Pool

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

PIECE = 8 * 2**20
LONGEST = 60.0  # seconds between tries


@dataclass(frozen=True)
class ForwardRule:
    """To which address records are sent, with which token, how often [s]."""

    to: str
    token: Path
    every: float = 5.0
    ca: Path | None = None


@dataclass
class Forwarding:
    """Keeps a replica at the centre.

    Parameters
    ----------
    rule : ForwardRule
    store : callable
        Gives the site's records.
    client : callable, optional
        Gives the HTTP client; one over the network by default.
    """

    rule: ForwardRule
    store: Callable[[], Any]
    client: Callable[[], httpx.AsyncClient] | None = None
    rows: int = 0
    entries: int = 0
    behind: int = -1
    problem: str = "nothing was sent yet"

    def __post_init__(self) -> None:
        self._pool = Pool(1, "galenic-forward")

    def to_dict(self) -> dict[str, Any]:
        """Entries and rows that the centre has, rows that it lacks (-1: not known), trouble."""
        facts = ("rows", "entries", "behind", "problem")
        return {"to": self.rule.to, **{name: getattr(self, name) for name in facts}}

    async def run(self) -> None:
        """Send what is new, for ever; after a failure wait, longer each time."""
        wait = self.rule.every
        while True:
            try:
                await self.send()
                if self.problem:
                    log.info("records are sent to %s", self.rule.to)
                self.problem, wait = "", self.rule.every
            except GalenicError as error:
                if self.problem != str(error):
                    log.warning("records are not sent to %s: %s", self.rule.to, error)
                self.problem, wait = str(error), min(2 * wait, LONGEST)
            await asyncio.sleep(wait)

    async def send(self) -> None:
        """Bring the replica to the present head."""
        async with (self.client or self._client)() as http:
            mark = await self._asked(http, "GET", "")
            is_last = False
            while not is_last:
                for file in await self._pool.run(partial(replica.missing, self.store(), mark)):
                    await self._file(http, file)
                part = await self._pool.run(partial(replica.part, self.store(), mark))
                mark = await self._asked(http, "POST", "/parts", content=json.dumps(part))
                is_last = part["is_last"]
                self.entries, self.rows = mark["index"] + 1, mark["offset"]
                self.behind = self.store().head().offset - self.rows

    async def _file(self, http: httpx.AsyncClient, file: dict[str, Any]) -> None:
        path = Path(self.store().folder) / file["name"]
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return  # put together or away meanwhile: the next part does not name it
        for start in range(0, max(len(data), 1), PIECE):
            await self._asked(
                http,
                "PUT",
                f"/files/{file['name']}",
                content=data[start : start + PIECE],
                params={"sha256": file["sha256"], "start": start, "size": len(data)},
            )

    async def _asked(self, http: httpx.AsyncClient, method: str, path: str, **more: Any) -> Any:
        import httpx

        address = f"/api/replicas/{self.store().site}{path}"
        try:
            answer = await http.request(method, address, **more)
        except (httpx.HTTPError, OSError) as error:
            words = str(error) or type(error).__name__
            raise ConnectionLost(f"the centre is not reached: {words}") from error
        if answer.status_code != 200:
            raise DataError(
                f"the centre answered {answer.status_code}: {answer.text[:300]}",
                where=f"{self.rule.to}{address}",
            )
        return answer.json()

    def _client(self) -> httpx.AsyncClient:
        import httpx

        try:
            token = self.rule.token.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise DataError(f"no token can be read: {error}", where=str(self.rule.token)) from error
        return httpx.AsyncClient(
            base_url=self.rule.to,
            headers={"Authorization": f"Bearer {token}"},
            verify=str(self.rule.ca) if self.rule.ca else True,
            timeout=30.0,
        )

    def end(self) -> None:
        """End the thread."""
        self._pool.end()
