"""Which twins an event is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from galenic.errors import DataError, UnknownName
from galenic.signals import Correction, Event, Sample
from galenic.twin.binding import MANUAL
from galenic.twin.inbox import Item
from galenic.twin.twin import Twin

CLOCK = "clock"


class Routes:
    """From connections and tags to twins.

    Parameters
    ----------
    twins : mapping of id to Twin
        The runner's own; it fills up while the runner starts.
    """

    def __init__(self, twins: Mapping[str, Twin]) -> None:
        self._twins = twins
        self._readers: dict[tuple[str, str], list[str]] = {}
        self._own: list[str] = []  # the twins that the project names

    def learn(self, connections: Iterable[str]) -> None:
        """Read the bindings of all twins; a connection that is not there is an error."""
        known = {*connections, MANUAL}
        self._own = list(self._twins)
        for twin in self._twins.values():
            for channel in twin.channels.values():
                binding = channel.binding
                if binding.connection not in known:
                    raise UnknownName.among(
                        "connection", binding.connection, known, where=f"binding {binding.tag}"
                    )
                if binding.readable:
                    self._readers.setdefault((binding.connection, binding.tag), []).append(twin.id)

    def tags(self, connection: str) -> list[str]:
        """The tags that twins read from a connection."""
        return [tag for name, tag in self._readers if name == connection]

    def readers(self, connection: str, tag: str) -> list[str]:
        """The twins that read a tag of a connection."""
        return self._readers.get((connection, tag), [])

    def targets(self, item: Item) -> list[str]:
        """The twins that an event is for."""
        if item.twin:
            return [item.twin]
        if item.source == CLOCK:
            return list(self._twins)
        return self.readers(item.source, getattr(item.event, "tag", ""))

    def addressed(self, event: Event) -> str:
        """The twin that an event of a person is for; empty when its tag tells."""
        if isinstance(event, Sample):
            if (MANUAL, event.tag) not in self._readers:
                raise UnknownName.among("manual entry", event.tag, self.tags(MANUAL))
            return ""
        if isinstance(event, Correction):
            return self._owner(event)
        if len(self._own) == 1:
            return self._own[0]
        raise DataError(f"a {event.kind} for which twin?", expected=", ".join(self._own))

    def _owner(self, correction: Correction) -> str:
        for id, twin in self._twins.items():
            if correction.amends in twin._seen:
                return id
        return self._own[0] if len(self._own) == 1 else ""
