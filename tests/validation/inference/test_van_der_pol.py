"""Filters on the Van der Pol oscillator against a particle filter with very many particles.

The bootstrap filter (Gordon, Salmond and Smith, IEE Proc F 140(2):107-113, 1993) converges to the
exact posterior; with 40,000 particles its Monte Carlo error is below 0.02 posterior sd here. The
smaller the noise, the more linear the oscillator is within the posterior, and the nearer the
Gaussian filters must come.
"""

import casadi as ca
import numpy as np
import pytest

from galenic.clock import SECOND
from galenic.inference.estimator import Bundle, Noise, Observation
from galenic.inference.kalman import EKF, UKF
from galenic.inference.mhe import MHE
from galenic.modeling.system import Entry, System
from galenic.units import unit

MU, STEP = 1.0, 0.2


def oscillator() -> System:
    x, empty, one = ca.SX.sym("x", 2), ca.SX(0, 1), unit("1")
    return System(
        name="van der pol",
        t=ca.SX.sym("t"),
        x=x,
        z=empty,
        u=empty,
        p=empty,
        ode=ca.vertcat(x[1], MU * (1 - x[0] ** 2) * x[1] - x[0]),
        alg=empty,
        y=x[0],
        x0=ca.SX(ca.DM([1.0, 0.0])),
        states=(
            Entry("position", "state", one, value=1.0),
            Entry("speed", "state", one, value=0.0),
        ),
        algebraics=(),
        inputs=(),
        parameters=(),
        outputs=(Entry("reading", "output", one),),
    )


def noise(shake, sensor, start):
    return Noise(
        process={"position": 0.0, "speed": shake},
        measurement={"reading": sensor},
        start={"position": start, "speed": start},
    )


def rate(x):
    return np.stack([x[:, 1], MU * (1 - x[:, 0] ** 2) * x[:, 1] - x[:, 0]], axis=1)


def move(x, shake, rng):
    """Half of the noise, ten Runge-Kutta steps, the other half: as the filters define it."""
    half = shake * np.sqrt(STEP / 2)
    x = x + half * np.stack([np.zeros(len(x)), rng.standard_normal(len(x))], axis=1)
    h = STEP / 10
    for _ in range(10):
        k1 = rate(x)
        k2 = rate(x + h / 2 * k1)
        k3 = rate(x + h / 2 * k2)
        k4 = rate(x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x + half * np.stack([np.zeros(len(x)), rng.standard_normal(len(x))], axis=1)


def story(shake, sensor, start):
    """Readings at every third step, and the particle filter's mean and sd after each step."""
    rng = np.random.default_rng(11)
    truth = np.array([[1.0 + 0.75 * start, -0.5 * start]])
    cloud = np.array([1.0, 0.0]) + start * rng.standard_normal((40_000, 2))
    readings, means, sds = [], [], []
    for k in range(1, 61):
        truth, cloud = move(truth, shake, rng), move(cloud, shake, rng)
        reading = truth[0, 0] + sensor * rng.standard_normal() if k % 3 == 0 else None
        if reading is not None:
            log_w = -0.5 * ((reading - cloud[:, 0]) / sensor) ** 2
            w = np.exp(log_w - log_w.max())
            cloud = cloud[rng.choice(len(cloud), len(cloud), p=w / w.sum())]
        readings.append(reading)
        means.append(cloud.mean(axis=0))
        sds.append(cloud.std(axis=0))
    return readings, np.array(means), np.array(sds)


def follow(estimator, readings):
    belief = estimator.start(None, 0)
    means, sds = [], []
    for k, reading in enumerate(readings, start=1):
        time = round(k * STEP * SECOND)
        belief = estimator.predict(belief, time, {})
        if reading is not None:
            belief = estimator.correct(belief, Bundle(time, (Observation("reading", reading),)))
        means.append(belief.mean_vector)
        sds.append(np.sqrt(np.diag(belief.covariance)))
    return np.array(means), np.array(sds)


ESTIMATORS = {
    "UKF": lambda n: UKF(oscillator(), n, gate=None),
    "EKF": lambda n: EKF(oscillator(), n, gate=None),
    "MHE": lambda n: MHE(oscillator(), n, horizon=9, step=STEP),
}
# noise levels, and allowed distance from the exact mean: root mean square, in posterior sd
REGIMES = {
    "mild": ((0.03, 0.05, 0.05), {"UKF": 0.15, "EKF": 0.18, "MHE": 0.08}),
    "rough": ((0.15, 0.3, 0.4), {"UKF": 0.6, "EKF": 0.7, "MHE": 0.25}),
}


@pytest.mark.parametrize("regime", REGIMES)
def test_filters_stay_near_the_exact_posterior(regime):
    """And their spreads agree with the exact ones within a tenth on average."""
    levels, allowed = REGIMES[regime]
    readings, exact, sd = story(*levels)
    distance = {}

    for name, make in ESTIMATORS.items():
        means, sds = follow(make(noise(*levels)), readings)
        distance[name] = np.sqrt(np.mean(((means - exact) / sd) ** 2))
        assert np.exp(np.mean(np.log(sds / sd))) == pytest.approx(1.0, abs=0.1)

    assert all(distance[name] < allowed[name] for name in allowed), distance
    assert distance["MHE"] < distance["UKF"] < distance["EKF"]
