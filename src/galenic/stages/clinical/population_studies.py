"""Services around an estimated population: how sure, which covariates, new subjects, designs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from galenic.errors import DataError, UnknownName
from galenic.stages.clinical.study import of_study
from galenic.twin.service import Artefact, Column, Help, Result, Run, Table, Value, service

if TYPE_CHECKING:
    from galenic.inference.mixed.problem import Problem

Method = Annotated[
    Literal["focei", "foce", "fo", "laplace"], Help("Approximation by which is estimated.")
]
Seed = Annotated[int, Help("Equal seeds give equal numbers.")]
Way = Annotated[
    Literal["bootstrap", "sir", "profile", "bayes"],
    Help(
        "Subjects drawn again, weighted draws (SIR), likelihood profiles, or the full posterior "
        "with default priors around the start values."
    ),
]


Asked = tuple[str, int, int]  # way, draws, seed


@service("Uncertainty of a population", stage="clinical")
@of_study
def population_uncertainty(
    problem: Problem,
    way: Way = "sir",
    draws: int = 500,
    numbers: tuple[str, ...] = (),
    level: float = 0.95,
    method: Method = "focei",
    seed: Seed = 0,
    *,
    run: Run,
) -> Result:
    """Estimate a population and say how sure each number is, beyond standard errors.

    Parameters
    ----------
    draws : int
        Replicates of a bootstrap, vectors of SIR (out of five times as many), or draws of each of
        two chains.
    numbers : texts
        Names of estimated numbers to tell; all if left out.
    level : float
        Probability of the intervals.
    """
    if not 0 < level < 1 or draws < 20:
        raise DataError(
            f"level {level:g}, draws {draws}", where="population_uncertainty",
            expected="a level between 0 and 1 and at least 20 draws",
        )  # fmt: skip
    for name in numbers:
        if name not in problem.names:
            raise UnknownName.among("estimated number", name, problem.names, where="numbers")
    found = _fitted(problem, method, run)
    free = [n for n, is_free in zip(problem.names, problem.packing.free, strict=True) if is_free]
    wanted = [name for name in free if name in numbers] if numbers else free
    made = {"profile": _profiles, "bayes": _posterior}.get(way, _sampled)
    text, columns, artefacts = made(found, (way, draws, seed), wanted, level, run)
    units = dict(zip(problem.names, problem.packing.units(), strict=True))
    table = Table(
        f"{100 * level:g} % intervals",
        (
            Column("name", wanted),
            Column("estimate", [found.values[name] for name in wanted]),
            Column("unit", [units[name] for name in wanted]),
            *(Column(name, values) for name, values in columns.items()),
        ),
    )
    return Result(text, {"objective": Value(found.objective)}, [table], [], artefacts)


def _fitted(problem: Problem, method: str, run: Run) -> Any:
    from galenic.inference.mixed.fit import fit

    run.progress(0.02, "estimating")
    found = fit(problem, method, told=lambda step: run.progress(0.02 + 0.08 * step.share))
    run.progress(0.1, f"estimated: objective {found.objective:.3f}")
    return found


def _told(run: Run, text: str) -> Any:
    return lambda share: run.progress(0.1 + 0.88 * share, text)


def _sampled(
    found: Any, asked: Asked, wanted: Sequence[str], level: float, run: Run
) -> tuple[str, dict[str, list[Any]], list[Artefact]]:
    from galenic.inference.mixed.uncertainty import bootstrap, sir

    way, draws, seed = asked
    if way == "bootstrap":
        made = bootstrap(found, draws, seed, _told(run, way))
    else:
        made = sir(found, 5 * draws, draws, seed, told=_told(run, way))
    if len(made.values) < 2:
        raise DataError(f"{way} gave {len(made.values)} draws", expected="at least two")
    ends = np.array([made.interval(name, level) for name in wanted])
    sd = made.errors()
    columns = {
        "sd": [sd[name] for name in wanted],
        "lower": ends[:, 0].tolist(),
        "upper": ends[:, 1].tolist(),
    }
    text = f"{made.notes}: {len(made.values)} used, {made.failed} failed."
    return text, columns, [_file(made.names, made.values)]


def _profiles(
    found: Any, asked: Asked, wanted: Sequence[str], level: float, run: Run
) -> tuple[str, dict[str, list[Any]], list[Artefact]]:
    from galenic.inference.mixed.uncertainty import profile

    ends = []
    for k, name in enumerate(wanted):
        run.progress(0.1 + 0.88 * k / len(wanted), f"profile of {name}")
        ends.append(profile(found, name, level))
    columns = {"lower": [low for low, _ in ends], "upper": [high for _, high in ends]}
    return "Intervals by the likelihood, all other numbers estimated again.", columns, []


def _posterior(
    found: Any, asked: Asked, wanted: Sequence[str], level: float, run: Run
) -> tuple[str, dict[str, list[Any]], list[Artefact]]:
    from galenic.inference.mixed.bayes import bayes

    _, draws, seed = asked
    told = _told(run, "sampling")
    made = bayes(found.problem, found, draws=draws, warmup=draws, seed=seed, told=told)
    mean, rhat, effective = made.mean(), made.rhat, made.effective
    ends = [made.interval(name, level) for name in wanted]
    columns = {
        "mean": [mean[name] for name in wanted],
        "lower": [low for low, _ in ends],
        "upper": [high for _, high in ends],
        "split R": [rhat[name] for name in wanted],
        "effective draws": [effective[name] for name in wanted],
    }
    worst = max(rhat[name] for name in wanted)
    lines = [f"2 chains of {draws} draws, {made.diverged} paths diverged, split R to {worst:.3f}."]
    if worst > 1.01 or made.diverged:
        lines.append("The posterior is not explored well enough to be trusted: take more draws.")
    flat = made.values.reshape(-1, len(made.names))
    return " ".join(lines), columns, [_file(made.names, flat)]


def _file(names: Sequence[str], values: Any) -> Artefact:
    """Draws as a CSV file."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[f"{v:.9g}" for v in row] for row in values])
    return Artefact("draws.csv", text.getvalue().encode(), "text/csv")


@service("Search covariates of a population", stage="clinical")
@of_study
def population_covariates(
    problem: Problem,
    candidates: tuple[str, ...],
    forward: float = 0.05,
    backward: float = 0.01,
    method: Method = "focei",
    *,
    run: Run,
) -> Result:
    """Search effects of covariates step by step: forward by the objective, then backward.

    Effects that were chosen this way are too large and their p-values too small.

    Parameters
    ----------
    candidates : texts
        Effects to try: CL~weight/70 (a power of the covariate over that value) or CL~sex
        (exp of a coefficient times the covariate). Covariates stand in ``covariates``.
    forward : float
        Significance for an effect to come in.
    backward : float
        Significance for it to stay.
    """
    from galenic.inference.mixed.stepwise import stepwise

    tried = [_candidate(problem, text) for text in candidates]
    most = len(tried) * (len(tried) + 1)
    count = 0

    def told(trial: Any) -> None:
        nonlocal count
        count += 1
        run.progress(0.02 + 0.96 * min(1.0, count / most), f"{trial.step} {trial.effect}")

    run.progress(0.02, "estimating without effects")
    found = stepwise(problem, tried, forward, backward, method, told)
    trials = found.trials
    names = ("step", "effect", "objective", "drop", "p", "kept")
    rows = Table(
        "trials", tuple(Column(name, [getattr(t, name) for t in trials]) for name in names)
    )
    fields = ("name", "value", "unit", "se", "rse", "lower", "upper")
    table = found.fit.table()
    estimates = Table("estimates", tuple(Column(f, [row[f] for row in table]) for f in fields))
    chosen = ", ".join(one.coefficient for one in found.chosen) or "none"
    values = {
        "objective": Value(found.fit.objective),
        "effects": Value(len(found.chosen)),
    }
    return Result(f"Chosen: {chosen}.", values, [rows, estimates], [])


def _candidate(problem: Problem, text: str) -> Any:
    from galenic.inference.mixed.stepwise import Candidate
    from galenic.stages.clinical.estimation import POWER, SHARE

    path, _, rest = text.partition("~")
    match = POWER.match(f"{text}^1") if "/" in text else SHARE.match(text)
    if match is None:
        raise DataError(f"{text!r}", where="candidates", expected="CL~weight/70 or CL~sex")
    known = {c.name: c.unit for c in problem.population.covariates}
    name = rest.split("/")[0]
    if name not in known:
        raise UnknownName.among("covariate", name, known, where=f"candidate {text!r}")
    if path not in {e.path for e in problem.population.system.parameters}:
        paths = [e.path for e in problem.population.system.parameters]
        raise UnknownName.among("parameter", path, paths, where=f"candidate {text!r}")
    if "/" in text:
        return Candidate(path, name, f"{match['at']} {known[name]}")
    return Candidate(path, name, 0.0, "exponential")


@service("Simulate a new population", stage="clinical")
@of_study
def population_simulate(
    problem: Problem, subjects: int = 1000, seed: Seed = 0, *, run: Run
) -> Result:
    """Simulate new subjects from the model's values, designed like those of the data set.

    Each takes doses, times and covariates of a subject drawn from the data with replacement;
    random effects and errors are drawn anew.

    Parameters
    ----------
    subjects : int
        New subjects.
    """
    from galenic.inference.mixed.people import parameters
    from galenic.inference.mixed.simulate import new_subjects, replicates

    if subjects < 1:
        raise DataError(f"{subjects} subjects", where="subjects", expected="at least 1")
    made = problem.with_records(new_subjects(problem, subjects, seed))
    run.progress(0.2, "simulating")
    drawn = replicates(made, made.start(), 1, seed)
    course, mask = made.course, made.course.mask
    people = parameters(made, made.start(), drawn.effects[0])
    run.progress(0.8, "writing")
    times = course.times[mask] / 3600.0
    counts = course.counts
    owners = np.repeat(np.arange(len(course)), counts)
    known = [c for c in people[0] if c != "id"]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["ID", "TIME", "ENDPOINT", "DV", "IPRED", *known])
    ends = [path for path, _ in made.records.endpoints]
    for i, t, e, y, f in zip(
        owners, times, course.endpoint[mask], drawn.y[0][mask], drawn.f[0][mask], strict=True
    ):
        own = [f"{people[i][c]:.9g}" for c in known]
        writer.writerow([people[i]["id"], f"{t:.9g}", ends[e], f"{y:.9g}", f"{f:.9g}", *own])
    levels = (0.05, 0.5, 0.95)
    table = Table("simulated", _percentiles(times, drawn.y[0][mask], levels))
    told = f"{subjects} subjects, {int(mask.sum())} observations; seed {seed}."
    artefact = Artefact("simulated.csv", text.getvalue().encode(), "text/csv")
    return Result(told, {"subjects": Value(subjects)}, [table], [], [artefact])


def _percentiles(times: Any, values: Any, levels: Sequence[float]) -> tuple[Column, ...]:
    """Percentiles by time, in at most twenty groups of times."""
    edges = np.unique(times)
    if len(edges) > 20:
        edges = np.unique(np.quantile(times, np.linspace(0, 0.95, 20)))
    group = np.searchsorted(edges, times, side="right") - 1
    parts = [group == k for k in range(len(edges))]
    middle = Column("time", [float(np.median(times[one])) for one in parts], "h")
    found = np.array([np.quantile(values[one], levels) for one in parts])
    return (
        middle,
        Column("count", [int(one.sum()) for one in parts]),
        *(Column(f"{100 * p:g} %", found[:, k].tolist()) for k, p in enumerate(levels)),
    )


@service("Design a population study", stage="clinical")
@of_study
def population_design(
    problem: Problem,
    times: tuple[float, ...],
    count: int = 4,
    subjects: int = 40,
    seed: Seed = 0,
    *,
    run: Run,
) -> Result:
    """Sampling times that tell most of the numbers of a population, and how much they tell.

    Doses and covariates are those of the first subject of the data set; the model's values are
    taken as true. First-order information, D-optimal by exchange.

    Parameters
    ----------
    times : numbers
        Allowed times in h.
    count : int
        Times of each subject.
    subjects : int
        Subjects for which relative standard errors are expected.
    """
    from galenic.inference.mixed.design import information, optimise

    run.progress(0.05, "searching")
    found = optimise(problem, [3600.0 * t for t in times], count, subjects, seed=seed)
    run.progress(0.9, "comparing")
    share = subjects / len(problem.course)
    now = {name: error / share**0.5 for name, error in information(problem).errors.items()}
    best = found.information.errors
    table = Table(
        "expected relative standard errors",
        (
            Column("name", list(best)),
            Column("designed", [100 * v for v in best.values()], "%"),
            Column("data set", [100 * now[name] for name in best], "%"),
        ),
    )
    chosen = [float(t) / 3600.0 for t in found.times]
    text = f"Best {count} of {len(set(times))} times: {', '.join(f'{t:g}' for t in chosen)} h."
    values = {"criterion": Value(found.information.criterion)}
    return Result(text, values, [Table("times", (Column("time", chosen, "h"),)), table], [])
