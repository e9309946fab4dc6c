"""The checks that any model must pass, ours or a stranger's."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from galenic.errors import ModelError
from galenic.modeling.check import Report
from galenic.modeling.system import System

DRIFT = 1e-6  # relative departure of a balance over the example, at default tolerances


def check_model(model: Any, *, run: bool = True) -> Report:
    """Raise a ModelError unless ``model`` (an instance or a class) keeps what models promise.

    Units and structure are right, what it conserves is conserved, Jacobians are finite at the
    start, no parameter is unused, quantities say what they mean, the System survives a journey as
    bytes, and the example runs with finite values inside the bounds of the states.

    Parameters
    ----------
    model : Model or class
        What is checked.
    run : bool
        Whether the example is simulated too.
    """
    if isinstance(model, type):
        model = model()
    report: Report = model.check()
    faults = [f.text for f in report.errors]
    faults += [f.text for f in report.of("unused parameter")]
    if not faults:
        faults += _description(model) + _journey(model.flatten())
    if run and not faults:
        faults += _example(model)
    if faults:
        raise ModelError(
            f"{type(model).__name__} does not pass: {faults[0]}",
            where="check_model",
            hint="; ".join(faults[1:5]),
        )
    return report


def _description(model: Any) -> list[str]:
    """What a reader of the card would miss."""
    faults = [] if (type(model).__doc__ or "").strip() else ["it has no docstring"]
    system = model.flatten()
    own = [e for e in system.parameters + system.states if "." not in e.path]
    unnamed = [e.path for e in own if not e.meaning]
    return faults + [f"{path} has no meaning" for path in unnamed]


def _journey(system: System) -> list[str]:
    """The System must be the same after it travelled."""
    again = System.deserialise(system.serialise())
    if again.identity != system.identity or pickle.loads(pickle.dumps(system)).x.shape != (
        system.x.shape
    ):
        return ["its System changes when it is serialised"]
    return []


def _example(model: Any) -> list[str]:
    """The example must run, stay finite and inside bounds, and keep its balances."""
    system = model.flatten()
    result = model.simulate(model.example_experiment(), until=model.example_duration)
    faults = []
    for entry in system.states:
        values = np.asarray(result.si(entry.path), float)
        slack = 1e-6 * max(entry.nominal, float(np.nanmax(np.abs(values), initial=0.0)))
        if not np.all(np.isfinite(values)):
            faults.append(f"{entry.path} is not finite in the example")
        elif values.min() < entry.lower - slack or values.max() > entry.upper + slack:
            faults.append(f"{entry.path} leaves its bounds in the example")
    if not system.events:
        for balance in system.conserved:
            drift = result.drift(balance)
            if not drift <= DRIFT:
                faults.append(f"{balance.name!r} drifts by {drift:.2g} in the example")
    return faults
