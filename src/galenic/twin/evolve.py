"""Evolution: new parameters or a new model version for a running twin, without a bump.

The belief is carried over by name. A quantity that both models have, in the same dimension and on
the same scale, keeps its mean, its spread and its correlations with the others that are kept; a
new one starts as its model says; one that is gone is dropped. What was folded before stays as it
is: data older than the change no longer rewinds past it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from galenic.inference.belief import Belief, Gaussian
from galenic.signals import Command, Effect, Record
from galenic.twin.definition import TwinDefinition
from galenic.twin.versions import Evolved, successor
from galenic.units import unit

if TYPE_CHECKING:
    from galenic.twin.twin import Twin


def evolve(
    twin: Twin,
    definition: TwinDefinition | None,
    values: Mapping[str, Any] | None,
    command: Command,
) -> list[Effect]:
    """Change a twin to a new definition or new values; the change is recorded with both hashes.

    The entry carries the new definition, which is kept in the records together with it.
    """
    old, state = twin.belief, twin.fold.state
    before = twin.definition.identity(twin.values)
    kept_definition, kept_values, targets = twin.definition, twin.values, twin.targets
    fresh_values = {**twin.values, **(values or {})}
    if definition is not None:
        definition = successor(twin.definition, definition)
    try:
        twin._install(definition or twin.definition, fresh_values)
        fresh = twin.estimator.start(None, state.time)
        belief, known = carried(old, fresh)
        fold = twin._new_fold(state.time, belief)
    except Exception:
        twin._install(kept_definition, kept_values)
        twin.targets = targets
        raise
    inputs = {
        path: state.inputs.get(path, value) for path, value in fold.checkpoints[0].inputs.items()
    }
    # In the form in which the estimator keeps its beliefs, with what is still running.
    began = fold.checkpoints[0].belief.with_context(
        origin=old.context.origin,
        running=tuple(i for i in old.context.running if i.path in inputs),
        inputs={path: v for path, v in old.context.inputs.items() if path in inputs},
    )
    start = replace(state, belief=began, inputs=inputs, monitor=type(state.monitor)())
    fold.restored(start, (), twin.fold.watermark)
    fold.bypasses = twin.fold.bypasses
    twin.fold = fold
    twin.targets = {**twin.targets, **{k: v for k, v in targets.items() if k in twin.entries}}
    tags = {tag: min(twin.levels.tags.get(tag, c), c) for tag, c in twin._ceilings().items()}
    twin.levels = replace(twin.levels, ceilings=twin._ceilings(), tags=tags)
    twin.acting.task, twin.acting.proposal = "", {}
    detail = {
        "before": before,
        "after": twin.definition.identity(twin.values),
        "version": twin.definition.version,
        "values": {path: str(value) for path, value in (values or {}).items()},
        "kept": list(known),
        "new": [name for name in belief.names if name not in known],
        "dropped": [name for name in old.names if name not in belief.names],
    }
    if command.key:
        detail["key"] = command.key
    kept = Evolved(detail, twin.definition)
    return [Record("evolve", command.time, twin.id, kept, command.who, command.reason)]


def carried(old: Belief, fresh: Belief) -> tuple[Belief, tuple[str, ...]]:
    """``fresh`` with everything that ``old`` knows by name, and the names that were kept.

    A belief that is not Gaussian on both sides is carried by mean and covariance.
    """
    was = {axis.name: (i, axis) for i, axis in enumerate(old.axes)}
    pairs = [
        (i, was[axis.name][0])
        for i, axis in enumerate(fresh.axes)
        if axis.name in was
        and unit(was[axis.name][1].unit or "1").dimension == unit(axis.unit or "1").dimension
        and was[axis.name][1].transform == axis.transform
    ]
    to, of = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    centre, spread = _moments(fresh)
    old_centre, old_spread = _moments(old)
    centre[to] = old_centre[of]
    spread[to, :] = 0.0
    spread[:, to] = 0.0
    spread[np.ix_(to, to)] = old_spread[np.ix_(of, of)]
    names = tuple(fresh.names[i] for i in to)
    context = replace(fresh.context, origin=old.context.origin, running=old.context.running)
    return Gaussian(fresh.time, fresh.axes, centre, spread, context), names


def _moments(belief: Belief) -> tuple[Any, Any]:
    if isinstance(belief, Gaussian):
        return np.array(belief.centre), np.array(belief.spread)
    return np.array(belief.mean_vector), np.array(belief.covariance)
