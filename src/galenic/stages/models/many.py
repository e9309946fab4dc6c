"""Many individuals of a model in the form of services: spreads and tables in, bands out."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from galenic.errors import DataError
from galenic.twin.service import Axis, Column, File, Plot, Result, Series, Table, Value

if TYPE_CHECKING:
    from galenic.engine.batch.result import Trajectories
    from galenic.inference.study import Factor
    from galenic.modeling.system import System

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LARGEST = 2_000_000  # numbers in the file of values
_RANGE = re.compile(r"\s*(?P<low>\S.*?)\s+to\s+(?P<high>\S.*?)\s*")


def columns_of(file: File) -> dict[str, list[str | None]]:
    """The columns of a CSV file of individuals; an empty cell is a missing value."""
    rows = [row for row in csv.reader(io.StringIO(file.text())) if row]
    if len(rows) < 2:
        raise DataError(
            f"{file.name} has no individuals",
            expected="a header such as 'CL [L/h],V [L]' and a row for each individual",
        )
    head = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(head):
            raise DataError(
                f"line {number} has {len(row)} cells", where=file.name,
                expected=f"{len(head)} cells",
            )  # fmt: skip
    return {name: [row[k].strip() or None for row in rows[1:]] for k, name in enumerate(head)}


def factors_of(system: System, spread: Mapping[str, Any] | None, values: Any) -> list[Factor]:
    """A factor per spread: 0.3 (log-normal), "2 L" (normal) or "3 L to 8 L" (uniform).

    Without spreads the parameters that declare one are taken.
    """
    given = dict(values or {})
    if spread:
        return [_factor(system, path, text, given.get(path)) for path, text in spread.items()]
    declared = [entry for entry in system.parameters if entry.spread]
    if not declared:
        raise DataError(
            f"no parameter of {system.name} declares a spread",
            hint='say how individuals differ, for example --spread CL=0.3 or CL="3 L/h to 8 L/h"',
        )
    from galenic.inference.study import Factor
    from galenic.units import Quantity, from_si

    found = []
    for entry in declared:
        assert entry.spread is not None
        middle = given.get(
            entry.path, Quantity(float(from_si(entry.value, entry.unit)), entry.unit)
        )
        if entry.lower >= 0 and entry.value > 0:
            share = float(np.sqrt(np.log1p((entry.spread / entry.value) ** 2)))
            found.append(Factor.log_normal(entry.path, middle, share))
        else:
            sd = Quantity(entry.spread / entry.unit.scale, entry.unit.difference)
            found.append(Factor.normal(entry.path, middle, sd))
    return found


def _factor(system: System, path: str, text: Any, middle: Any) -> Factor:
    from galenic.inference.study import Factor
    from galenic.units import Quantity, from_si

    entry = system.entry(path)
    if middle is None:
        middle = Quantity(float(from_si(entry.value, entry.unit)), entry.unit)
    if isinstance(text, (int, float)):
        return Factor.log_normal(path, middle, float(text))
    limits = _RANGE.fullmatch(text)
    if limits:
        return Factor.uniform(path, limits["low"], limits["high"])
    return Factor.normal(path, middle, text)


def outputs_of(system: System) -> list[str]:
    """All outputs, or all states of a model that has none."""
    return [entry.path for entry in system.outputs or system.states]


def result_of(found: Trajectories) -> Result:
    """Bands, quantiles over time, what became of the individuals, and files of both."""
    quantiles = np.asarray(found.quantiles(QUANTILES))
    moments = found.moments()
    x = time_axis(found)
    plots, tables, values = [], [], {}
    for place, column in enumerate(found.columns):
        text = column.unit.text
        low, lower, middle, upper, high = quantiles[:, :, place]
        mean, sd = (moments[name].values[:, place] for name in ("mean", "sd"))
        band = (
            Series("5 to 95 %", middle, text, "predicted", low, high),
            Series("25 to 75 %", middle, text, "estimated", lower, upper),
        )
        plots.append(Plot(f"{column.path} [{text}]", x, band))
        data = {"mean": mean, "sd": sd} | {
            f"{100 * q:g} %": quantiles[i, :, place] for i, q in enumerate(QUANTILES)
        }
        rows = [Column(name, numbers.tolist(), text) for name, numbers in data.items()]
        tables.append(Table(column.path, (Column("time", x.data, x.unit), *rows)))
        values[column.path] = Value(
            float(middle[-1]), text, f"median at the end, 5 to 95 %; {column.meaning}",
            float(low[-1]), float(high[-1]),
        )  # fmt: skip
    return Result("\n".join(_notes(found)), values | _counts(found), tables, plots, _files(found))


def time_axis(found: Trajectories) -> Axis:
    """Output times in a unit that reads well."""
    from galenic.engine.trajectory import time_scale

    scale, text = time_scale(float(found.times[-1]))
    return Axis("time", (found.times / scale).tolist(), text)


def _counts(found: Trajectories) -> dict[str, Value]:
    facts = {
        "individuals": Value(len(found)),
        "failed": Value(int((~found.is_good()).sum())),
        "fell back": Value(len(found.fell_back)),
        "method": Value(str(found.record.methods[0]), meaning=found.record.choice.why),
    }
    if found.accuracy is not None:
        worst = found.accuracy.worst
        facts["achieved error"] = Value(worst, "1", f"worst of {len(found.accuracy.sampled)}")
    return facts


def _notes(found: Trajectories) -> list[str]:
    notes = [] if found.accuracy is None else [f"accuracy: {found.accuracy}"]
    for i, why in list(found.reasons.items())[:5]:
        notes.append(f"individual {i} was not solved: {why}")
    return notes


def _files(found: Trajectories) -> list[Any]:
    """The individuals as CSV, and the values as Parquet where they are not too many."""
    from galenic.twin.service import Artefact

    table = found.table()
    units = table.attrs["units"]
    named = table.rename(columns={path: f"{path} [{text}]" for path, text in units.items()})
    files = [Artefact("individuals.csv", named.to_csv().encode(), "text/csv")]
    if found.values.size <= LARGEST:
        buffer = io.BytesIO()
        found.to_parquet(buffer)
        files.append(
            Artefact("values.parquet", buffer.getvalue(), "application/vnd.apache.parquet")
        )
    return files


def correlations_of(table: Table | None) -> dict[tuple[str, str], float]:
    """Pairs of paths and their correlation, from the rows of a table."""
    if table is None:
        return {}
    return {(one, other): float(value) for one, other, value in table.rows()}


def sobol_result(found: Any) -> Result:
    """Indices with intervals as a table, and over time as plots."""
    single = all(np.isnan(target.time) for target in found.targets)
    names = ("first", "first_low", "first_high", "total", "total_low", "total_high")
    values = {}
    if single:
        for t, target in enumerate(found.targets):
            for k, factor in enumerate(found.factors):
                low, high = found.total_interval[:, t, k]
                values[f"{factor} on {target.name}"] = Value(
                    float(found.total[t, k]), "1", "total share of the variance", low, high
                )
    plots = [] if single else _over_time(found)
    return Result("", values, [_by_factor("sobol indices", found, names)], plots)


def shapley_result(found: Any) -> Result:
    """Effects that add up to one, with what each factor explains alone and beyond the others."""
    names = ("shapley", "shapley_low", "shapley_high", "alone", "beyond")
    return Result("", {}, [_by_factor("shapley effects", found, names)])


def _by_factor(title: str, found: Any, names: Sequence[str], unit: str = "1") -> Table:
    """One row per target, time where there is one, and factor."""
    frame = found.to_dataframe()
    columns = [Column("of", frame["of"].tolist())]
    if frame["time"].notna().any():
        columns.append(Column("time", frame["time"].tolist(), "s"))
    columns.append(Column("factor", frame["factor"].tolist()))
    columns += [Column(name.replace("_", " "), frame[name].tolist(), unit) for name in names]
    return Table(title, tuple(columns))


def _over_time(found: Any) -> list[Plot]:
    from galenic.engine.trajectory import time_scale

    plots = []
    for name in dict.fromkeys(target.name for target in found.targets):
        chosen = [t for t, target in enumerate(found.targets) if target.name == name]
        times = np.array([found.targets[t].time for t in chosen])
        scale, text = time_scale(float(times[-1]))
        lines = tuple(
            Series(
                factor, found.total[chosen, k], "1", "line",
                found.total_interval[0][chosen, k], found.total_interval[1][chosen, k],
            )
            for k, factor in enumerate(found.factors)
        )  # fmt: skip
        plots.append(
            Plot(
                f"{name}: total share of variance",
                Axis("time", (times / scale).tolist(), text),
                lines,
            )
        )
    return plots


def morris_result(found: Any) -> Result:
    """Effects as a table, and the mean absolute ones as values."""
    names = ("mean", "size", "spread", "unit")
    return Result(tables=[_by_factor("effects", found, names, "")])


def measures_of(outputs: Sequence[str], measure: str) -> list[Any]:
    """What is looked at: a measure of each output, or its whole course."""
    from galenic.engine.batch import Measure

    if measure == "course":
        return list(outputs)
    return [getattr(Measure, measure)(path) for path in outputs]
