"""Scoring from the hidden truth: what the tablets of a run were really like."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from galenic.errors import DataError, UnknownName
from galenic.stages.manufacturing.plant.parameters import LABEL_CONTENT, LABEL_WEIGHT

Column = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TruthRecord:
    """The truth of every second of a run: one row per second, one column per truth tag."""

    names: tuple[str, ...]
    values: npt.NDArray[np.float64]

    @classmethod
    def of_rows(cls, names: Sequence[str], rows: array[float]) -> TruthRecord:
        """From rows laid end to end."""
        table = np.frombuffer(rows, dtype=np.float64).reshape(-1, len(names)).copy()
        return cls(tuple(names), table)

    def __getitem__(self, name: str) -> Column:
        """The column of a truth tag, with or without its ``True.``."""
        full = name if name.startswith("True.") else f"True.{name}"
        if full not in self.names:
            raise UnknownName.among("truth tag", full, self.names)
        return self.values[:, self.names.index(full)]

    def __len__(self) -> int:
        return len(self.values)

    def window(self, start: float, stop: float = float("inf")) -> TruthRecord:
        """The seconds from ``start`` to ``stop`` [s]."""
        last = None if stop == float("inf") else int(stop)
        return TruthRecord(self.names, self.values[int(start) : last])


@dataclass(frozen=True)
class Score:
    """Quality and yield of a run. Contents are relative to label [% of label].

    Attributes
    ----------
    content_sd, content_mean : float [%]
        Over all tablets, each second weighted by the tablets made in it.
    content_out_all, content_out_accepted : float [%]
        Share of all and of accepted tablets made in seconds outside ``low`` to ``high``.
    dose_out_accepted : float [%]
        The same for content times weight, the dose of a tablet.
    weight_sd, weight_mean, weight_rsd : float [%], [mg], [%]
        Of the means of each second; rsd adds the spread between single tablets.
    hardness_mean, hardness_sd : float [N]
        Of the means of each second.
    good, diverted, diverted_share : float [kg], [kg], [%]
        Mass of accepted and of diverted tablets.
    diverted_needlessly : float [kg]
        Diverted although their content was inside ``low`` to ``high``.
    tablets : float
        Tablets made.
    hours : float [h]
        Length of the run.
    balance : float [1]
        Powder in - held - good - waste over powder in: nought but rounding.
    """

    content_mean: float
    content_sd: float
    content_out_all: float
    content_out_accepted: float
    dose_out_accepted: float
    weight_mean: float
    weight_sd: float
    weight_rsd: float
    hardness_mean: float
    hardness_sd: float
    good: float
    diverted: float
    diverted_share: float
    diverted_needlessly: float
    tablets: float
    hours: float
    balance: float

    def to_dict(self) -> dict[str, float]:
        """Plain numbers by name."""
        return asdict(self)


def score(record: TruthRecord, *, low: float = 95.0, high: float = 105.0) -> Score:
    """Score a run, or a window of it; ``low`` and ``high`` in % of label."""
    count = record["Tablets"]
    made = count > 0.0
    if not made.any():
        raise DataError("no tablets were made in this record", expected="at least one second")
    n, mass = count[made], record["MassTablets"][made]
    content = record["ContentTablet"][made] / LABEL_CONTENT
    weight = record["TabletWeight"][made]
    dose = content * weight / (LABEL_WEIGHT * 1e6)
    accepted = record["Diverted"][made] == 0.0
    out = (content < low) | (content > high)
    dose_out = (dose < low) | (dose > high)
    weight_mean, weight_sd = _moments(weight, n)
    content_mean, content_sd = _moments(content, n)
    hardness_mean, hardness_sd = _moments(record["TabletHardness"][made], n)
    single = float(np.average(record["TabletRsd"][made], weights=n))
    between = 100.0 * weight_sd / weight_mean
    diverted, total = float(mass[~accepted].sum()), float(mass.sum())
    return Score(
        content_mean=content_mean,
        content_sd=content_sd,
        content_out_all=_share(out, n),
        content_out_accepted=_share(out[accepted], n[accepted]),
        dose_out_accepted=_share(dose_out[accepted], n[accepted]),
        weight_mean=weight_mean,
        weight_sd=between,
        weight_rsd=float(np.hypot(between, single)),
        hardness_mean=hardness_mean,
        hardness_sd=hardness_sd,
        good=total - diverted,
        diverted=diverted,
        diverted_share=100.0 * diverted / total,
        diverted_needlessly=float(mass[~accepted & ~out].sum()),
        tablets=float(n.sum()),
        hours=len(record) / 3600.0,
        balance=_balance(record),
    )


def _moments(values: Column, weights: Column) -> tuple[float, float]:
    mean = float(np.average(values, weights=weights))
    return mean, float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))


def _share(which: npt.NDArray[np.bool_], weights: Column) -> float:
    total = float(weights.sum())
    return 100.0 * float(weights[which].sum()) / total if total > 0.0 else 0.0


def _balance(record: TruthRecord) -> float:
    last = {name: float(record[name][-1]) for name in ("MassIn", "MassHeld", "MassGood")}
    rest = last["MassIn"] - last["MassHeld"] - last["MassGood"] - float(record["MassWaste"][-1])
    return rest / last["MassIn"]
