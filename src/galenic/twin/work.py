"""What runs in a worker process: make the controller once, propose as often as asked.

Controllers and estimators are kept by what made them, so a warm worker only solves.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import ndtr

from galenic.clock import nanoseconds
from galenic.decision.goal import Goal
from galenic.errors import DataError
from galenic.identity import canonical_json
from galenic.inference.belief import Belief
from galenic.inference.estimator import Estimator, Forecast
from galenic.twin import foresight
from galenic.twin.definition import TwinDefinition
from galenic.twin.foresight import Question

_MADE: dict[tuple[str, str, bytes], Any] = {}


def named(name: str) -> Callable[..., Any]:
    """The object that ``package.module:name`` names."""
    module, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise DataError(f"{name!r} cannot be loaded: {error}", expected="module:name") from error
    return found  # type: ignore[no-any-return]


def propose(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run a controller on a belief; the proposal as plain values.

    Returns
    -------
    dict
        ``inputs`` (SI by path) to apply now, and what the controller adds, as
        ``Proposal.to_dict`` gives it.
    """
    controller = _made("propose", *(arguments[name] for name in ("factory", "system", "options")))
    goal = Goal(
        arguments["time"],
        arguments["targets"],
        arguments["inputs"],
        previous=arguments["previous"],
    )
    belief = Belief.from_bytes(arguments["belief"])
    proposal = controller.propose(belief, goal, arguments["limits"])
    return proposal if isinstance(proposal, dict) else dict(proposal.to_dict())


def foreseeing(factory: str, system: Any, options: Mapping[str, Any]) -> Any:
    """A controller to be asked along a forecast; not the one that acts, whose warm start it is."""
    return _made("foresee", factory, system, options)


def _made(purpose: str, factory: str, system: Any, options: Mapping[str, Any]) -> Any:
    key = (f"{purpose} {factory}", system.identity, canonical_json(options))
    if key not in _MADE:
        _MADE[key] = named(factory)(system, **options)
    return _MADE[key]


def forecast(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What ``foresee`` gives, as plain values."""
    return dict(foresee(arguments).to_dict())


def exceedance(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """How probable it is that setpoints of alarms will be passed.

    Parameters
    ----------
    arguments : mapping
        What ``foresee`` takes, and ``limits``: name of the alarm to (quantity, limit [SI],
        +1 or -1, within [s]).

    Returns
    -------
    dict
        ``chances``: by alarm, the largest probability at any one time within its horizon. That is
        a lower bound of the probability of passing the setpoint at all.
    """
    made = foresee(arguments)
    chances = {}
    for name, (path, limit, sign, within) in arguments["limits"].items():
        column, near = made.column(path), made.times <= made.times[0] + nanoseconds(within)
        mean, sd = made.mean[near, column], made.sd[near, column]
        past = sign * (mean - limit) / np.maximum(sd, 1e-300)
        chances[name] = float(ndtr(past).max())
    return {"chances": chances}


def foresee(arguments: Mapping[str, Any]) -> Forecast:
    """A forecast of a twin in another process, bit for bit what ``look.forecast`` gives.

    Parameters
    ----------
    arguments : mapping
        What ``galenic.twin.look.forecast_task`` gives.
    """
    system, definition = arguments["system"], arguments["definition"]
    asked: Question = arguments["question"]
    key = ("forecast", system.identity, arguments["identity"].encode())
    if key not in _MADE:
        _MADE[key] = definition.make_estimator(system)
    belief = Belief.from_bytes(arguments["belief"])
    return foretell(definition, system, _MADE[key], belief, asked)


def foretell(
    definition: TwinDefinition, system: Any, estimator: Estimator, belief: Belief, asked: Question
) -> Forecast:
    """The forecast that a question asks for, here; with the controller where the twin acts."""
    control = definition.controller if asked.feedback is not None else None
    controller = foreseeing(control.factory, system, control.options) if control else None
    return foresight.forecast(estimator, belief, asked, controller)


def warm_up() -> bool:
    """Import what every run needs; the first task of a new worker."""
    importlib.import_module("casadi")
    importlib.import_module("galenic.inference.kalman")
    return True
