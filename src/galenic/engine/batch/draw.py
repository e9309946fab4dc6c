"""Pictures of many individuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from galenic.engine.trajectory import time_scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from galenic.engine.batch.result import Trajectories


def bands(
    trajectories: Trajectories, paths: Sequence[Any], quantiles: Sequence[float], columns: int
) -> Figure:
    """Small multiples: the middle quantile as a line, pairs around it as bands."""
    from matplotlib.figure import Figure

    wide = min(columns, max(len(paths), 1))
    rows = -(-len(paths) // wide)
    figure = Figure(figsize=(5.0 * wide, 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, wide, squeeze=False, sharex=True)
    order = sorted(quantiles)
    found = trajectories.quantiles(order)
    scale, text = time_scale(float(trajectories.times[-1]))
    for axis, path in zip(axes.flat, paths, strict=False):
        place = trajectories.frame.place(path)
        column, values = trajectories.columns[place], np.asarray(found[:, :, place])
        for low in range(len(order) // 2):
            high = len(order) - 1 - low
            label = f"{100 * order[low]:g} to {100 * order[high]:g} %"
            axis.fill_between(
                trajectories.times / scale, values[low], values[high],
                color="C0", alpha=0.2 + 0.15 * low, linewidth=0, label=label,
            )  # fmt: skip
        if len(order) % 2:
            middle = len(order) // 2
            label = "median" if order[middle] == 0.5 else f"{100 * order[middle]:g} %"
            axis.plot(trajectories.times / scale, values[middle], color="C0", label=label)
        axis.set_title(column.meaning or column.path, fontsize=9)
        axis.set_ylabel(f"{column.path} [{column.unit.text}]", fontsize=8)
    axes.flat[0].legend(fontsize=7)
    for axis in axes.flat[len(paths) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel(f"time [{text}]", fontsize=8)
    return figure
