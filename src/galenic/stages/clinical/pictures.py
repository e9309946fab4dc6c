"""The usual pictures of a population fit as plots of a result, which every surface draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from galenic.inference.mixed.residuals import Residuals
from galenic.inference.mixed.vpc import Check
from galenic.twin.result import Axis, Plot, Series

if TYPE_CHECKING:
    from galenic.inference.mixed.fit import Fit

HOUR = 3600.0
BINS = 9  # of histograms, more with many subjects
REACH = 3.2  # sd of a random effect that are shown


def fit(found: Fit, every: Residuals) -> list[Plot]:
    """Goodness of fit by endpoint, random effects, the search."""
    plots: list[Plot] = []
    for e, (output, unit) in enumerate(found.problem.records.endpoints):
        plots += _goodness(every, e, output, unit)
    return [*plots, *_effects(found), *_search(found)]


def _goodness(every: Residuals, endpoint: int, output: str, unit: str) -> list[Plot]:
    mine = (every.endpoint == endpoint) & ~every.censored
    time, dv, cwres = every.time[mine] / HOUR, every.dv[mine], every.cwres[mine]
    plots = []
    for name, x, what in (
        ("individual", every.ipred[mine], "IPRED"),
        ("population", every.pred[mine], "PRED"),
    ):
        order = np.argsort(x, kind="stable")
        series = (
            Series("DV", dv[order].tolist(), unit, "measured"),
            Series("identity", x[order].tolist(), unit, "predicted"),
        )
        title = f"{output} against {name} predictions"
        plots.append(Plot(title, Axis(what, x[order].tolist(), unit), series))
    for name, x, axis_unit in (("time", time, "h"), ("PRED", every.pred[mine], unit)):
        order = np.argsort(x, kind="stable")
        weighted = Series("CWRES", cwres[order].tolist(), "1", "measured")
        title = f"{output}: conditional weighted residuals against {name}"
        plots.append(Plot(title, Axis(name, x[order].tolist(), axis_unit), (weighted,)))
    return plots


def _effects(found: Fit) -> list[Plot]:
    """How modes of random effects lie, over the normal curve of the population."""
    terms = [term.parameter for term in found.problem.population.between]
    sd = np.sqrt(np.diag(found.point.omega))
    plots = []
    for k, term in enumerate(terms):
        eta = np.asarray(found.effects)[:, k]
        if not sd[k] > 0:
            continue
        most = max(REACH * sd[k], float(np.abs(eta).max()))
        bins = max(BINS, int(1.5 * np.sqrt(len(eta))))
        edges = np.linspace(-most, most, bins + 1)
        density, _ = np.histogram(eta, edges, density=True)
        x = np.unique(np.concatenate([np.linspace(-most, most, 81), edges]))
        place = np.clip(np.searchsorted(edges, x, "right") - 1, 0, bins - 1)
        normal = np.exp(-0.5 * (x / sd[k]) ** 2) / (sd[k] * np.sqrt(2 * np.pi))
        series = (
            Series("subjects", density[place].tolist(), "1", "line"),
            Series("population", normal.tolist(), "1", "predicted"),
        )
        shrunk = 100 * found.shrinkage[term]
        title = f"random effect of {term}, shrinkage {shrunk:.0f} %"
        plots.append(Plot(title, Axis("eta", x.tolist(), "1"), series))
    return plots


def _search(found: Fit) -> list[Plot]:
    """The objective over the iterations, where the method has one."""
    if len(found.trace) < 2:
        return []
    steps = [float(i) for i in range(len(found.trace))]
    series = (Series("objective", [float(v) for v in found.trace], "1", "estimated"),)
    return [Plot("the search", Axis("iteration", steps, "1"), series)]


def percentiles(panel: Check, unit: str = "") -> Plot:
    """A visual predictive check: bands of simulated percentiles, lines of those observed."""
    hours = [float(t) / HOUR for t in panel.time]
    series: list[Any] = []
    for k, level in enumerate(panel.levels):
        name = f"{100 * level:g} %"
        series.append(
            Series(
                f"simulated {name}", panel.middle[k].tolist(), unit, "predicted",
                lower=panel.low[k].tolist(), upper=panel.high[k].tolist(),
            )
        )  # fmt: skip
        series.append(Series(f"observed {name}", panel.observed[k].tolist(), unit, "estimated"))
    title = f"{panel.title}: visual predictive check"
    return Plot(title, Axis("time", hours, "h"), tuple(series))
