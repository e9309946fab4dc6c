"""The Systems of the validation, written by hand."""

from __future__ import annotations

import casadi as ca

from galenic.modeling.system import Conserved, Entry, System
from galenic.units import to_si, unit


def build(name, states, parameters, ode, inputs=(), output=None, starts=None, conserved=None):
    """A System from tables of (path, value, unit); ``ode(s)`` and others take symbols by path."""
    groups = {"state": states, "parameter": parameters, "input": inputs}
    entries = {
        kind: tuple(
            Entry(path, kind, unit(u), value=float(to_si(v, u)), nominal=unit(u).scale * scale)
            for path, v, u, scale in ((*row, 1.0)[:4] for row in rows)
        )
        for kind, rows in groups.items()
    }
    s = {e.path: ca.SX.sym(e.path) for rows in entries.values() for e in rows}
    column = {k: ca.vertcat(*(s[e.path] for e in rows)) if rows else ca.SX(0, 1)
              for k, rows in entries.items()}  # fmt: skip
    slopes = ode(s)
    given = starts(s) if starts else {}
    path, text, rule = output or ("none", "1", lambda s: ca.SX(0))
    return System(
        name=name,
        t=ca.SX.sym("t"),
        x=column["state"],
        z=ca.SX(0, 1),
        u=column["input"],
        p=column["parameter"],
        ode=ca.vertcat(*(slopes[e.path] for e in entries["state"])),
        alg=ca.SX(0, 1),
        y=ca.vertcat(rule(s)),
        x0=ca.vertcat(*(ca.SX(given.get(e.path, e.value)) for e in entries["state"])),
        states=entries["state"],
        algebraics=(),
        inputs=entries["input"],
        parameters=entries["parameter"],
        outputs=(Entry(path, "output", unit(text)),),
        conserved=tuple(conserved(s) if conserved else ()),
    )


def one_compartment():
    return build(
        "OneCompartment",
        [("depot", 0, "mg"), ("central", 0, "mg")],
        [("CL", 2.8, "L/h"), ("V", 32, "L"), ("ka", 1.5, "1/h")],
        lambda s: {
            "depot": -s["ka"] * s["depot"],
            "central": s["ka"] * s["depot"] - s["CL"] / s["V"] * s["central"],
        },
        output=("C", "mg/L", lambda s: s["central"] / s["V"]),
    )


def two_compartment():
    def ode(s):
        into, out = s["Q"] / s["V1"] * s["central"], s["Q"] / s["V2"] * s["peripheral"]
        absorbed = s["ka"] * s["depot"]
        cleared = s["CL"] / s["V1"] * s["central"]
        return {
            "depot": -absorbed,
            "central": absorbed + s["infusion"] - cleared - into + out,
            "peripheral": into - out,
        }

    return build(
        "TwoCompartment",
        [("depot", 0, "mg"), ("central", 0, "mg"), ("peripheral", 0, "mg")],
        [("CL", 5, "L/h"), ("V1", 20, "L"), ("Q", 10, "L/h"), ("V2", 50, "L"), ("ka", 1, "1/h")],
        ode,
        inputs=[("infusion", 0, "mg/h")],
        output=("C", "mg/L", lambda s: s["central"] / s["V1"]),
    )


def three_compartment():
    def ode(s):
        c1, c2, c3 = s["central"] / s["V1"], s["second"] / s["V2"], s["third"] / s["V3"]
        return {
            "central": -s["CL"] * c1 - s["Q2"] * (c1 - c2) - s["Q3"] * (c1 - c3),
            "second": s["Q2"] * (c1 - c2),
            "third": s["Q3"] * (c1 - c3),
        }

    return build(
        "ThreeCompartment",
        [("central", 0, "mg"), ("second", 0, "mg"), ("third", 0, "mg")],
        [
            ("V1", 10, "L"), ("CL", 1.5, "L/h"), ("Q2", 3, "L/h"), ("V2", 40, "L"),
            ("Q3", 0.9, "L/h"), ("V3", 100, "L"),
        ],
        ode,
        output=("C", "mg/L", lambda s: s["central"] / s["V1"]),
    )  # fmt: skip


def target_mediated():
    """Full target-mediated disposition with fast binding (benchmark problem c)."""

    def ode(s):
        bound = s["kon"] * s["C"] * s["R"] - s["koff"] * s["P"]
        return {
            "D": -s["ka"] * s["D"],
            "C": s["ka"] * s["D"] / s["V"] - (s["CL"] + s["Q"]) * s["C"] / s["V"]
            + s["Q"] / s["V2"] * s["AT"] / s["V"] - bound,
            "AT": s["Q"] * s["C"] - s["Q"] / s["V2"] * s["AT"],
            "R": s["kdeg"] * (s["R0"] - s["R"]) - bound,
            "P": bound - s["kint"] * s["P"],
        }  # fmt: skip

    return build(
        "TargetMediated",
        [
            ("D", 0, "nmol"), ("C", 0, "nmol/L", 1e-2), ("AT", 0, "nmol"),
            ("R", 0, "nmol/L", 1e-2), ("P", 0, "nmol/L"),
        ],
        [
            ("CL", 0.2, "L/d"), ("V", 3, "L"), ("R0", 5, "nmol/L"), ("kint", 0.5, "1/d"),
            ("ka", 0.3, "1/d"), ("kon", 86.4, "L/(nmol*d)"), ("Q", 0.5, "L/d"), ("V2", 3, "L"),
            ("koff", 8.64, "1/d"), ("kdeg", 2, "1/d"),
        ],
        ode,
        starts=lambda s: {"R": s["R0"]},
    )  # fmt: skip


def rober():
    return build(
        "Robertson",
        [("a", 1, "1", 1e-7), ("b", 0, "1", 1e-12), ("c", 0, "1")],
        [],
        lambda s: {
            "a": -0.04 * s["a"] + 1e4 * s["b"] * s["c"],
            "b": 0.04 * s["a"] - 1e4 * s["b"] * s["c"] - 3e7 * s["b"] ** 2,
            "c": 3e7 * s["b"] ** 2,
        },
        conserved=lambda s: [Conserved("mass", s["a"] + s["b"] + s["c"], ca.SX(0), unit("1"))],
    )
