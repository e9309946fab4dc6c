"""Integration levels and the one gate through which every write passes.

A twin is a MODEL (no automatic data flow), a SHADOW (physical to digital) or a TWIN (both ways);
after Kritzinger et al. 2018, doi:10.1016/j.ifacol.2018.08.474. The level belongs to each writable
binding; what a twin shows is computed from them, so it cannot be claimed wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from galenic.errors import DataError, NotPermitted, UnknownName
from galenic.signals import Write


class Level(IntEnum):
    """How far a twin is joined to its physical thing."""

    MODEL = 0
    SHADOW = 1
    TWIN = 2

    @classmethod
    def of(cls, value: Level | str | int) -> Level:
        """The level named by ``value``, in any case.

        Examples
        --------
        >>> Level.of("shadow").name
        'SHADOW'
        """
        if isinstance(value, str):
            names = [level.name.lower() for level in cls]
            if value.lower() not in names:
                raise UnknownName.among("level", value.lower(), names)
            return cls[value.upper()]
        return cls(value)

    @property
    def word(self) -> str:
        """The name as it is written in files and on screens."""
        return self.name.lower()


@dataclass(frozen=True)
class Levels:
    """The levels of one twin: a base for its data flow in, and one for each writable tag.

    Parameters
    ----------
    base : Level
        Level of the twin without its writable bindings: MODEL or SHADOW.
    ceilings : mapping of tag to Level
        The highest level that each writable binding may have.
    tags : mapping of tag to Level
        The level that each writable binding has now.
    """

    base: Level = Level.MODEL
    ceilings: Mapping[str, Level] = field(default_factory=dict)
    tags: Mapping[str, Level] = field(default_factory=dict)

    @classmethod
    def starting(cls, level: Level, ceilings: Mapping[str, Level]) -> Levels:
        """All writable bindings at ``level``, or at their ceiling where that is lower."""
        tags = {tag: min(level, ceiling) for tag, ceiling in ceilings.items()}
        return cls(min(level, Level.SHADOW), dict(ceilings), tags)

    @property
    def shown(self) -> Level:
        """The highest level of any writable binding; the base where there is none."""
        return max([self.base, *self.tags.values()])

    def changed(self, level: Level, tags: Iterable[str] = (), *, who: str, reason: str) -> Levels:
        """The levels after a named person moved ``tags`` (all, when none is named) to ``level``."""
        if not who.strip() or not reason.strip():
            raise NotPermitted(
                "a level changes only by a named person with a reason",
                expected="who and reason",
                hint="say who changes the level, and why",
            )
        if level is Level.TWIN and not self.ceilings:
            raise NotPermitted(
                "this twin has nothing to write",
                expected="model or shadow",
                hint="it advises; people act",
            )
        chosen = list(tags) or list(self.ceilings)
        for tag in chosen:
            if tag not in self.ceilings:
                raise UnknownName.among("writable binding", tag, self.ceilings)
            if tags and level > self.ceilings[tag]:
                raise NotPermitted(
                    f"{tag} may not be at level {level.word}",
                    expected=f"at most {self.ceilings[tag].word}",
                    hint="its binding sets this ceiling",
                )
        moved = {tag: min(level, self.ceilings[tag]) for tag in chosen}
        base = min(level, Level.SHADOW) if not tags else max(self.base, min(level, Level.SHADOW))
        return replace(self, base=base, tags={**self.tags, **moved})

    def lowered(self, to: Level = Level.SHADOW) -> Levels:
        """The levels with everything above ``to`` brought down to it; nothing is ever raised."""
        return replace(
            self,
            base=min(self.base, to),
            tags={tag: min(level, to) for tag, level in self.tags.items()},
        )

    def refusal(self, write: Write) -> str:
        """Why this write may not be performed; empty when it may. This is the gate."""
        if write.tag not in self.ceilings:
            return f"{write.tag} has no writable binding"
        if self.tags[write.tag] < Level.TWIN:
            return f"{write.tag} is at level {self.tags[write.tag].word}, writing needs twin"
        return ""

    def to_dict(self) -> dict[str, object]:
        return {
            "base": int(self.base),
            "ceilings": {tag: int(level) for tag, level in self.ceilings.items()},
            "tags": {tag: int(level) for tag, level in self.tags.items()},
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, object]) -> Levels:
        ceilings, tags = record["ceilings"], record["tags"]
        if not isinstance(ceilings, Mapping) or not isinstance(tags, Mapping):
            raise DataError("levels are damaged", expected="ceilings and tags by name")
        return cls(
            Level(int(str(record["base"]))),
            {tag: Level(level) for tag, level in ceilings.items()},
            {tag: Level(level) for tag, level in tags.items()},
        )
