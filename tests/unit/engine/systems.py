"""Small Systems written by hand from CasADi symbols: the engine needs no modelling language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import casadi as ca

from galenic.modeling.system import Conserved, Entry, EventRule, System
from galenic.units import to_si, unit

Table = Mapping[str, tuple[Any, ...]]


class Symbols:
    """Symbols by name while a System is written."""

    def __init__(self, names: dict[str, ca.SX], time: ca.SX) -> None:
        self.__dict__.update(names)
        self.t = time

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def system(
    name: str,
    states: Table,
    ode: Callable[[Any], Mapping[str, Any]],
    *,
    inputs: Table | None = None,
    parameters: Table | None = None,
    algebraics: Table | None = None,
    alg: Callable[[Any], list[Any]] | None = None,
    outputs: Mapping[str, tuple[str, Callable[[Any], Any]]] | None = None,
    starts: Callable[[Any], Mapping[str, Any]] | None = None,
    events: Callable[[Any, Mapping[str, int]], list[EventRule]] | None = None,
    conserved: Callable[[Any], list[Conserved]] | None = None,
) -> System:
    """A System from tables ``{path: (value in unit, unit, {Entry fields})}``."""
    tables = {
        "state": states,
        "algebraic": algebraics or {},
        "input": inputs or {},
        "parameter": parameters or {},
    }
    entries = {kind: _entries(kind, table) for kind, table in tables.items()}
    columns = {kind: [ca.SX.sym(e.path) for e in rows] for kind, rows in entries.items()}
    time = ca.SX.sym("t")
    m = Symbols(
        {e.path: s for kind in entries for e, s in zip(entries[kind], columns[kind], strict=True)},
        time,
    )
    place = {e.path: i for i, e in enumerate(entries["state"])}
    slopes = ode(m)
    given = starts(m) if starts else {}
    outs = outputs or {}
    return System(
        name=name,
        t=time,
        **{short: _column(columns[kind]) for short, kind in _SHORT.items()},
        ode=_column([ca.SX(slopes[e.path]) for e in entries["state"]]),
        alg=_column([ca.SX(row) for row in (alg(m) if alg else [])]),
        y=_column([ca.SX(rule(m)) for _, rule in outs.values()]),
        x0=_column([ca.SX(given.get(e.path, e.value)) for e in entries["state"]]),
        states=entries["state"],
        algebraics=entries["algebraic"],
        inputs=entries["input"],
        parameters=entries["parameter"],
        outputs=tuple(Entry(path, "output", unit(text)) for path, (text, _) in outs.items()),
        events=tuple(events(m, place) if events else ()),
        conserved=tuple(conserved(m) if conserved else ()),
    )


_SHORT = {"x": "state", "z": "algebraic", "u": "input", "p": "parameter"}


def _entries(kind: str, table: Table) -> tuple[Entry, ...]:
    rows = []
    for path, (value, text, *more) in table.items():
        facts = {"nominal": unit(text).scale} | (more[0] if more else {})
        rows.append(Entry(path, kind, unit(text), value=float(to_si(value, text)), **facts))
    return tuple(rows)


def _column(rows: list[ca.SX]) -> ca.SX:
    return ca.vertcat(*rows) if rows else ca.SX(0, 1)


def decay() -> System:
    """One tank that empties by first order: c = c0 exp(-k t)."""
    return system(
        "Decay",
        {"c": (2.0, "mol/L", {"lower": 0.0})},
        lambda m: {"c": -m.k * m.c},
        parameters={"k": (0.2, "1/min")},
        outputs={"rate": ("mol/(L*min)", lambda m: m.k * m.c)},
    )


def driven() -> System:
    """x' = -k x + u, one input."""
    return system(
        "Driven",
        {"x": (0.0, "1")},
        lambda m: {"x": -m.k * m.x + m.u},
        parameters={"k": (0.5, "1/s")},
        inputs={"u": (0.0, "1/s")},
    )


def oscillator() -> System:
    """x'' = -w^2 x."""
    return system(
        "Oscillator",
        {"x": (1.0, "m"), "v": (0.0, "m/s")},
        lambda m: {"x": m.v, "v": -(m.w**2) * m.x},
        parameters={"w": (2.0, "rad/s")},
    )


def circle() -> System:
    """Index-1 DAE on the unit circle: y' = z, 0 = y^2 + z^2 - 1; y = sin t."""
    return system(
        "Circle",
        {"y": (0.0, "1")},
        lambda m: {"y": m.z},
        algebraics={"z": (0.7, "1")},
        alg=lambda m: [m.y**2 + m.z**2 - 1],
    )


def robertson() -> System:
    """The stiff kinetics of Robertson (1966)."""
    return system(
        "Robertson",
        {"a": (1.0, "1"), "b": (0.0, "1", {"nominal": 1e-4}), "c": (0.0, "1")},
        lambda m: {
            "a": -0.04 * m.a + 1e4 * m.b * m.c,
            "b": 0.04 * m.a - 1e4 * m.b * m.c - 3e7 * m.b**2,
            "c": 3e7 * m.b**2,
        },
        conserved=lambda m: [Conserved("mass", m.a + m.b + m.c, ca.SX(0), unit("1"))],
    )


def ball(restitution: float = 0.8) -> System:
    """A ball dropped from h0; bounces with a coefficient of restitution."""
    return system(
        "Ball",
        {"h": (10.0, "m"), "v": (0.0, "m/s"), "count": (0.0, "1", {"role": "discrete"})},
        lambda m: {"h": m.v, "v": -m.g, "count": 0},
        parameters={"g": (9.81, "m/s^2"), "e": (restitution, "1"), "h0": (10.0, "m")},
        starts=lambda m: {"h": m.h0},
        events=lambda m, at: [
            EventRule(
                "bounce",
                -m.h,
                None,
                None,
                ((at["v"], -m.e * m.v), (at["count"], m.count + 1)),
            )
        ],
    )


def two_compartment() -> System:
    """Oral and intravenous two-compartment kinetics with rate inputs."""
    return system(
        "TwoCompartment",
        {"depot": (0.0, "mg"), "central": (0.0, "mg"), "peripheral": (0.0, "mg")},
        lambda m: {
            "depot": -m.ka * m.depot,
            "central": m.ka * m.depot
            - (m.CL + m.Q) / m.V1 * m.central
            + m.Q / m.V2 * m.peripheral
            + m.infusion,
            "peripheral": m.Q / m.V1 * m.central - m.Q / m.V2 * m.peripheral,
        },
        inputs={"infusion": (0.0, "mg/h", {"role": "dose"})},
        parameters={
            "CL": (5.0, "L/h"),
            "V1": (20.0, "L"),
            "Q": (10.0, "L/h"),
            "V2": (50.0, "L"),
            "ka": (1.0, "1/h"),
        },
        outputs={"C": ("mg/L", lambda m: m.central / m.V1)},
        conserved=lambda m: [
            Conserved(
                "drug",
                m.depot + m.central + m.peripheral,
                m.infusion - m.CL / m.V1 * m.central,
                unit("mg"),
            )
        ],
    )


def thermostat() -> System:
    """Heating with hysteresis between 19 and 21; the mode is a discrete state."""
    return system(
        "Thermostat",
        {"T": (15.0, "1"), "on": (1.0, "1", {"role": "discrete"})},
        lambda m: {"T": m.power * m.on - m.k * m.T, "on": 0},
        parameters={"power": (3.0, "1/s"), "k": (0.1, "1/s")},
        events=lambda m, at: [
            EventRule("hot", m.T - 21, None, None, ((at["on"], ca.SX(0)),)),
            EventRule("cold", 19 - m.T, None, None, ((at["on"], ca.SX(1)),)),
        ],
    )


def tanks(count: int) -> System:
    """A chain of mixed tanks."""
    names = [f"tank[{i}].c" for i in range(count)]
    return system(
        f"Tanks{count}",
        {name: (0.0, "mol/L") for name in names},
        lambda m: {
            name: m.flow
            / m.V
            * ((m.feed if i == 0 else getattr(m, names[i - 1])) - getattr(m, name))
            for i, name in enumerate(names)
        },
        inputs={"flow": (1.0, "L/s"), "feed": (1.0, "mol/L")},
        parameters={"V": (1.0, "L")},
    )
