"""What is wrong with the surroundings of the twins: connections, store, pace, views."""

from __future__ import annotations

import logging

from galenic.twin.live import Live

log = logging.getLogger(__name__)


class Problems(dict[str, str]):
    """Words by subject; logged once when they begin and once when they end, and shown live."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live

    def tell(self, name: str, words: str) -> None:
        """Something is wrong; a change of words is shown and not logged again."""
        if name not in self:
            log.warning("connection %s: %s", name, words)
        if self.get(name) != words:
            self[name] = words
            self._show()

    def solved(self, name: str) -> None:
        """It is well again, if it was not."""
        if self.pop(name, None) is not None:
            log.info("connection %s is back", name)
            self._show()

    def _show(self) -> None:
        self._live.publish({"type": "runner", "problems": dict(self)})
