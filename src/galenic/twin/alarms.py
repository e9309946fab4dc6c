"""Alarms of one twin: what is wrong, since when, how bad, and who has seen it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from galenic.errors import UnknownName
from galenic.signals import Alert

SEVERITIES = ("critical", "high", "medium", "low", "journal")


@dataclass(frozen=True)
class Alarm:
    """One abnormal condition. It stays until it is both over and acknowledged."""

    key: str
    severity: str
    text: str
    since: int
    subject: str = ""
    active: bool = True
    acknowledged: bool = False
    who: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Alarms:
    """The standing alarms by key. Each change gives one Alert; a repetition gives none."""

    def __init__(self, alarms: Mapping[str, Alarm] | None = None) -> None:
        self._alarms = dict(alarms or {})

    def standing(self) -> list[Alarm]:
        """All alarms, the worst and newest first."""
        return sorted(
            self._alarms.values(),
            key=lambda a: (not a.active, SEVERITIES.index(a.severity), -a.since, a.key),
        )

    def raise_(
        self, key: str, severity: str, text: str, time: int, subject: str = ""
    ) -> list[Alert]:
        """The condition ``key`` holds; an alert when it is new or its severity has changed."""
        old = self._alarms.get(key)
        if old is not None and old.active and old.severity == severity:
            if old.text != text:
                self._alarms[key] = replace(old, text=text)
            return []
        self._alarms[key] = Alarm(key, severity, text, time, subject)
        return [Alert(key, severity, text, time, subject)]

    def clear(self, key: str, time: int) -> list[Alert]:
        """The condition ``key`` is over; an alert when it stood until now."""
        old = self._alarms.get(key)
        if old is None or not old.active:
            return []
        if old.acknowledged:
            del self._alarms[key]
        else:
            self._alarms[key] = replace(old, active=False)
        return [Alert(key, old.severity, old.text, time, old.subject, active=False)]

    def acknowledge(self, key: str, who: str) -> Alarm:
        """Somebody has seen it. An alarm that is over goes away."""
        if key not in self._alarms:
            raise UnknownName.among("alarm", key, self._alarms)
        seen = replace(self._alarms[key], acknowledged=True, who=who)
        if seen.active:
            self._alarms[key] = seen
        else:
            del self._alarms[key]
        return seen

    def to_dict(self) -> dict[str, Any]:
        return {key: alarm.to_dict() for key, alarm in self._alarms.items()}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Alarms:
        return cls({key: Alarm(**alarm) for key, alarm in record.items()})
