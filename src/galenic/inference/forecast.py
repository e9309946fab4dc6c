"""Forecasts from a Gaussian belief: by its own moments, or by members drawn from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from galenic.clock import seconds
from galenic.inference.actions import segments
from galenic.inference.algebra import Array
from galenic.inference.belief import Gaussian
from galenic.inference.estimator import QUANTILES, Forecast, Schedule, forecast_times

if TYPE_CHECKING:
    from galenic.inference.kalman import KalmanFilter


def forecast_linear(
    estimator: KalmanFilter,
    belief: Gaussian,
    until: int,
    every: float,
    inputs: Any,
    names: tuple[str, ...],
    noisy: bool,
) -> Forecast:
    """Mean and covariance moved along the grid; quantiles of the normal (or log-normal)."""
    times = forecast_times(belief.time, until, every)
    walk = follow(estimator, belief, times, Schedule.of(inputs))
    rows = [estimator.observe(here, names) for here in walk]
    mean = np.array([[row[name][0] for name in names] for row in rows])
    sd = np.array([[row[name][1] for name in names] for row in rows])
    if noisy:
        sd = np.hypot(sd, _sensor_noise(estimator, names))
    bands = np.stack([mean + float(ndtri(level)) * sd for level in QUANTILES])
    for k, name in enumerate(names):
        if name in estimator.names and belief.axes[belief.position(name)].is_log:
            bands[:, :, k] = _log_normal_bands(mean[:, k], sd[:, k])
        low, high = estimator.model.bounds_of(name)
        if not noisy:
            bands[:, :, k] = np.clip(bands[:, :, k], low, high)
    return Forecast(times, names, _units(estimator, names), mean, sd, bands)


def follow(
    estimator: KalmanFilter, belief: Gaussian, times: Any, schedule: Schedule
) -> Iterator[Gaussian]:
    """The belief at each of ``times`` under the schedule, without any correction."""
    grid = {int(time) for time in times}
    for stop in sorted(grid | schedule.breaks(belief.time, max(grid))):
        belief = enter(estimator, estimator.predict(belief, stop, {}), schedule)
        if stop in grid:
            yield belief


def enter(estimator: KalmanFilter, belief: Gaussian, schedule: Schedule) -> Gaussian:
    """The belief with the inputs and actions that the schedule has for its time."""
    held = schedule.at(belief.time)
    if held:
        belief = estimator.predict(belief, belief.time, held)
    for action in schedule.due(belief.time):
        belief = estimator.act(belief, action)
    return belief


def forecast_sampled(
    estimator: KalmanFilter,
    belief: Gaussian,
    until: int,
    every: float,
    inputs: Any,
    names: tuple[str, ...],
    noisy: bool,
    points: Array,
    rng: np.random.Generator,
) -> Forecast:
    """Members of the belief moved one by one through the nonlinear model, each with its noise.

    The random walk is drawn on the noise's own terms: half of a step's variance before the step
    and half after it, as in the filters.
    """
    times = forecast_times(belief.time, until, every)
    schedule = Schedule.of(inputs)
    model = estimator.model
    grid = [int(time) for time in times]
    table = []
    for stop in sorted({*grid, *schedule.breaks(belief.time, until)}):
        points = scatter(estimator, belief, points, stop, rng)
        belief, points = _enter_all(estimator, _later(belief, stop), points, schedule)
        if stop in grid:
            u, t = model.input_vector(belief.context), seconds(stop - belief.context.origin)
            table.append([model.measure(w, u, t, names) for w in points])
    drawn = np.array(table)
    if noisy:
        drawn += rng.standard_normal(drawn.shape) * _sensor_noise(estimator, names)
    bands = np.quantile(drawn, QUANTILES, axis=1, method="hazen")
    mean, sd = drawn.mean(axis=1), drawn.std(axis=1, ddof=1)
    return Forecast(times, names, _units(estimator, names), mean, sd, bands)


def scatter(
    estimator: KalmanFilter, belief: Gaussian, points: Array, until: int, rng: np.random.Generator
) -> Array:
    """Members moved from the belief's time to ``until``, each with its own process noise."""
    model = estimator.model
    for begin, end, running in segments(belief.time, until, belief.context.running):
        u = model.input_vector(belief.context, running)
        count = max(1, ceil(seconds(end - begin) / estimator.step - 1e-9))
        dt = seconds(end - begin) / count
        shake = np.sqrt(0.5 * dt * model.rates)
        for k in range(count):
            t = seconds(begin - belief.context.origin) + k * dt
            points = points + shake * rng.standard_normal(points.shape)
            points = np.array([model.advance(w, u, dt, t) for w in points])
            points = points + shake * rng.standard_normal(points.shape)
            if estimator.bounds:
                points = np.clip(points, model.lower, model.upper)
    return points


def _later(belief: Gaussian, time: int) -> Gaussian:
    running = tuple(i for i in belief.context.running if i.stop > time)
    return replace(belief, time=time, context=replace(belief.context, running=running))


def _enter_all(
    estimator: KalmanFilter, belief: Gaussian, points: Array, schedule: Schedule
) -> tuple[Gaussian, Array]:
    """The schedule's inputs and actions of this time, applied to every member."""
    if not schedule.due(belief.time):
        return enter(estimator, belief, schedule), points
    acted = [enter(estimator, replace(belief, centre=w), schedule) for w in points]
    return acted[-1], np.array([one.centre for one in acted])


def _sensor_noise(estimator: KalmanFilter, names: Sequence[str]) -> Array:
    return np.array([estimator.noise.measurement.get(name, 0.0) for name in names])


def _units(estimator: KalmanFilter, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(estimator.model.unit_of(name) for name in names)


def _log_normal_bands(mean: Array, sd: Array) -> Array:
    """Quantiles of a quantity that is normal on the log scale; ``mean`` is its median here."""
    spread = np.divide(sd, mean, out=np.zeros_like(sd), where=mean > 0)
    return np.stack([mean * np.exp(float(ndtri(level)) * spread) for level in QUANTILES])
