"""Populations from NONMEM control streams, and control streams from populations.

A control stream becomes Python source: the model with the code of $PK, $DES and $ERROR as its
equations, the population, the layout of the data and the settings of the estimation. What cannot
be taken over exactly is refused with its line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from galenic.errors import DataError
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import Records
from galenic.inference.mixed.records import read as read_records
from galenic.inference.nonmem.data import Columns
from galenic.inference.nonmem.export import Exported, export
from galenic.inference.nonmem.refusal import NotExpressible, refused
from galenic.inference.nonmem.stream import read
from galenic.inference.nonmem.writer import Units, source_of
from galenic.modeling.variability import Population
from galenic.modeling.written import run_source

__all__ = [
    "Exported",
    "Imported",
    "NotExpressible",
    "Units",
    "export",
    "import_nonmem",
    "import_text",
]


@dataclass(frozen=True)
class Imported:
    """A control stream: the name of its model class, the source, what to know, the module."""

    name: str
    source: str
    notes: tuple[str, ...]
    module: ModuleType
    columns: Columns

    @property
    def model(self) -> Any:
        """The model class."""
        return getattr(self.module, self.name)

    @property
    def method(self) -> str:
        """How $ESTIMATION asks for the estimates: fo, foce, focei, laplace or saem."""
        return str(self.module.METHOD)

    def population(self) -> Population:
        """The population with the start values of the control stream."""
        found: Population = self.module.population()
        return found

    def records(self, text: str) -> Records:
        """The data in the text of a file with the columns of $INPUT and the rows of $DATA."""
        return read_records(self.columns.rows(text), self.module.LAYOUT)

    def problem(self, text: str) -> Problem:
        """The population joined with data; what the control stream fixes is held."""
        found: Problem = self.module.problem(self.records(text))
        return found


def import_nonmem(path: str | Path, units: Units) -> Imported:
    """The population in a control stream.

    Parameters
    ----------
    path : path
        The control stream.
    units : Units
        Units of time, amounts, DV and covariates, of which a control stream says nothing.

    Raises
    ------
    DataError
        There is no such file.
    NotExpressible
        Names the line, what was found, and what is supported.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"no file {file}", expected="a NONMEM control stream")
    return import_text(file.read_text(), units, file.name)


def import_text(text: str, units: Units, name: str = "run.ctl") -> Imported:
    """The population in the text of a control stream; see :func:`import_nonmem`."""
    stream = read(text)
    try:
        written = source_of(stream, units, Path(name).stem)
        module = run_source("nonmem", written.source)
        module.population()
    except ArithmeticError as error:
        raise refused(f"a number that cannot be calculated: {error}") from error
    return Imported(written.name, written.source, written.notes, module, Columns.of(stream))
