"""What is done to a thing, in its belief: inputs that are set, doses, resets.

``Action.what`` is one of

- ``set``: an input is held at the value from now on; a state or augmented quantity is known to
  have it.
- ``dose``: an amount enters. Into a state it is added. Into an input whose unit is that amount
  per time it is spread over ``duration``, or enters at once if there is none.
- ``reset``: a state or augmented quantity goes back to its start (a new lot, a cleaned hopper);
  with a value it restarts there, with the start's uncertainty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from galenic.clock import nanoseconds
from galenic.errors import DataError, UnknownName
from galenic.inference.algebra import Array, positive
from galenic.inference.augment import AugmentedModel
from galenic.inference.belief import Gaussian, Infusion
from galenic.signals import Action
from galenic.units import conversion_error, to_si, unit


def segments(
    start: int, until: int, running: Sequence[Infusion]
) -> Iterator[tuple[int, int, tuple[Infusion, ...]]]:
    """Parts of ``start`` to ``until`` with constant infusions: (begin, end, running)."""
    if until == start:
        return
    stops = sorted({i.stop for i in running if start < i.stop < until})
    edges = [start, *stops, until]
    for begin, end in pairwise(edges):
        yield begin, end, tuple(i for i in running if i.stop > begin)


def apply_action(model: AugmentedModel, belief: Gaussian, action: Action) -> Gaussian:
    """The belief right after ``action``."""
    return change(model, belief, action)[0]


def change(model: AugmentedModel, belief: Gaussian, action: Action) -> tuple[Gaussian, Array]:
    """The belief right after ``action``, and the derivative of its centre by the one before."""
    kinds = {"set": _set, "dose": _dose, "reset": _reset}
    if action.what not in kinds:
        raise DataError(
            f"an action of kind {action.what!r}",
            where=f"act on {action.target}",
            expected=" or ".join(kinds),
        )
    known = (*model.input_names, *model.names)
    if action.target not in known:
        raise UnknownName.among(
            "input, state or augmented quantity", action.target, known, where="act"
        )
    return kinds[action.what](model, replace(belief, innovations=()), action)


def _value(action: Action, declared: str, per_time: bool = False) -> float:
    """The action's value in SI, its dimension checked against the target's unit."""
    wanted = unit(declared) * unit("s") if per_time else unit(declared)
    if action.value is None or isinstance(action.value, str):
        raise DataError(
            f"the value is {action.value!r}",
            where=f"{action.what} of {action.target}",
            expected=f"a number in {wanted.text}",
        )
    given = unit(action.unit)
    if not given.same_dimension(wanted):
        error = conversion_error(given, wanted)
        error.where = f"{action.what} of {action.target}"
        raise error
    value = float(to_si(float(action.value), given))
    if not np.isfinite(value):
        raise DataError(f"the value is {value}", where=f"{action.what} of {action.target}")
    return value


def _set(model: AugmentedModel, belief: Gaussian, action: Action) -> tuple[Gaussian, Array]:
    if action.target in model.names:
        value = _value(action, model.unit_of(action.target))
        return place(belief, model, action.target, value, 0.0)
    declared = model.system.inputs[model.input_names[action.target]].unit.text
    held = {**belief.context.inputs, action.target: _value(action, declared)}
    return belief.with_context(inputs=held), np.eye(model.size)


def _dose(model: AugmentedModel, belief: Gaussian, action: Action) -> tuple[Gaussian, Array]:
    same = np.eye(model.size)
    if action.target in model.names:
        if action.duration > 0:
            raise DataError(
                f"a dose over {action.duration:g} s into the state {action.target}",
                where=f"dose of {action.target}",
                expected="an input of role dose, or no duration",
            )
        i = model.positions[action.target]
        centre = belief.centre.copy()
        centre[i] += _value(action, model.unit_of(action.target))
        return replace(belief, centre=centre), same
    index = model.input_names[action.target]
    amount = _value(action, model.system.inputs[index].unit.text, per_time=True)
    if action.duration > 0:
        stop = belief.time + nanoseconds(action.duration)
        infusion = Infusion(action.target, amount / action.duration, stop)
        return belief.with_context(running=(*belief.context.running, infusion)), same
    return _inject(model, belief, index, amount)


def _inject(
    model: AugmentedModel, belief: Gaussian, index: int, amount: float
) -> tuple[Gaussian, Array]:
    """An amount through an input at once: the states jump by (d rate / d input) * amount."""
    jump, slopes = model.entry_jump(belief.centre, belief.context, belief.time, index)
    nx = len(jump)
    centre, moved = belief.centre.copy(), np.eye(model.size)
    centre[:nx] += amount * jump
    moved[:nx] += amount * slopes
    return replace(belief, centre=centre, spread=positive(moved @ belief.spread @ moved.T)), moved


def _reset(model: AugmentedModel, belief: Gaussian, action: Action) -> tuple[Gaussian, Array]:
    if action.target not in model.names:
        raise UnknownName.among("state or augmented quantity", action.target, model.names)
    i = model.positions[action.target]
    centre, sd = model.start_values()
    value = float(model.natural(centre)[i])
    if action.value is not None:
        value = _value(action, model.unit_of(action.target))
    return place(belief, model, action.target, value, float(sd[i]))


def place(
    belief: Gaussian, model: AugmentedModel, name: str, value: float, sd: float
) -> tuple[Gaussian, Array]:
    """The belief with one quantity at ``value`` [SI], uncorrelated; sd on the axis' own scale."""
    i = model.positions[name]
    if belief.axes[i].is_log and not value > 0:
        raise DataError(f"{name} is set to {value}", expected="a positive value")
    centre, spread = belief.centre.copy(), belief.spread.copy()
    centre[i] = np.log(value) if belief.axes[i].is_log else value
    spread[i, :] = 0.0
    spread[:, i] = 0.0
    spread[i, i] = sd**2
    forgotten = np.eye(model.size)
    forgotten[i, i] = 0.0
    return replace(belief, centre=centre, spread=spread), forgotten
