"""Many individuals through one history at once, for models with exact steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from galenic.clock import seconds
from galenic.inference.actions import change, segments
from galenic.inference.algebra import Array
from galenic.inference.augment import AugmentedModel
from galenic.inference.belief import Gaussian
from galenic.inference.evidence import Held
from galenic.inference.exact import ExactTransition
from galenic.signals import Action


def goes_together(model: AugmentedModel, start: Gaussian) -> bool:
    """Whether all members start alike and are stepped exactly."""
    return (
        isinstance(model.transition, ExactTransition) and not model.start_slopes(start.centre).any()
    )


def through(
    model: AugmentedModel, start: Gaussian, evidence: Sequence[Any], phi: Array, first: Array
) -> Array:
    """Vectors ``(n, size)`` after the evidence for parameters ``phi`` ``(n, k)``, own scale.

    ``first`` is the derivative of the states by the parameters at the start. Augmented quantities
    are parameters, which stay as they are; levels change nothing.
    """
    *_, (_, _, w) = along(model, start, evidence, phi, first)
    return w


def along(
    model: AugmentedModel, start: Gaussian, evidence: Sequence[Any], phi: Array, first: Array
) -> Iterator[tuple[Any, Gaussian, Array]]:
    """As :func:`through`, stopping at the start (item None) and after each item of the evidence.

    Yields the item, the common time and context, and the vectors, which are moved in place.
    """
    nx = len(model.state_names)
    w = np.repeat(np.asarray(start.centre)[None, :], len(phi), axis=0)
    w[:, :nx] += (phi - start.centre[nx:]) @ first.T
    w[:, nx:] = phi
    here = replace(start, spread=np.zeros_like(start.spread))
    p = np.array([model.arguments(model.natural(row), model.u0)[2] for row in w])
    yield None, here, w
    for item in evidence:
        if isinstance(item, Held):
            here = _hold(model, here, w, p, item)
        elif isinstance(item, Action):
            acted = [
                change(model, replace(here, centre=row), item)[0] for row in _distinct(w, item)
            ]
            here = acted[-1]
            w[:, :nx] = _moved(w, acted, nx)
        yield item, here, w


def _distinct(w: Array, action: Action) -> Array:
    """The members for which an action must be worked out: one, where only an infusion begins."""
    return w[:1] if action.duration > 0 else w


def _moved(w: Array, acted: Sequence[Gaussian], nx: int) -> Array:
    if len(acted) == 1:
        return w[:, :nx]
    return np.array([one.centre[:nx] for one in acted])


def _hold(model: AugmentedModel, here: Gaussian, w: Array, p: Array, item: Held) -> Gaussian:
    """Move all members, in place, to the end of what was held; their common context."""
    nx, transition = len(model.state_names), model.transition
    context = replace(here.context, inputs={**here.context.inputs, **item.inputs})
    for begin, end, running in segments(here.time, item.until, context.running):
        u = model.input_vector(context, running)
        w[:, :nx] = transition.steps(w[:, :nx], u, p, seconds(end - begin))
    running = tuple(i for i in context.running if i.stop > item.until)
    return replace(here, time=item.until, context=replace(context, running=running))
