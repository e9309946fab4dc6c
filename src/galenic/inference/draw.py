"""Pictures of studies."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from galenic.engine.trajectory import time_scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from galenic.inference.sobol import Sobol


def bars_and_lines(found: Sobol) -> Figure:
    """One row per quantity: first and total order side by side."""
    from matplotlib.figure import Figure

    groups = [
        [index for index, _ in group]
        for _, group in groupby(enumerate(found.targets), key=lambda pair: pair[1].name)
    ]
    figure = Figure(figsize=(9.0, 2.8 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), 2, squeeze=False, sharey=True)
    for row, group in zip(axes, groups, strict=True):
        parts = (
            ("first order", found.first, found.first_interval),
            ("total order", found.total, found.total_interval),
        )
        for axis, (title, values, interval) in zip(row, parts, strict=True):
            draw = _bars if len(group) == 1 else _lines
            draw(axis, found, group, values, interval)
            axis.set_title(f"{found.targets[group[0]].name}, {title}", fontsize=9)
            axis.set_ylabel("share of variance [1]", fontsize=8)
    return figure


def _bars(axis: Any, found: Sobol, group: list[int], values: Any, interval: Any) -> None:
    target = group[0]
    heights = values[target]
    errors = np.maximum(np.abs(interval[:, target] - heights), 0.0)
    axis.bar(list(found.factors), heights, yerr=errors, color="C0", capsize=3)


def _lines(axis: Any, found: Sobol, group: list[int], values: Any, interval: Any) -> None:
    times = np.array([found.targets[t].time for t in group])
    scale, text = time_scale(float(times[-1]))
    for k, factor in enumerate(found.factors):
        axis.plot(times / scale, values[group, k], label=factor)
        axis.fill_between(
            times / scale, interval[0][group, k], interval[1][group, k], alpha=0.2, linewidth=0
        )
    axis.set_xlabel(f"time [{text}]", fontsize=8)
    axis.legend(fontsize=7)
