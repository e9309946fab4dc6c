"""The files of a PEtab 1 problem: YAML, and tables separated by tabs, checked row by row.

Source: Schmiester et al., PLoS Computational Biology 17(1):e1008646, 2021,
doi:10.1371/journal.pcbi.1008646, and the specification of format version 1.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from galenic.errors import DataError, ModelError
from galenic.inference.petab.formula import Formula, parsed
from galenic.inference.petab.refusal import refused

Given = str | float  # a number, or the name of a parameter
SCALES = ("lin", "log", "log10")
_PLACEHOLDER = re.compile(r"(observable|noise)Parameter(\d+)_(.+)")


@dataclass(frozen=True)
class Parameter:
    """A row of the parameter table; bounds and nominal value are on the linear scale."""

    name: str
    scale: str
    lower: float
    upper: float
    nominal: float
    estimated: bool

    def scaled(self, value: float) -> float:
        """A linear value on the parameter's scale."""
        if self.scale == "lin":
            return float(value)
        return math.log(value) if self.scale == "log" else math.log10(value)

    def linear(self, value: float) -> float:
        """The linear value of a number on the parameter's scale; infinite where it overflows."""
        if self.scale == "lin":
            return float(value)
        try:
            return math.exp(value) if self.scale == "log" else math.pow(10.0, value)
        except OverflowError:  # the end of an interval of what the measurements hardly tell
            return math.inf


@dataclass(frozen=True)
class Observable:
    """A row of the observable table: formula, scale of the error, noise and its distribution."""

    name: str
    formula: Formula
    noise: Formula
    scale: str
    distribution: str
    where: str

    def placeholders(self, kind: str) -> tuple[str, ...]:
        """Names that a measurement fills in, ``observable`` or ``noise``, in order."""
        found = {}
        for name in self.formula.names | self.noise.names:
            match = _PLACEHOLDER.fullmatch(name)
            if match and match[1] == kind and match[3] == self.name:
                found[int(match[2])] = name
        return tuple(found[i] for i in sorted(found))


@dataclass(frozen=True)
class Measurement:
    """A row of the measurement table; ``time`` in the model's unit."""

    observable: Observable
    condition: str
    time: float
    value: float
    filled: dict[str, Given]
    where: str


@dataclass(frozen=True)
class Row:
    """One row of a table with the place where it stands."""

    cells: dict[str, str]
    where: str

    def text(self, column: str, default: str | None = None) -> str:
        value = self.cells.get(column, "").strip()
        if value:
            return value
        if default is None:
            raise DataError(f"{column} is empty", where=self.where, expected="a value")
        return default

    def number(self, column: str, default: float | None = None) -> float:
        text = self.text(column, None if default is None else "")
        return default if not text and default is not None else number(text, column, self.where)

    def choice(self, column: str, allowed: Sequence[str], default: str | None = None) -> str:
        value = self.text(column, default)
        if value not in allowed:
            raise refused(f"{column} is {value!r}", self.where, " or ".join(allowed))
        return value


def number(text: str, column: str, where: str) -> float:
    """A finite number; anything else is an error that names the place."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise refused(f"{column} is {text!r}", where, "a finite number")
    return value


def given(text: str, column: str, where: str, parameters: Iterable[str]) -> Given:
    """A number or the name of a parameter."""
    if text in parameters:
        return text
    try:
        float(text)
    except ValueError:
        raise refused(
            f"{column} is {text!r}", where, "a number or an id of the parameter table"
        ) from None
    return number(text, column, where)


@dataclass(frozen=True)
class Files:
    """Where the parts of a problem lie."""

    model: Path
    parameters: tuple[Path, ...]
    observables: tuple[Path, ...]
    conditions: tuple[Path, ...]
    measurements: tuple[Path, ...]


def files(path: Path) -> Files:
    """What the YAML file names, resolved beside it."""
    content = _yaml(path)
    where = path.name
    _only(content, {"format_version", "parameter_file", "problems"}, where)
    if str(content.get("format_version")) not in ("1", "1.0", "1.0.0"):
        raise refused(f"format_version {content.get('format_version')!r}", where, "1")
    problems = content.get("problems")
    if not isinstance(problems, list) or len(problems) != 1 or not isinstance(problems[0], dict):
        raise refused("not exactly one entry under problems", where, "one problem in one file")
    part = problems[0]
    kinds = ("sbml_files", "observable_files", "condition_files", "measurement_files")
    _only(part, {*kinds, "visualization_files"}, where)  # pictures change no number
    found = {kind: _paths(part.get(kind), kind, path) for kind in kinds}
    if len(found["sbml_files"]) != 1:
        raise refused(f"{len(found['sbml_files'])} SBML files", where, "one model")
    parameters = _paths(content.get("parameter_file"), "parameter_file", path)
    return Files(found["sbml_files"][0], parameters, *(found[kind] for kind in kinds[1:]))


def _yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise ModelError(
            "reading PEtab needs PyYAML", hint="pip install 'galenic[petab]'"
        ) from error
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"not valid YAML: {error}", where=path.name) from error
    if not isinstance(content, dict):
        raise DataError("no mapping", where=path.name, expected="a PEtab problem")
    return content


def _only(content: dict[str, Any], known: set[str], where: str) -> None:
    for name in content:
        if name not in known and content[name]:
            raise refused(f"the entry {name!r}", where, ", ".join(sorted(known)))


def _paths(named: Any, kind: str, path: Path) -> tuple[Path, ...]:
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise DataError(f"{kind} is {named!r}", where=path.name, expected="names of files")
    return tuple(path.parent / name for name in names)


def rows(
    paths: Iterable[Path], required: Sequence[str], optional: Sequence[str] | None
) -> list[Row]:
    """The rows of tables; ``optional`` None takes any further column."""
    found = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {str(path)!r}: {error}") from error
        reader = csv.reader(text.splitlines(), delimiter="\t")
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, required, optional, path.name)
        for cells in reader:
            where = f"{path.name}:{reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                raise DataError(f"{len(cells)} cells under {len(header)} names", where=where)
            filled = cells + [""] * (len(header) - len(cells))
            found.append(Row(dict(zip(header, filled, strict=True)), where))
    return found


def _check_header(
    header: list[str], required: Sequence[str], optional: Sequence[str] | None, file: str
) -> None:
    where = f"{file}:1"
    for name in required:
        if name not in header:
            raise DataError(f"no column {name!r}", where=where, expected=", ".join(required))
    for name in header:
        if header.count(name) > 1:
            raise DataError(f"two columns {name!r}", where=where)
        if optional is not None and name not in required and name not in optional:
            known = ", ".join((*required, *optional))
            raise refused(f"the column {name!r}", where, known, "delete it if it says nothing")


def _once(name: str, seen: Iterable[str], where: str) -> str:
    if name in seen:
        raise DataError(f"{name!r} stands here a second time", where=where)
    return name


def read_parameters(paths: Iterable[Path]) -> dict[str, Parameter]:
    """The parameter table by id."""
    required = ("parameterId", "parameterScale", "lowerBound", "upperBound", "estimate")
    optional = (
        "parameterName", "nominalValue", "objectivePriorType", "objectivePriorParameters",
        "initializationPriorType", "initializationPriorParameters",
    )  # fmt: skip
    found: dict[str, Parameter] = {}
    for row in rows(paths, required, optional):
        name = _once(row.text("parameterId"), found, row.where)
        for column in optional[2:]:
            if row.text(column, ""):
                raise refused(f"{column} of {name!r}", row.where, "an empty cell: no priors")
        found[name] = _parameter(name, row)
    return found


def _parameter(name: str, row: Row) -> Parameter:
    scale = row.choice("parameterScale", SCALES)
    estimated = row.choice("estimate", ("0", "1")) == "1"
    nan = math.nan
    lower, upper = (row.number(c, None if estimated else nan) for c in ("lowerBound", "upperBound"))
    nominal = row.number("nominalValue", nan if estimated else None)
    if estimated and not lower < upper:
        raise DataError(f"bounds of {name!r}: {lower} to {upper}", where=row.where,
                        expected="lower below upper")  # fmt: skip
    if estimated and scale != "lin" and lower <= 0:
        raise refused(f"lowerBound {lower:g} of {name!r} on the {scale} scale", row.where,
                      "a number above 0")  # fmt: skip
    if estimated and not (math.isnan(nominal) or lower <= nominal <= upper):
        raise DataError(f"nominalValue {nominal:g} of {name!r}", where=row.where,
                        expected=f"a number from {lower:g} to {upper:g}")  # fmt: skip
    return Parameter(name, scale, lower, upper, nominal, estimated)


def read_observables(paths: Iterable[Path]) -> dict[str, Observable]:
    """The observable table by id."""
    required = ("observableId", "observableFormula", "noiseFormula")
    optional = ("observableName", "observableTransformation", "noiseDistribution")
    found: dict[str, Observable] = {}
    for row in rows(paths, required, optional):
        name = _once(row.text("observableId"), found, row.where)
        found[name] = Observable(
            name,
            parsed(row.text("observableFormula"), row.where),
            parsed(row.text("noiseFormula"), row.where),
            row.choice("observableTransformation", SCALES, "lin"),
            row.choice("noiseDistribution", ("normal", "laplace"), "normal"),
            row.where,
        )
    return found


def read_conditions(
    paths: Iterable[Path], parameters: Iterable[str]
) -> dict[str, dict[str, tuple[Given, str]]]:
    """For each condition what it sets: a number or a parameter, and where that stands."""
    found: dict[str, dict[str, tuple[Given, str]]] = {}
    for row in rows(paths, ("conditionId",), None):
        name = _once(row.text("conditionId"), found, row.where)
        found[name] = {
            column: (given(row.text(column), column, row.where, parameters), row.where)
            for column in row.cells
            if column not in ("conditionId", "conditionName")
        }
    return found


def read_measurements(
    paths: Iterable[Path],
    observables: dict[str, Observable],
    conditions: Iterable[str],
    parameters: Iterable[str],
) -> tuple[Measurement, ...]:
    """The measurement table."""
    required = ("observableId", "simulationConditionId", "measurement", "time")
    optional = (
        "preequilibrationConditionId", "observableParameters", "noiseParameters", "datasetId",
        "replicateId",
    )  # fmt: skip
    found = []
    for row in rows(paths, required, optional):
        if row.text("preequilibrationConditionId", ""):
            raise refused("preequilibrationConditionId", row.where, "an empty cell",
                          "runs begin at time 0 from the model's start values")  # fmt: skip
        observable = observables[row.choice("observableId", tuple(observables))]
        condition = row.choice("simulationConditionId", tuple(conditions))
        time, value = row.number("time"), row.number("measurement")
        if time < 0:
            raise refused(f"time {time:g}", row.where, "a time from 0 on")
        if observable.scale != "lin" and value <= 0:
            raise DataError(
                f"measurement {value:g} of {observable.name!r}",
                where=row.where,
                expected=f"above 0, as it counts on the {observable.scale} scale",
            )
        filled: dict[str, Given] = {}
        for kind in ("observable", "noise"):
            filled |= _filled(row, observable, kind, parameters)
        found.append(Measurement(observable, condition, time, value, filled, row.where))
    if not found:
        raise DataError("the measurement table has no rows")
    return tuple(found)


def _filled(
    row: Row, observable: Observable, kind: str, parameters: Iterable[str]
) -> dict[str, Given]:
    """The placeholders of an observable with what a measurement puts there."""
    column = f"{kind}Parameters"
    text = row.text(column, "")
    values = [given(one.strip(), column, row.where, parameters) for one in text.split(";") if text]
    names = observable.placeholders(kind)
    expected = tuple(f"{kind}Parameter{i + 1}_{observable.name}" for i in range(len(names)))
    if names != expected:
        raise refused(f"placeholders {', '.join(names)}", observable.where, ", ".join(expected))
    if len(values) != len(names):
        raise refused(f"{len(values)} {column} of {observable.name!r}", row.where, str(len(names)))
    return dict(zip(names, values, strict=True))


def transformed(value: Any, scale: str) -> Any:
    """A value on the scale of an observable."""
    if scale == "lin":
        return value
    return np.log(value) if scale == "log" else np.log10(value)
