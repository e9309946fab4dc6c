"""Populations told in words, as services take them: what varies, covariates, errors, columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from galenic.errors import DataError, UnknownName
from galenic.inference.mixed.fit import Fit, evaluate, fit
from galenic.inference.mixed.layout import Column, Layout, Route
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import read
from galenic.modeling.effects import Coefficient, Occasion
from galenic.modeling.functions import exp
from galenic.modeling.system import System
from galenic.modeling.variability import Between, Covariate, Population, Residual
from galenic.units import unit, value_in

VARIED = re.compile(r"^(?P<path>[\w.\[\],]+)(?:=(?P<sd>[\d.eE+-]+))?(?::(?P<kind>[\w-]+))?$")
COLUMN = re.compile(r"^(?P<name>\w+)(?:=(?P<column>[^:]+))?(?::(?P<unit>.+))?$")
POWER = re.compile(r"^(?P<path>[\w.]+)~(?P<name>\w+)/(?P<at>[\d.eE+-]+)\^(?P<power>\?|[\d.eE+-]+)$")
SHARE = re.compile(r"^(?P<path>[\w.]+)~(?P<name>\w+)$")


def varied(texts: Sequence[str]) -> tuple[Between, ...]:
    """Between-subject terms from ``CL``, ``CL=0.3`` or ``emax=0.5:logit``."""
    found = []
    for text in texts:
        match = _match(VARIED, text, "CL, CL=0.3 or emax=0.5:logit")
        found.append(
            Between(match["path"], float(match["sd"] or 0.3), match["kind"] or "log-normal")
        )
    return tuple(found)


def columns(texts: Sequence[str]) -> dict[str, Column]:
    """Covariates from ``weight=WT:kg``, or ``WT:kg`` where name and column agree."""
    found = {}
    for text in texts:
        match = _match(COLUMN, text, "weight=WT:kg")
        found[match["name"]] = Column(match["column"] or match["name"], match["unit"] or "1")
    return found


def relations(
    texts: Sequence[str], known: dict[str, Column]
) -> tuple[dict[str, Callable[..., Any]], list[Coefficient]]:
    """Relations from ``CL~weight/70^0.75``, ``CL~weight/70^?`` (estimated) or ``CL~sex``.

    The last means exp(coefficient · covariate), for covariates of unit 1.
    """
    made: dict[str, list[Any]] = {}
    coefficients = []
    for text in texts:
        match = POWER.match(text) or SHARE.match(text)
        if match is None:
            raise DataError(f"{text!r}", expected="CL~weight/70^0.75, CL~weight/70^? or CL~sex")
        name = match["name"]
        if name not in known:
            raise DataError(f"{text!r}: no covariate {name}", expected=", ".join(known) or "none")
        label = f"{match['path']}_{name}".replace(".", "_")
        if "at" in match.groupdict():
            at = f"{match['at']} {known[name].unit}"
            if match["power"] == "?":
                coefficients.append(Coefficient(label, 0.5, meaning=f"exponent of {name}"))
                made.setdefault(match["path"], []).append(("power", name, at, label))
            else:
                made.setdefault(match["path"], []).append(
                    ("power", name, at, float(match["power"]))
                )
        else:
            coefficients.append(Coefficient(label, 0.0, meaning=f"log effect of {name}"))
            made.setdefault(match["path"], []).append(("share", name, "", label))
    return {path: _relation(tuple(terms)) for path, terms in made.items()}, coefficients


def _relation(terms: tuple[Any, ...]) -> Callable[..., Any]:
    def relation(typical: Any, c: Any) -> Any:
        for kind, name, at, by in terms:
            number = getattr(c, by) if isinstance(by, str) else by
            value = getattr(c, name)
            typical = typical * ((value / at) ** number if kind == "power" else exp(number * value))
        return typical

    return relation


def _match(pattern: re.Pattern[str], text: str, expected: str) -> re.Match[str]:
    match = pattern.match(text.strip())
    if match is None:
        raise DataError(f"{text!r}", expected=expected)
    return match


def problem(
    model: System,
    data: Any,
    dose_to: str,
    output: str,
    vary: Sequence[str],
    occasion: Sequence[str] = (),
    correlated: Sequence[str] = (),
    covariates: Sequence[str] = (),
    effects: Sequence[str] = (),
    estimate: Sequence[str] = (),
    hold: Sequence[str] = (),
    additive: float = 0.0,
    proportional: float = 0.2,
    combine: str = "variance",
    dose_unit: str = "mg",
    output_unit: str = "",
    blq: str = "M3",
    locf: bool = False,
    restart: bool = False,
    endpoint: str = "",
) -> Problem:
    """The problem of a data set and a model told in words."""
    known = columns(covariates)
    related, coefficients = relations(effects, known)
    names = [term.parameter for term in varied(vary)]
    pairs: dict[tuple[str, str], float] = {}
    for text in correlated:
        parts = [part.strip() for part in text.split("+")]
        missing = [part for part in parts if part not in names]
        if missing or len(parts) < 2:
            raise DataError(f"correlated: {text!r}", expected=f"two of {', '.join(names)}: CL+V1")
        pairs |= {(a, b): 0.1 for i, a in enumerate(parts) for b in parts[i + 1 :]}
    scale = model.entry(output).unit
    given = unit(output_unit) if output_unit else scale
    made = Population(
        model,
        tuple(Covariate(n, 1.0, c.unit) for n, c in known.items()),
        related,
        varied(vary),
        pairs,
        (Residual(output, proportional, f"{additive} {given.text}", combine),),
        tuple(Occasion(t.parameter, t.sd, t.kind) for t in varied(occasion)),
        tuple(coefficients),
    )
    ends: Any = {"*": (output, output_unit)}
    if endpoint:
        ends = {endpoint: (output, output_unit), "*": None}
    layout = Layout(
        Route(dose_to, dose_unit) if dose_to else {}, ends, known,
        carry="locf" if locf else "nocb", restart=restart,
    )  # fmt: skip
    return Problem(made, read(rows_of(data), layout), tuple(estimate), tuple(hold), blq)


def start(model: Any, values: Any) -> System:
    """The flattened model with other parameter values to start from."""
    system: System = model.flatten()
    given = dict(values or {})
    known = {e.path for e in system.parameters}
    for path in given:
        if path not in known:
            raise UnknownName.among("parameter", path, known, where="values")
    entries = tuple(
        replace(e, value=float(value_in(given[e.path], e.unit, where=e.path)))
        if e.path in given
        else e
        for e in system.parameters
    )
    return replace(system, parameters=entries)


def rows_of(data: Any) -> Any:
    """Rows of a File of a service."""
    import csv
    from io import StringIO

    return list(csv.DictReader(StringIO(data.text())))


def estimated(problem: Problem, method: str, seed: int, run: Any) -> Fit:
    """Fit by a method, telling progress to a run of a service."""
    if method == "evaluate":
        return evaluate(problem)

    def told(step: Any) -> None:
        run.progress(0.05 + 0.8 * step.share, f"iteration {step.iteration}: {step.objective:.3f}")

    if method == "saem":
        from galenic.inference.mixed.saem import saem

        return saem(problem, seed=seed, told=told)
    return fit(problem, method, told=told)
