"""What can be asked of any model: ours, an installed package's, or one file's."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from galenic.stages.models.exchange import export as export
from galenic.stages.models.exchange import import_nonmem as import_nonmem
from galenic.stages.models.exchange import import_sbml as import_sbml
from galenic.twin.service import (
    Artefact,
    Axis,
    Column,
    Columns,
    Duration,
    File,
    In,
    ModelRef,
    Plot,
    Result,
    Run,
    Series,
    Table,
    Value,
    Values,
    service,
)

SHOWN = 8  # curves of one plot


@service("List models", stage="models", effect="read")
def catalogue(word: str = "") -> Result:
    """List the models that can be used here: built in, installed, and from files.

    Parameters
    ----------
    word : str
        Keep models with this word in name, title or origin.
    """
    from galenic import plugins

    found = [
        entry
        for _, entry in sorted(plugins.models().items())
        if word.lower() in f"{entry.name} {entry.title} {entry.origin}".lower()
    ]
    columns = (
        Column("name", [entry.name for entry in found]),
        Column("title", [entry.title for entry in found]),
        Column("origin", [entry.origin for entry in found]),
    )
    return Result(tables=[Table("models", columns)])


@service("Show the card of a model", stage="models")
def card(model: ModelRef, latex: bool = False) -> Result:
    """Show what a model is: equations, quantities with units, parameters with sources.

    Parameters
    ----------
    model : model
        Name of the model.
    latex : bool
        Give equations and parameters as LaTeX source instead.
    """
    from galenic.modeling.describe import KINDS, Card

    made = Card.of(model.load()())
    facts, source = made.to_dict(), made.latex()
    artefacts = [
        Artefact(f"{model.name}.json", json.dumps(facts).encode(), "application/json"),
        Artefact(f"{model.name}.tex", source.encode(), "application/x-tex"),
    ]
    if latex:
        return Result(source, artefacts=artefacts)
    equations = [Column(name, [e[name] for e in facts["equations"]]) for name in ("text", "where")]
    tables = [Table("equations", tuple(equations))]
    tables += [_quantities(kind, facts[kind]) for kind in KINDS if facts[kind]]
    return Result(facts["description"], tables=tables, artefacts=artefacts)


def _quantities(kind: str, rows: list[dict[str, Any]]) -> Table:
    names = ("path", "value", "unit", "lower", "upper", "spread", "role", "meaning", "source")
    used = [
        name
        for name in names
        if name in ("path", "unit") or any(row[name] not in (None, "") for row in rows)
    ]
    return Table(kind, tuple(Column(name, [row[name] for row in rows]) for name in used))


@service("Check a model", stage="models")
def check(model: ModelRef) -> Result:
    """Check structure, units, open ports, conservation and start of a model.

    Parameters
    ----------
    model : model
        Name of the model.
    """
    report = model.load()().check()
    names = ("severity", "kind", "text", "where", "hint")
    columns = [Column(name, [getattr(f, name) for f in report.findings]) for name in names]
    return Result(
        f"{report.model}: {'ok' if report.ok else 'not usable'}",
        dict(report.counts),
        [Table("findings", tuple(columns))] if report.findings else [],
        ok=report.ok,
    )


@service("Simulate a model", stage="models")
def simulate(
    model: ModelRef,
    values: Values | None = None,
    duration: Duration | None = None,
    every: Duration | None = None,
    outputs: tuple[str, ...] = (),
    steps: Annotated[Table, Columns(time="s", path="text", value="text")] | None = None,
    doses: Annotated[Table, Columns(time="s", path="text", amount="text", duration="s")]
    | None = None,
    *,
    run: Run,
) -> Result:
    """Simulate a model from its start values.

    Parameters
    ----------
    model : model
        Name of the model.
    values : mapping
        Parameters, inputs and start values by path, as V="5 L"; others keep their defaults.
    duration : duration
        Length of the simulation; the model's example duration if left out.
    every : duration
        Interval of the output; 200 intervals if left out.
    outputs : list of str
        Quantities to give; all states and outputs if left out.
    steps : table
        Inputs and parameters that change: path has value from time on.
    doses : table
        Amounts given into a state at a time, at once or over a duration.
    """
    from galenic.engine import Simulator

    built = model.load()()
    run.progress(0.05, "compile")
    simulator = Simulator(built)
    run.progress(0.3, "integrate")
    trajectory = simulator.run(
        _experiment(steps, doses),
        values=values,
        until=built.example_duration if duration is None else duration,
        every=every,
        outputs=outputs or None,
    )
    run.progress(0.95, "collect")
    return trajectory_result(trajectory, outputs)


def _experiment(steps: Table | None, doses: Table | None) -> Any:
    from galenic.engine import Experiment

    experiment = Experiment()
    for time, path, value in steps.rows() if steps else ():
        experiment = experiment.set(path, _quantity(value), at=time)
    for time, path, amount, length in doses.rows() if doses else ():
        experiment = experiment.dose(path, _quantity(amount), at=time, duration=length)
    return experiment


def _quantity(text: str) -> float | str:
    """A bare number as a number (in the declared unit), anything else as it is."""
    try:
        return float(text)
    except ValueError:
        return text


def trajectory_result(trajectory: Any, outputs: tuple[str, ...] = ()) -> Result:
    """A trajectory as a result: one table, one plot for each unit, last values."""
    shown = [c for c in trajectory.columns if outputs or c.kind in ("state", "output")]
    shown = shown or list(trajectory.columns)
    drawn = trajectory.to_dict([c.path for c in shown])
    x = Axis(**drawn["x"])
    columns = [Column("time", x.data, x.unit)]
    columns += [Column(s["name"], s["data"], s["unit"], s["meaning"]) for s in drawn["y"]]
    by_unit: dict[str, list[Series]] = {}
    for series in drawn["y"]:
        by_unit.setdefault(series["unit"], []).append(
            Series(series["name"], series["data"], series["unit"])
        )
    plots = [
        Plot(f"{trajectory.name} [{unit}]", x, tuple(group[start : start + SHOWN]))
        for unit, group in by_unit.items()
        for start in range(0, len(group), SHOWN)
    ]
    values = {s["name"]: Value(s["data"][-1], s["unit"], s["meaning"]) for s in drawn["y"]}
    notes = [f"{e['name']} at {e['time']:.6g} {x.unit}" for e in drawn["events"]]
    notes += [f"out of bounds: {violation}" for violation in trajectory.violations]
    return Result("\n".join(notes), values, [Table(trajectory.name, tuple(columns))], plots)


@service("Simulate a population", stage="models")
def population(
    model: ModelRef,
    individuals: File | None = None,
    spread: Values | None = None,
    count: Annotated[int, In(lower=1, upper=1_000_000)] = 1000,
    values: Values | None = None,
    duration: Duration | None = None,
    every: Duration | None = None,
    outputs: tuple[str, ...] = (),
    steps: Annotated[Table, Columns(time="s", path="text", value="text")] | None = None,
    doses: Annotated[Table, Columns(time="s", path="text", amount="text", duration="s")]
    | None = None,
    derivatives: tuple[str, ...] = (),
    accuracy: Annotated[float, In(lower=1e-12, upper=1)] | None = None,
    seed: int = 0,
    *,
    run: Run,
) -> Result:
    """Simulate many individuals that differ, and show how results spread.

    Parameters
    ----------
    model : model
        Name of the model.
    individuals : file
        CSV with a row for each individual; headers such as "CL [L/h]" name parameters, inputs or
        start values.
    spread : mapping
        Without a file: how individuals differ. CL=0.3 is log-normal, CL="2 L/h" normal with that
        sd, CL="3 L/h to 8 L/h" uniform. The spreads that the model declares if left out.
    count : int
        How many individuals are drawn from the spreads.
    values : mapping
        What all have in common, by path; others keep their defaults.
    duration : duration
        Length of the simulation; the model's example duration if left out.
    every : duration
        Interval of the output; 200 intervals if left out.
    outputs : list of str
        Quantities to give; all outputs, or all states of a model without outputs, if left out.
    steps : table
        Inputs and parameters that change: path has value from time on.
    doses : table
        Amounts given into a state at a time, at once or over a duration.
    derivatives : list of str
        Quantities by which the outputs are differentiated too: parameters, start values, inputs,
        or dose(path), the factor of all amounts given there.
    accuracy : float
        The largest relative error wanted; sampled and reported.
    seed : int
        Of the draw.
    """
    from galenic.engine import Simulator
    from galenic.inference.study import Study
    from galenic.stages.models import many

    built = model.load()()
    simulator = Simulator(built)
    table: Any = None if individuals is None else many.columns_of(individuals)
    wanted = list(outputs) or many.outputs_of(simulator.system)
    until = built.example_duration if duration is None else duration
    if table is None:
        factors = many.factors_of(simulator.system, spread, values)
        study = Study(simulator, factors, wanted, until=until, every=every)
        table = study.columns(study.points(count, "sobol", seed))
    found = simulator.run_many(
        _experiment(steps, doses), table, wanted, until, every,
        values=values, accuracy=accuracy, progress=run.progress, wrt=derivatives,
    )  # fmt: skip
    return many.result_of(found)


@service("Find what matters", stage="models")
def sensitivity(
    model: ModelRef,
    spread: Values | None = None,
    method: Literal["sobol", "morris", "shapley"] = "sobol",
    measure: Literal["peak", "trough", "area", "course"] = "peak",
    points: Annotated[int, In(lower=2, upper=65_536)] = 256,
    values: Values | None = None,
    duration: Duration | None = None,
    every: Duration | None = None,
    outputs: tuple[str, ...] = (),
    steps: Annotated[Table, Columns(time="s", path="text", value="text")] | None = None,
    doses: Annotated[Table, Columns(time="s", path="text", amount="text", duration="s")]
    | None = None,
    correlations: Annotated[Table, Columns(one="text", other="text", correlation="1")]
    | None = None,
    seed: int = 0,
    *,
    run: Run,
) -> Result:
    """Find which uncertain quantities cause how much of the variance of a result.

    Parameters
    ----------
    model : model
        Name of the model.
    spread : mapping
        What is uncertain: CL=0.3 is log-normal, CL="2 L/h" normal with that sd, CL="3 L/h to 8 L/h"
        uniform. The spreads that the model declares if left out.
    method : choice
        Sobol indices, the cheaper screening of Morris, or Shapley effects, which may be correlated.
    measure : choice
        What is looked at in each output; "course" is its value at every output time.
    points : int
        Sobol: a power of two, run times the number of spreads plus two. Shapley: a power of two,
        run for every set of up to eight spreads. Morris: paths.
    values : mapping
        Parameters, inputs and start values by path; others keep their defaults.
    duration : duration
        Length of the simulation; the model's example duration if left out.
    every : duration
        Interval of the output; 200 intervals if left out.
    outputs : list of str
        Quantities that are looked at; all outputs, or all states, if left out.
    steps : table
        Inputs and parameters that change: path has value from time on.
    doses : table
        Amounts given into a state at a time, at once or over a duration.
    correlations : table
        Between the normal scores of two spreads, for method shapley; none if left out.
    seed : int
        Of the draw.
    """
    from galenic.engine import Simulator
    from galenic.inference.study import Study
    from galenic.stages.models import many

    built = model.load()()
    simulator = Simulator(built)
    factors = many.factors_of(simulator.system, spread, values)
    study = Study(
        simulator,
        factors,
        many.measures_of(list(outputs) or many.outputs_of(simulator.system), measure),
        _experiment(steps, doses),
        built.example_duration if duration is None else duration,
        every,
        settings={"values": values, "progress": run.progress},
        correlations=many.correlations_of(correlations),
    )
    if method == "shapley":
        return many.shapley_result(study.shapley(points, seed))
    if method == "morris":
        return many.morris_result(study.morris(points, seed=seed))
    return many.sobol_result(study.sobol(points, seed))


@service("Find the steady state", stage="models")
def steady(model: ModelRef, values: Values | None = None, *, run: Run) -> Result:
    """Find the state in which nothing changes, at constant inputs.

    Parameters
    ----------
    model : model
        Name of the model.
    values : mapping
        Parameters and inputs by path; others keep their defaults.
    """
    from galenic.engine import Simulator

    run.progress(0.05, "compile")
    simulator = Simulator(model.load()())
    run.progress(0.3, "solve")
    state = simulator.steady(values=values)
    return Result(values=_state_values(simulator.system, state))


def _state_values(system: Any, state: Any) -> dict[str, Value]:
    """States and algebraic quantities of an engine state in declared units."""
    from galenic.units import from_si

    pairs = [
        *zip(system.states, state.x, strict=True),
        *zip(system.algebraics, state.z, strict=True),
    ]
    return {
        entry.path: Value(float(from_si(value, entry.unit)), entry.unit.text, entry.meaning)
        for entry, value in pairs
    }


@service("Linearise a model", stage="models")
def linearise(model: ModelRef, values: Values | None = None, *, run: Run) -> Result:
    """Give the linear model at the steady state, in SI: dx/dt = A x + B u, y = C x + D u.

    Parameters
    ----------
    model : model
        Name of the model.
    values : mapping
        Parameters and inputs by path; others keep their defaults.
    """
    from galenic.engine import Simulator

    run.progress(0.05, "compile")
    simulator = Simulator(model.load()())
    run.progress(0.3, "linearise")
    linear = simulator.linearise(simulator.steady(values=values))
    system = simulator.system
    states, inputs, outputs = (
        [entry.path for entry in part] for part in (system.states, system.inputs, system.outputs)
    )
    matrices = (
        ("A", linear.A, states, states),
        ("B", linear.B, states, inputs),
        ("C", linear.C, outputs, states),
        ("D", linear.D, outputs, inputs),
    )
    return Result(tables=[_matrix(*matrix) for matrix in matrices])


def _matrix(name: str, data: Any, rows: list[str], columns: list[str]) -> Table:
    named = tuple(Column(path, data[:, i].tolist()) for i, path in enumerate(columns))
    return Table(f"{name} [SI]", (Column("to", rows), *named))
