"""Where the values of a run are kept: in memory, in a file that is mapped, in Parquet, nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from galenic.engine.batch.plan import Plan
from galenic.engine.batch.summaries import Frame
from galenic.engine.batch.work import Answer
from galenic.errors import DataError


class Storage(Protocol):
    """Takes answers in the order of the blocks."""

    def take(self, answer: Answer) -> None:
        """Keep the values of a block."""

    def close(self) -> npt.NDArray[Any] | None:
        """The values (n, n_times, n_outputs), if they can be had as an array."""


SUFFIXES = (".npy", ".parquet")


def check_keep(keep: bool | str | Path) -> None:
    """Whether results can be kept there, before anything is run."""
    if not isinstance(keep, bool) and Path(keep).suffix not in SUFFIXES:
        raise DataError(
            f"results cannot be kept in {str(keep)!r}",
            expected="True, False, a file .npy (memory-mapped) or a file .parquet",
        )


def storage(plan: Plan, keep: bool | str | Path) -> Storage:
    """The storage that ``keep`` names: True, False, ``file.npy`` or ``file.parquet``."""
    if isinstance(keep, bool):
        return Memory(plan) if keep else Nowhere()
    path = Path(keep)
    return Mapped(plan, path) if path.suffix == ".npy" else Parquet(plan, path)


def _shape(plan: Plan) -> tuple[int, int, int]:
    return plan.frame.individuals, len(plan.frame.times), len(plan.frame.columns)


class Nowhere:
    """Values are gone once they are summarised."""

    def take(self, answer: Answer) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """There is no array."""


class Memory:
    """One array in memory."""

    def __init__(self, plan: Plan) -> None:
        self.values = np.empty(_shape(plan), plan.dtype)

    def take(self, answer: Answer) -> None:
        """Copy a block to its place."""
        assert answer.values is not None
        self.values[answer.first : answer.first + len(answer)] = answer.values

    def close(self) -> npt.NDArray[Any]:
        """The array."""
        return self.values


class Mapped:
    """A NumPy file that is mapped into memory: larger than memory if need be."""

    def __init__(self, plan: Plan, path: Path) -> None:
        self.path = path
        self.values = np.lib.format.open_memmap(path, "w+", plan.dtype, _shape(plan))

    def take(self, answer: Answer) -> None:
        """Write a block to its place."""
        assert answer.values is not None
        self.values[answer.first : answer.first + len(answer)] = answer.values

    def close(self) -> npt.NDArray[Any]:
        """The file, mapped for reading."""
        self.values.flush()
        return np.lib.format.open_memmap(self.path, "r")


class Parquet:
    """A Parquet file: a row per individual and time, units in the fields, a row group per block."""

    def __init__(self, plan: Plan, path: Path) -> None:
        import pyarrow.parquet as pq

        self.frame = plan.frame
        self.schema = schema(plan.frame, plan.dtype)
        self.writer = pq.ParquetWriter(path, self.schema)

    def take(self, answer: Answer) -> None:
        """Write a block as a row group."""
        assert answer.values is not None
        self.writer.write_table(rows(self.schema, self.frame, answer.first, answer.values))

    def close(self) -> None:
        """The file is whole."""
        self.writer.close()


def schema(frame: Frame, dtype: str) -> Any:
    """The fields individual, time [s] and one per output."""
    import pyarrow as pa

    number = pa.from_numpy_dtype(np.dtype(dtype))
    fields = [
        pa.field("individual", pa.int64()),
        pa.field("time", pa.float64(), metadata={"unit": "s"}),
    ]
    fields += [
        pa.field(c.path, number, metadata={"unit": c.unit.text, "meaning": c.meaning})
        for c in frame.columns
    ]
    return pa.schema(fields)


def rows(schema: Any, frame: Frame, first: int, values: npt.NDArray[Any]) -> Any:
    """The values of some individuals as an Arrow table in long form."""
    import pyarrow as pa

    count, times = values.shape[:2]
    data = [
        np.repeat(np.arange(first, first + count), times),
        np.tile(np.array(frame.times), count),
        *(np.ascontiguousarray(values[:, :, k]).ravel() for k in range(values.shape[2])),
    ]
    return pa.table(data, schema=schema)
