"""What every block of individuals needs to know, in a form that travels to other machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from galenic.engine.batch.derivatives import By
from galenic.engine.batch.individuals import Individuals, Place
from galenic.engine.batch.summaries import Frame, Summary
from galenic.engine.compile import compile_system
from galenic.engine.experiment import Experiment
from galenic.engine.timeline import Timeline
from galenic.identity import canonical_json, content_hash
from galenic.modeling.system import System

Array = npt.NDArray[np.float64]

LARGEST = 4096
SMALLEST = 32
BYTES = 16e6  # of the values of one block
SHARES = 64
SMALL_MODEL = 16  # states


@dataclass(frozen=True)
class Method:
    """How individuals are solved: a back end's method and its tolerances."""

    name: str
    rtol: float
    atol: float | None = None  # share of each state's nominal value; 1e-3 rtol if None

    def tighter(self, factor: float) -> Method:
        """The same with smaller tolerances."""
        atol = None if self.atol is None else self.atol * factor
        return Method(self.name, self.rtol * factor, atol)

    def __str__(self) -> str:
        return f"{self.name} at rtol {self.rtol:g}"


@dataclass(frozen=True, eq=False)
class Schedules:
    """The different experiments of a run, checked against its model.

    ``ramped`` are the paths of inputs that any of them ramps, ``infused`` those of states that get
    a rate.
    """

    experiments: tuple[Experiment, ...]
    ramped: tuple[str, ...]
    infused: tuple[str, ...]
    identity: str

    @classmethod
    def of(cls, system: System, experiments: tuple[Experiment, ...]) -> Schedules:
        """The schedules of a model; wrong names and units are found here."""
        compiled = compile_system(system)
        spans = {
            (span.kind, span.index)
            for experiment in experiments
            for span in Timeline(compiled, experiment).spans
        }
        return cls(
            experiments,
            tuple(e.path for i, e in enumerate(system.inputs) if ("ramp", i) in spans),
            tuple(e.path for i, e in enumerate(system.states) if ("state", i) in spans),
            content_hash(canonical_json([experiment.to_dict() for experiment in experiments])),
        )


@dataclass(frozen=True, eq=False)
class Plan:
    """A run of many individuals: everything but the individuals themselves.

    Parameters
    ----------
    system : System
        The model; travels as bytes.
    schedules : Schedules
        What is done; each individual has the number of one schedule.
    frame : Frame
        Output times and columns.
    picks : tuple of (kind, index)
        Where each column is found in the System.
    places : tuple of Place
        What the columns of a block are.
    p, u : array [SI]
        Parameters and inputs before the individual ones are put in.
    starts : tuple of (kind, index, value [SI])
        Start values that all have.
    methods : tuple of Method
        The asked one, then what is tried where it fails.
    dtype : str
        Of kept values.
    keep : bool
        Whether the values come back, or the summaries alone.
    summaries : tuple of Summary
        Gathered on the way.
    wrt : tuple of By
        By what is differentiated; the derivatives are the last columns of the frame.
    """

    system: System
    schedules: Schedules
    frame: Frame
    picks: tuple[tuple[str, int], ...]
    places: tuple[Place, ...]
    p: Array
    u: Array
    starts: tuple[tuple[str, int, float], ...]
    methods: tuple[Method, ...]
    dtype: str = "float64"
    keep: bool = True
    summaries: tuple[Summary, ...] = ()
    wrt: tuple[By, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The paths of the outputs without derivatives."""
        return tuple(column.path for column in self.frame.columns[: len(self.picks)])

    @cached_property
    def identity(self) -> str:
        """Hash of the model, the schedules, the outputs and the methods."""
        facts = {
            "system": self.system.identity,
            "schedules": self.schedules.identity,
            "times": list(self.frame.times),
            "picks": [list(pick) for pick in self.picks],
            "places": [[place.kind, place.index] for place in self.places],
            "p": self.p.tobytes().hex(),
            "u": self.u.tobytes().hex(),
            "starts": [[kind, i, value.hex()] for kind, i, value in self.starts],
            "methods": [str(method) for method in self.methods],
            "atol": [method.atol for method in self.methods],
            "dtype": self.dtype,
            "wrt": [[by.kind, by.index] for by in self.wrt],
        }
        return content_hash(canonical_json(facts))


@dataclass(frozen=True, eq=False)
class Block:
    """Some individuals: their columns (m, n_columns) in SI and the number of their schedule."""

    index: int
    first: int
    columns: Array
    schedule: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.columns)


def rows_of_block(individuals: int, times: int, outputs: int, states: int) -> int:
    """Individuals per block, from the size of the task alone.

    The number of workers does not count: sums over blocks would have other bits on another machine.
    Large models get smaller blocks, so that a run can be watched and stopped.
    """
    fitting = int(BYTES / (8 * max(times * outputs, 1)))
    quick = LARGEST * SMALL_MODEL // (states + SMALL_MODEL)
    share = -(-individuals // SHARES)
    return max(min(quick, fitting, share), min(SMALLEST, fitting, individuals), 1)


def blocks(
    individuals: Individuals, schedule: npt.NDArray[np.int64] | None, rows: int
) -> Iterator[Block]:
    """The individuals in order, ``rows`` at a time."""
    for index, first in enumerate(range(0, len(individuals), rows)):
        part = individuals.values[first : first + rows]
        given = np.zeros(len(part), np.int64) if schedule is None else schedule[first:][:rows]
        yield Block(index, first, part, given)
