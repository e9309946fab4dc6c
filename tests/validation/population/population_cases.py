"""The cases that tests of this folder share."""

from __future__ import annotations

from pathlib import Path

from galenic import Model, Output, Parameter, Population, State, der
from galenic.inference.mixed.layout import Column, Layout, Route
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import Records, read
from galenic.modeling.variability import Between, Residual

ROOT = 0.1**0.5
THEOPHYLLINE = Layout(Route("absorption.depot"), "body.C")
WARFARIN = Layout(
    Route("absorption.depot"),
    {"cp": "body.C", "pca": None},
    {"weight": Column("wt", "kg")},
)


class Decay(Model):
    """C = 10 exp(-ke t), the example of Wang 2007."""

    ke = Parameter(0.5, "1/h", "rate", lower=0)
    A = State(10.0, "mg/L", "concentration")
    C = Output("mg/L", "concentration")

    def equations(m):
        yield der(m.A) == -m.ke * m.A
        yield m.C == m.A


def records(name: str, layout: Layout, folder: Path) -> Records:
    """A data set of the classics."""
    return read(folder / "poppk-classics" / name, layout)


def proportional() -> Residual:
    """The error with variance 0.1 f^2."""
    return Residual("C", ROOT)


def decay(residual: Residual, folder: Path) -> Problem:
    """Wang's example with an error."""
    population = Population(Decay(), between=(Between("ke", 0.2),), residuals=(residual,))
    return Problem(population, records("wang2007.csv", Layout(), folder))
