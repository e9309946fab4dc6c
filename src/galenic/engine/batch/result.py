"""What a run of many individuals gives: values with labels and units, status, how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from galenic.engine.batch.accuracy import Accuracy
from galenic.engine.batch.backend import Status
from galenic.engine.batch.derivatives import name
from galenic.engine.batch.individuals import Individuals
from galenic.engine.batch.pilot import Choice
from galenic.engine.batch.plan import Method
from galenic.engine.batch.quantiles import Quantiles
from galenic.engine.batch.summaries import Frame, Moments, Summary
from galenic.engine.trajectory import Column, Trajectory
from galenic.errors import DataError, UnknownName
from galenic.units import from_si, to_si, unit

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Record:
    """How a result was made: enough to make the same numbers again.

    ``machine`` names lanes and processor of the compiled kernel; equal bits are promised for equal
    method, lanes and processor. ``redone`` blocks were lost by a worker and done again.
    """

    model: str
    identity: str
    methods: tuple[Method, ...]
    choice: Choice
    rows_of_block: int
    machine: Mapping[str, Any] = field(default_factory=dict)
    redone: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"machine": dict(self.machine)}


class Trajectories:
    """Values over (individual, time, output) in declared units.

    ``trajectories["C"]`` is an xarray DataArray (individual, time) with its unit as attribute.

    Attributes
    ----------
    status : array (n,)
        ``Status`` of each individual: solved, ended, failed.
    method : array (n,)
        Place of the method that solved it in ``record.methods``; above 0 it fell back.
    accepted, rejected : array (n,)
        Steps of the integrator.
    doubtful : array (n,)
        In how many places of its run a state event may have been passed over: where a trigger
        touches zero and it could not be shown that it does not cross.
    reasons : mapping
        Why individuals failed, by their number.
    summaries : mapping of name to xarray Dataset
        What was gathered on the way.
    record : Record
        How it was made.
    accuracy : Accuracy or None
        The sampled error, where it was asked for.
    """

    def __init__(
        self,
        frame: Frame,
        values: npt.NDArray[Any] | None,
        individuals: Individuals,
        work: Mapping[str, npt.NDArray[Any]],
        reasons: Mapping[int, str],
        summaries: Mapping[str, xr.Dataset],
        record: Record,
        accuracy: Accuracy | None = None,
        path: Path | None = None,
    ) -> None:
        self.frame = frame
        self.individuals = individuals
        self.status, self.method = work["status"], work["method"]
        self.accepted, self.rejected = work["accepted"], work["rejected"]
        self.doubtful = work["doubtful"]
        self.reasons = dict(reasons)
        self.summaries = dict(summaries)
        self.record = record
        self.accuracy = accuracy
        self.path = path
        self._values = values

    def __len__(self) -> int:
        return self.frame.individuals

    @property
    def times(self) -> Array:
        """Output times [s]."""
        return np.array(self.frame.times)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The outputs with units and meanings."""
        return self.frame.columns

    @property
    def paths(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return tuple(column.path for column in self.columns)

    @property
    def values(self) -> npt.NDArray[Any]:
        """The numbers (n, n_times, n_outputs) in declared units."""
        if self._values is None:
            where = f"; they are in {self.path}" if self.path else ""
            raise DataError(
                f"the values of the individuals were not kept as an array{where}",
                hint='run with keep=True or keep="values.npy", or use summaries',
            )
        return self._values

    def __getitem__(self, path: Any) -> xr.DataArray:
        place = self.frame.place(path)
        column = self.columns[place]
        return self.array[:, :, place].assign_attrs(unit=column.unit.text, meaning=column.meaning)

    def sensitivity(self, output: Any, by: Any) -> xr.DataArray:
        """The derivative (individual, time) of an output by a quantity of ``wrt``, with its unit.

        The same as ``self["d C / d CL"]``.
        """
        return self[name(str(output), str(by))]

    @cached_property
    def array(self) -> xr.DataArray:
        """All values, labelled; the coordinate ``unit`` goes with ``output``."""
        import xarray as xr

        coordinates = {"individual": np.arange(len(self))} | self.frame.coordinates
        return xr.DataArray(
            self.values, coords=coordinates, dims=("individual", "time", "output"),
            name=self.record.model,
        )  # fmt: skip

    @cached_property
    def dataset(self) -> xr.Dataset:
        """One variable per output, with status and the columns of the table beside them."""
        import xarray as xr

        data: dict[str, Any] = {
            path: self[path].drop_vars(["output", "unit"]) for path in self.paths
        }
        data["status"] = ("individual", self.status)
        return xr.Dataset(data, attrs={"name": self.record.model})

    def individual(self, i: int) -> Trajectory:
        """The course of one individual."""
        values = np.array(self.values[i], dtype=np.float64)
        for place, column in enumerate(self.columns):
            values[:, place] = to_si(values[:, place], column.unit)
        return Trajectory(self.times, values, self.columns, name=f"{self.record.model} {i}")

    def is_good(self) -> npt.NDArray[np.bool_]:
        """Whether each individual was solved."""
        return np.asarray(self.status != Status.FAILED)

    @property
    def fell_back(self) -> npt.NDArray[np.int64]:
        """The individuals that another method than the first one solved."""
        return np.flatnonzero((self.method > 0) & self.is_good())

    def summary(self, summary: Summary) -> xr.Dataset:
        """A summary of the kept values; the same numbers as one gathered on the way."""
        if summary.name in self.summaries and self._values is None:
            return self.summaries[summary.name]
        summary.check(self.frame)
        good = self.is_good()
        whole = bool(getattr(summary, "each", False))
        joined: Any = None
        for first in range(0, len(self), self.record.rows_of_block):
            rows = slice(first, first + self.record.rows_of_block)
            block = np.asarray(self.values[rows], dtype=np.float64)
            part = summary.part(block if whole else block[good[rows]], self.frame)
            joined = part if joined is None else summary.join(joined, part)
        return summary.dataset(joined, self.frame)

    def moments(self) -> xr.Dataset:
        """Count, mean, sd, minimum and maximum over (time, output)."""
        return self.summary(Moments())

    def quantiles(self, probabilities: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> Any:
        """Quantiles over (quantile, time, output); gathered ones where no values are kept."""
        if self._values is None:
            known = self._gathered("quantiles")["value"]
            missing = sorted(set(probabilities) - set(known["quantile"].values.tolist()))
            if missing:
                raise DataError(
                    f"the quantiles {missing} were not gathered",
                    expected=f"some of {known['quantile'].values.tolist()}",
                    hint="run with summaries=[Quantiles([...])]",
                )
            return known.sel(quantile=list(probabilities))
        return self.summary(Quantiles(tuple(probabilities)))["value"]

    def _gathered(self, name: str) -> xr.Dataset:
        if name not in self.summaries:
            raise UnknownName.among("summary", name, self.summaries, where=repr(self))
        return self.summaries[name]

    def to_dataframe(self, paths: Sequence[Any] | None = None) -> pd.DataFrame:
        """A long pandas table by individual and time [s]; ``attrs['units']`` holds the units."""
        import pandas as pd

        chosen = [str(path) for path in paths] if paths is not None else list(self.paths)
        index = pd.MultiIndex.from_product(
            [np.arange(len(self)), self.times], names=["individual", "time"]
        )
        frame = pd.DataFrame(
            {path: self.values[:, :, self.frame.place(path)].ravel() for path in chosen},
            index=index,
        )
        units = {path: self.columns[self.frame.place(path)].unit.text for path in chosen}
        frame.attrs["units"] = {"time": "s"} | units
        return frame

    def table(self) -> pd.DataFrame:
        """The individuals: covariates and columns in declared units, status, method, steps."""
        import pandas as pd

        data: dict[str, Any] = {}
        units = {}
        cohort = self.individuals.cohort
        if cohort is not None:
            for k, covariate in enumerate(cohort.population.covariates):
                data[covariate.name] = from_si(cohort.covariates[:, k], covariate.unit)
                units[covariate.name] = covariate.unit
        for k, place in enumerate(self.individuals.places):
            data[place.path] = from_si(self.individuals.values[:, k], unit(place.unit))
            units[place.path] = place.unit
        names = np.array([str(method) for method in self.record.methods])
        data |= {
            "status": [Status(code).name.lower() for code in self.status],
            "method": names[self.method],
            "accepted": self.accepted,
            "rejected": self.rejected,
            "doubtful": self.doubtful,
        }
        frame = pd.DataFrame(data, index=pd.RangeIndex(len(self), name="individual"))
        frame.attrs["units"] = units
        return frame

    def to_parquet(self, path: str | Path | BinaryIO) -> None:
        """The long table as Parquet, units in the fields, a row group per block."""
        import pyarrow.parquet as pq

        from galenic.engine.batch.storage import rows, schema

        fields = schema(self.frame, str(self.values.dtype))
        with pq.ParquetWriter(path, fields) as writer:
            for first in range(0, len(self), self.record.rows_of_block):
                block = np.asarray(self.values[first : first + self.record.rows_of_block])
                writer.write_table(rows(fields, self.frame, first, block))

    def plot(
        self,
        *paths: Any,
        quantiles: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
        columns: int = 2,
    ) -> Figure:
        """Bands between quantiles around the median, one picture per output."""
        from galenic.engine.batch.draw import bands

        return bands(self, paths or self.paths[:12], quantiles, columns)

    def __repr__(self) -> str:
        failed = int((~self.is_good()).sum())
        return (
            f"Trajectories({self.record.model}: {len(self)} individuals ({failed} failed), "
            f"{len(self.times)} times, {', '.join(self.paths[:6])}"
            f"{', ...' if len(self.paths) > 6 else ''}; {self.record.methods[0]})"
        )
