"""Estimate what a tank does not show, its rate constant, from noisy concentrations.

python examples/estimate_tank.py [tank.png]
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

from galenic import Input, Model, Parameter, State, der
from galenic.clock import SECOND
from galenic.inference.augment import Augmented
from galenic.inference.estimator import Bundle, Noise, Observation
from galenic.inference.kalman import EKF


class Tank(Model):
    """Ideally mixed tank in which A decays by first order."""

    V = Parameter(10.0, "L", "liquid volume", lower=0)
    k = Parameter(0.2, "1/min", "rate constant", lower=0)
    flow = Input(1.0, "L/min", "flow in and out", lower=0)
    feed = Input(2.0, "mol/L", "concentration of the feed", lower=0)
    c = State(1.0, "mol/L", "concentration of A", lower=0)

    def equations(m):
        yield der(m.c) == m.flow / m.V * (m.feed - m.c) - m.k * m.c


TRUE_K = 0.12  # 1/min; the model believes 0.2
SD = 20.0  # of a reading, mol/m3
NOISE = Noise(process={"c": 1.0}, measurement={"c": SD}, start={"c": 50.0})
AGEING = Augmented("k", log=True, sd=0.3, drift=0.003)  # it drifts: the estimator follows


def main(picture: str = "tank.png") -> None:
    rng = np.random.default_rng(1)
    ekf = EKF(Tank().flatten(), NOISE, augmented=[AGEING], step=10.0)
    belief = ekf.start(None, 0)
    inputs = {"flow": 1e-3 / 60, "feed": 2000.0}  # SI
    real = Tank(k=f"{TRUE_K} 1/min").simulate("60 min", every="10 s")  # the thing itself
    times, readings = real.times[1:], real.si("c")[1:] + rng.normal(0, SD, len(real) - 1)
    rows = []
    for time, reading in zip(times, readings, strict=True):
        now = int(time * SECOND)
        belief = ekf.predict(belief, now, inputs)
        belief = ekf.correct(belief, Bundle(now, (Observation("c", reading, SD),)))
        rows.append([belief.mean("k"), *belief.interval("k", 0.9)])
    k, low, high = 60 * np.array(rows).T

    figure, (above, below) = plt.subplots(2, sharex=True, layout="constrained")
    minutes = times / 60
    above.plot(minutes, readings / 1000, ".", color="grey", label="measured")
    above.plot(minutes, real["c"][1:], label="true")
    below.fill_between(minutes, low, high, alpha=0.3, label="90 % interval")
    below.plot(minutes, k, label="estimated")
    below.axhline(TRUE_K, color="black", linestyle=":", label="true")
    above.set_ylabel("c [mol/L]")
    below.set(ylabel="k [1/min]", xlabel="time [min]")
    for axis in (above, below):
        axis.legend()
    figure.savefig(picture)
    print(f"k = {k[-1]:.3f} ({low[-1]:.3f} to {high[-1]:.3f}) 1/min, true {TRUE_K:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
