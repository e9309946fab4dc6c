"""What the columns of a data set mean: doses, observations, covariates, units.

Column names follow the custom of NONMEM (ID, TIME, AMT, EVID ...) and are found whatever their
case; what a column's numbers belong to in the model is said here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from galenic.errors import DataError

ANY = "*"
ROLES = {
    "id": ("ID", "SUBJECT", "USUBJID"),
    "time": ("TIME",),
    "dv": ("DV", "Y", "CONC"),
    "amt": ("AMT", "DOSE_AMOUNT"),
    "evid": ("EVID",),
    "cmt": ("CMT",),
    "rate": ("RATE",),
    "addl": ("ADDL",),
    "ii": ("II",),
    "ss": ("SS",),
    "mdv": ("MDV",),
    "dvid": ("DVID", "YTYPE"),
    "blq": ("BLQ", "CENS"),
    "limit": ("LLOQ", "LIMIT"),
    "occasion": ("OCC",),
}
NEEDED = ("id", "time", "dv")


@dataclass(frozen=True)
class Route:
    """Where doses go.

    Parameters
    ----------
    path : str
        A state that gets the amount or, over time, its rate.
    unit : str
        Unit of AMT; rates are this unit per unit of time.
    bioavailability, lag, duration, rate : str, optional
        Parameters of the model: a factor of the amount, a delay, and for rows with RATE -2 and
        RATE -1 the duration and the rate of the infusion.
    """

    path: str
    unit: str = "mg"
    bioavailability: str = ""
    lag: str = ""
    duration: str = ""
    rate: str = ""

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters on which the doses depend."""
        return tuple(p for p in (self.bioavailability, self.lag, self.duration, self.rate) if p)


@dataclass(frozen=True)
class Column:
    """A column with covariate values: its unit, and numbers for words (``{"male": 0}``)."""

    name: str
    unit: str = "1"
    codes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """How to read a data set.

    Parameters
    ----------
    doses : Route or mapping of CMT to Route
        ``"*"`` for any compartment.
    endpoints : str, or mapping of DVID to output path
        Without a DVID column CMT is looked at, if it tells observations apart. ``None`` leaves an
        endpoint out of the analysis. A pair (path, unit) says the unit of DV, else it is the
        output's own.
    covariates : mapping of covariate to Column
        Names of the Population's covariates.
    time : str
        Unit of TIME and II.
    columns : mapping of role to column, optional
        Where the names differ from the usual; roles are the keys of ``ROLES``. ``None`` says that
        there is none, whatever a column is called.
    carry : str
        Which value holds between two rows: ``"nocb"`` that of the next (NONMEM), ``"locf"`` that
        of the last.
    keep : mapping of column to value or values, optional
        Rows to read, ``{"OCC": 1}``; all others are left out.
    restart : bool
        Whether a time that falls within a subject begins a new period with an empty body, as after
        EVID 3; else it is an error.
    limit : float, optional
        Limit of quantification in units of DV, where the data have no column of it.
    """

    doses: Route | Mapping[Any, Route] = field(default_factory=dict)
    endpoints: str | Mapping[Any, Any] = "C"
    covariates: Mapping[str, Column] = field(default_factory=dict)
    time: str = "h"
    columns: Mapping[str, str | None] = field(default_factory=dict)
    carry: str = "nocb"
    limit: float | None = None
    keep: Mapping[str, Any] = field(default_factory=dict)
    restart: bool = False

    def __post_init__(self) -> None:
        if self.carry not in ("nocb", "locf"):
            raise DataError(f"values are carried by {self.carry!r}", expected="nocb or locf")
        for role in self.columns:
            if role not in ROLES:
                raise DataError(f"no role {role!r}", expected=", ".join(ROLES))

    @property
    def routes(self) -> dict[str, Route]:
        """Routes by CMT as text."""
        given = {ANY: self.doses} if isinstance(self.doses, Route) else self.doses
        return {_key(key): route for key, route in given.items()}

    @property
    def outputs(self) -> dict[str, tuple[str, str] | None]:
        """(output path, unit or empty) by DVID as text; None for what is left out."""
        given = {ANY: self.endpoints} if isinstance(self.endpoints, str) else self.endpoints
        found: dict[str, tuple[str, str] | None] = {}
        for key, value in given.items():
            pair = (value, "") if isinstance(value, str) else value
            found[_key(key)] = None if pair is None else (str(pair[0]), str(pair[1]))
        return found

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is to be read."""
        for column, wanted in self.keep.items():
            if column not in row:
                raise DataError(f"no column {column!r} to choose rows by", expected=", ".join(row))
            values = wanted if isinstance(wanted, (list, tuple, set)) else [wanted]
            if _key(row[column]) not in {_key(value) for value in values}:
                return False
        return True

    def found(self, header: list[str]) -> dict[str, str]:
        """The column of each role that the data have."""
        folded = {name.strip().casefold(): name for name in header}
        places = {}
        for role, usual in ROLES.items():
            names = (self.columns[role],) if role in self.columns else usual
            for name in names:
                if name is not None and name.casefold() in folded:
                    places[role] = folded[name.casefold()]
                    break
            else:
                if role in NEEDED or self.columns.get(role):
                    raise DataError(
                        f"no column for {role}",
                        where=f"header {', '.join(header)}",
                        expected=" or ".join(str(name) for name in names),
                        hint=f'name it: columns={{"{role}": "..."}}',
                    )
        return places


def _key(value: Any) -> str:
    """A CMT or DVID as text: 1, 1.0 and "1" are one."""
    try:
        return f"{float(value):g}"
    except (TypeError, ValueError):
        return str(value).strip()
