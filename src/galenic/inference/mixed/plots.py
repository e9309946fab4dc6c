"""The usual pictures of a fit, each from one call, as matplotlib figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from galenic.inference.algebra import Array
from galenic.inference.mixed.residuals import Residuals, residuals
from galenic.inference.mixed.simulate import curves
from galenic.inference.mixed.vpc import Check

if TYPE_CHECKING:
    from galenic.inference.mixed.fit import Fit

HOUR = 3600.0
POINT = {"s": 9, "alpha": 0.6, "color": "#2b6ca3", "linewidths": 0}
TREND, LINE = "#c0392b", "#888888"


def goodness(fit: Fit, of: Residuals | None = None, endpoint: int = 0) -> Any:
    """DV against PRED and IPRED, residuals against time and PRED, and NPDE."""
    figure, axes = _figure(2, 3)
    every = of or residuals(fit)
    mine = (every.endpoint == endpoint) & ~every.censored
    name = fit.problem.records.endpoints[endpoint][0]
    for axis, x, label in ((axes[0, 0], every.pred, "PRED"), (axes[0, 1], every.ipred, "IPRED")):
        _scatter(axis, x[mine], every.dv[mine], label, "DV", unity=True)
    hours = every.time[mine] / HOUR
    _scatter(axes[0, 2], every.ipred[mine], np.abs(every.iwres[mine]), "IPRED", "|IWRES|")
    _scatter(axes[1, 0], hours, every.cwres[mine], "time [h]", "CWRES", zero=True)
    _scatter(axes[1, 1], every.pred[mine], every.cwres[mine], "PRED", "CWRES", zero=True)
    z = every.npde[mine] if np.isfinite(every.npde[mine]).any() else every.cwres[mine]
    _normal(axes[1, 2], z, "NPDE" if np.isfinite(every.npde[mine]).any() else "CWRES")
    figure.suptitle(name)
    return figure


def effects(fit: Fit) -> Any:
    """Histograms of the modes of random effects over the normal curve of the population."""
    terms = [t.parameter for t in fit.problem.population.between]
    figure, axes = _figure(-(-max(len(terms), 1) // 3), 3)
    sd = np.sqrt(np.diag(fit.point.omega))
    for k, axis in enumerate(axes.flat):
        if k >= len(terms):
            axis.set_visible(False)
            continue
        eta = fit.effects[:, k]
        axis.hist(eta, bins=max(5, int(np.sqrt(len(eta)) * 1.5)), density=True, color="#9dc3e0")
        x = np.linspace(-3.2 * sd[k], 3.2 * sd[k], 100)
        axis.plot(x, np.exp(-0.5 * (x / sd[k]) ** 2) / (sd[k] * np.sqrt(2 * np.pi)), color=TREND)
        shrunk = 100 * fit.shrinkage[terms[k]]
        axis.set_title(f"{terms[k]}, shrinkage {shrunk:.0f} %", fontsize=9)
    return figure


def against_covariates(fit: Fit) -> Any:
    """Modes of random effects against covariates, what is left for covariates to explain."""
    terms = [t.parameter for t in fit.problem.population.between]
    names = fit.problem.records.covariates
    figure, axes = _figure(max(len(terms), 1), max(len(names), 1))
    for i, term in enumerate(terms):
        for j, name in enumerate(names):
            x = np.array([one.covariates[0, j] for one in fit.problem.course.people])
            _scatter(axes[i, j], x, fit.effects[:, i], f"{name} [SI]", f"eta of {term}", zero=True)
    return figure


def individuals(fit: Fit, endpoint: int = 0, most: int = 16) -> Any:
    """Observations of each individual with its own and the typical curve."""
    course = fit.problem.course
    times, typical, own = curves(fit, endpoint)
    count = min(most, len(course))
    columns = min(4, count)
    figure, axes = _figure(-(-count // columns), columns)
    for i, axis in enumerate(axes.flat):
        if i >= count:
            axis.set_visible(False)
            continue
        one = course.people[i]
        axis.plot(times[i] / HOUR, typical[i], color=LINE, linewidth=0.8, linestyle="--")
        axis.plot(times[i] / HOUR, own[i], color=TREND, linewidth=1.0)
        mine = (one.endpoint == endpoint) & ~one.censored
        axis.scatter(one.times[mine] / HOUR, one.values[mine], **POINT)
        axis.set_title(one.id, fontsize=8)
    return figure


def predictive(panels: list[Check], log: bool = False) -> Any:
    """Visual predictive checks: bands of simulated percentiles, lines of those observed."""
    figure, axes = _figure(1, len(panels))
    for axis, panel in zip(axes.flat, panels, strict=True):
        hours = panel.time / HOUR
        for k, level in enumerate(panel.levels):
            colour = TREND if level == 0.5 else "#2b6ca3"
            axis.fill_between(hours, panel.low[k], panel.high[k], color=colour, alpha=0.22)
            axis.plot(hours, panel.observed[k], color=colour, linewidth=1.4)
        axis.scatter(panel.points[0] / HOUR, panel.points[1], **{**POINT, "alpha": 0.25})
        axis.set_title(panel.title, fontsize=9)
        axis.set_xlabel("time [h]")
        if log:
            axis.set_yscale("log")
    return figure


def trace(fit: Fit) -> Any:
    """The objective, or for SAEM the estimates, over the search."""
    path = fit.notes.get("path")
    if path is None:
        figure, axes = _figure(1, 1)
        axes[0, 0].plot(fit.trace, color=TREND)
        axes[0, 0].set_xlabel("iteration")
        axes[0, 0].set_ylabel("objective")
        return figure
    rows = np.array([fit.problem.packing.natural(xi) for xi in path])
    names = fit.problem.names
    figure, axes = _figure(-(-len(names) // 4), 4)
    for k, axis in enumerate(axes.flat):
        axis.set_visible(k < len(names))
        if k < len(names):
            axis.plot(rows[:, k], color=TREND, linewidth=0.8)
            axis.set_title(names[k], fontsize=8)
    return figure


def svg(figure: Any) -> str:
    """A figure as SVG text."""
    from io import StringIO

    out = StringIO()
    figure.savefig(out, format="svg")
    text = out.getvalue()
    return text[text.index("<svg") :]


def _figure(rows: int, columns: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    width, height = 3.2 * columns, 2.7 * rows
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        left=0.6 / width, right=1 - 0.15 / width, bottom=0.5 / height, top=1 - 0.4 / height,
        wspace=0.28, hspace=0.38,
    )  # fmt: skip
    for axis in axes.flat:
        axis.tick_params(labelsize=7)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return figure, axes


def _scatter(
    axis: Any, x: Array, y: Array, label: str, up: str, unity: bool = False, zero: bool = False
) -> None:
    axis.scatter(x, y, **POINT)
    if unity and len(x):
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        axis.plot(ends, ends, color=LINE, linewidth=0.8)
    if zero:
        axis.axhline(0.0, color=LINE, linewidth=0.8)
    if not unity and len(x) > 8 and np.ptp(x) > 0:
        order = np.argsort(x)
        axis.plot(*_smooth(x[order], y[order]), color=TREND, linewidth=1.2)
    axis.set_xlabel(label, fontsize=8)
    axis.set_ylabel(up, fontsize=8)


def _smooth(x: Array, y: Array) -> tuple[Array, Array]:
    """Local lines with tricube weights over two thirds of the points."""
    size = max(3, int(0.67 * len(x)))
    grid = np.unique(np.quantile(x, np.linspace(0, 1, 25)))
    found = []
    for at in grid:
        distance = np.abs(x - at)
        reach = max(np.partition(distance, size - 1)[size - 1], 1e-12)
        weight = np.maximum(1 - (distance / reach) ** 3, 0.0) ** 3 + 1e-9
        centre, level = np.average(x, weights=weight), np.average(y, weights=weight)
        spread = np.average((x - centre) ** 2, weights=weight)
        slope = np.average((x - centre) * (y - level), weights=weight) / max(spread, 1e-300)
        found.append(level + slope * (at - centre))
    return grid, np.array(found)


def _normal(axis: Any, z: Array, label: str) -> None:
    from scipy.special import ndtri

    ordered = np.sort(z[np.isfinite(z)])
    share = (np.arange(len(ordered)) + 0.5) / max(len(ordered), 1)
    _scatter(axis, ndtri(share), ordered, "normal quantile", label, unity=True)
