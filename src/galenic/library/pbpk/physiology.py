"""Volumes and flows of the body of a mouse, a rat and a human, scaled to a body weight.

The table is ``library/data/pbpk/physiology.csv``, with the source of each row. Volumes go with body
weight, flows with its power of 3/4. What the table leaves of cardiac output and of body weight
is given to a "rest" organ, so that both balances close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from galenic.errors import DataError, UnknownName
from galenic.library.pbpk.tables import rows

SYSTEMIC = ("adipose", "bone", "brain", "heart", "kidney", "muscle", "skin")
PORTAL = ("gut", "spleen")
ORGANS = (*SYSTEMIC, *PORTAL, "liver", "lung", "rest")
ARTERIAL = 0.25
"""Share of the blood that is arterial; from general knowledge, not checked."""
PER_ML_MIN = 60.0 / 1000.0


@dataclass(frozen=True)
class Physiology:
    """A body: organs with volume [L] and blood flow [L/h].

    Parameters
    ----------
    species : str
    weight : float [kg]
    volumes : mapping of organ to float [L]
        Tissue volumes, "rest" included.
    flows : mapping of organ to float [L/h]
        Blood flows; that of the liver is the total, arterial and portal.
    cardiac_output, gfr : float [L/h]
    hematocrit : float
    blood : float [L]
    shunt : float
        Share of portal blood that bypasses the liver.
    """

    species: str
    weight: float
    volumes: Mapping[str, float]
    flows: Mapping[str, float]
    cardiac_output: float
    gfr: float
    hematocrit: float
    blood: float
    shunt: float = 0.0

    @property
    def hepatic_artery(self) -> float:
        """Flow into the liver that did not pass gut or spleen [L/h]."""
        return self.flows["liver"] - (1.0 - self.shunt) * self.portal

    @property
    def portal(self) -> float:
        """Flow out of gut and spleen [L/h]."""
        return sum(self.flows[organ] for organ in PORTAL)

    def with_changes(
        self,
        volumes: Mapping[str, float] | None = None,
        flows: Mapping[str, float] | None = None,
        **changes: float,
    ) -> Physiology:
        """A body that differs, as in disease or pregnancy; the rest organ keeps the balances.

        Parameters
        ----------
        volumes, flows : mapping of organ to factor
            Multiples of the present values.
        changes : float
            New ``gfr``, ``hematocrit``, ``blood``, ``weight``, ``shunt`` or ``cardiac_output``.
        """
        for organ in (*(volumes or {}), *(flows or {})):
            if organ not in ORGANS or organ == "rest":
                raise UnknownName.among("organ", organ, ORGANS[:-1], where="physiology")
        new = replace(
            self,
            volumes={o: v * (volumes or {}).get(o, 1.0) for o, v in self.volumes.items()},
            flows={o: q * (flows or {}).get(o, 1.0) for o, q in self.flows.items()},
            **changes,  # type: ignore[arg-type]
        )
        return closed(new)

    def values(self) -> dict[str, Any]:
        """Values for ``WholeBody(**values)``; partition and clearance come on top."""
        organs: dict[str, Any] = {
            organ: {"V": f"{self.volumes[organ]!r} L", "Q": f"{self.flows[organ]!r} L/h"}
            for organ in (*SYSTEMIC, *PORTAL, "liver", "rest")
        }
        organs["lung"] = {"V": f"{self.volumes['lung']!r} L"}
        organs["kidney"]["GFR"] = f"{self.gfr!r} L/h"
        return organs | {
            "V_art": f"{ARTERIAL * self.blood!r} L",
            "V_ven": f"{(1.0 - ARTERIAL) * self.blood!r} L",
            "shunt": self.shunt,
        }


def physiology(species: str, weight: float | None = None) -> Physiology:
    """The body of a species at a body weight [kg]; the usual weight when none is given.

    Examples
    --------
    >>> body = physiology("human")
    >>> round(body.cardiac_output / 60, 2), round(body.flows["liver"] * 1000 / 60)
    (5.6, 1450)
    """
    tables = _tables()
    if species not in tables:
        raise UnknownName.among("species", species, tables)
    table = tables[species]
    weight = table["body", "body weight"] if weight is None else float(weight)
    if not weight > 0:
        raise DataError(f"a body weight of {weight} kg", where="physiology", expected="above 0 kg")
    flow = weight**0.75 * PER_ML_MIN
    hematocrit = table["body", "hematocrit"]
    named = [organ for organ, quantity in table if quantity == "volume"]
    return closed(
        Physiology(
            species,
            weight,
            {organ: table[organ, "volume"] * weight for organ in named},
            {organ: table[organ, "flow"] * flow for organ in named},
            table["body", "cardiac output"] * flow,
            table["body", "GFR"] * flow,
            hematocrit,
            table["body", "plasma volume"] * weight / 1000.0 / (1.0 - hematocrit),
        )
    )


def closed(body: Physiology) -> Physiology:
    """The body with what is missing in the rest organ, or an error; density 1 kg/L."""
    volumes = {organ: v for organ, v in body.volumes.items() if organ != "rest"}
    flows = {organ: q for organ, q in body.flows.items() if organ != "rest"}
    space = body.weight - sum(volumes.values()) - body.blood
    left = body.cardiac_output - flows["liver"] - sum(flows[organ] for organ in SYSTEMIC)
    left -= body.shunt * body.portal
    for what, value, unit in (("volume", space, "L"), ("blood flow", left, "L/h")):
        if value <= 0:
            raise DataError(
                f"the organs need {-value:.3g} {unit} more {what} than the body has",
                where=f"physiology of a {body.species}",
                hint="lower what was raised, or raise cardiac output with it",
            )
    if body.hepatic_artery <= 0:
        raise DataError(
            "gut and spleen send more blood to the liver than flows through it",
            where=f"physiology of a {body.species}",
        )
    return replace(body, volumes={**volumes, "rest": space}, flows={**flows, "rest": left})


@cache
def _tables() -> dict[str, dict[tuple[str, str], float]]:
    tables: dict[str, dict[tuple[str, str], float]] = {}
    for row in rows("physiology"):
        species = tables.setdefault(row["species"], {})
        species[row["organ"], row["quantity"]] = float(row["value"])
    return tables
