"""Twins that were recorded before definitions were kept as data: they go on as they began.

Their records hold an identity of another kind and no definition, so they need the definition in
the source to be unchanged. A twin that starts anew leaves this behind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from galenic.identity import content_hash
from galenic.twin.definition import TwinDefinition

ESTIMATORS = {
    "press-record": "galenic.stages.manufacturing.press_record.definition:estimator",
    "patient": "galenic.stages.clinical.twin:vancomycin_estimator",
    "patient-gentamicin": "galenic.stages.clinical.twin:gentamicin_estimator",
}

FILE_DIGEST = re.compile(r"^(galenic_file_.*)_[0-9a-f]{12}$")


class EarlierDefinition(TwinDefinition):
    """A definition with the identity that definitions had before they were kept."""

    @classmethod
    def of(cls, definition: TwinDefinition) -> EarlierDefinition:
        """The same definition, identified as it was then."""
        return cls(**{f.name: getattr(definition, f.name) for f in fields(TwinDefinition)})

    def identity(self, values: Mapping[str, Any] | None = None) -> str:
        """SHA-256 of what was identified then."""
        facts = {
            "name": self.name,
            "version": self.version,
            "system": self.system(values).identity,
            "bindings": [binding.to_dict() for binding in self.bindings],
            "noise": asdict(self.noise),
            "estimator": self._estimator_name(),
            "controller": asdict(self.controller) if self.controller else None,
            "rules": [str(r) for r in (self.guard, self.fold, self.health, self.genealogy)],
            "targets": {path: str(value) for path, value in self.targets.items()},
            "values": {path: str(value) for path, value in (values or {}).items()},
            "tick": self.tick,
        }
        return content_hash(facts)

    def _estimator_name(self) -> str:
        if self.estimator is None:
            return "galenic.inference.kalman:EKF"
        if not hasattr(self.estimator, "__qualname__"):
            return ESTIMATORS.get(self.name, str(self.estimator))
        module = FILE_DIGEST.sub(r"\1", self.estimator.__module__)
        return f"{module}:{self.estimator.__qualname__}"
