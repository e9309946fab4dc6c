"""Moving horizon: equal to the filter where it must be, better where bounds or outliers matter."""

import numpy as np
import pytest

from galenic.clock import SECOND
from galenic.errors import DataError, UnknownName
from galenic.inference.augment import Augmented
from galenic.inference.estimator import Bundle, Noise, Observation
from galenic.inference.kalman import EKF
from galenic.inference.linear import LinearTransition
from galenic.inference.mhe import MHE
from galenic.signals import Action

A, B, C = [[-0.1, 0.05], [0.1, -0.2]], [[0.3], [0.0]], [[1.0, 0.0], [1.0, 1.0]]
NOISE = Noise(
    process={"x0": 0.05, "x1": 0.02},
    measurement={"y0": 0.1, "y1": 0.2},
    start={"x0": 0.5, "x1": 0.3},
)


def plant(**options):
    return LinearTransition(A, B, C, [1.0, 2.0], **options)


def drive(estimator, readings, inputs=None):
    """One reading of y0 per second (None is missing), y1 every third."""
    belief = estimator.start(None, 0)
    for k, value in enumerate(readings, start=1):
        belief = estimator.predict(belief, k * SECOND, {"u0": inputs[k - 1] if inputs else 0.2})
        if value is None:
            continue
        observations = [Observation("y0", value)]
        if k % 3 == 0:
            observations.append(Observation("y1", value + 1.8))
        belief = estimator.correct(belief, Bundle(k * SECOND, tuple(observations)))
    return belief


READINGS = [1.0, 1.1, None, 1.05, 1.2, 1.3, 1.15, None, 1.25]


@pytest.mark.parametrize("horizon", [1, 4, 12])
def test_linear_model_gives_the_filter_for_every_horizon(horizon):
    filtered = drive(EKF(plant(), NOISE, gate=None), READINGS)

    belief = drive(MHE(plant(), NOISE, horizon=horizon), READINGS)

    sd = np.sqrt(np.diag(filtered.covariance))
    assert np.abs((belief.mean_vector - filtered.mean_vector) / sd).max() < 1e-4
    assert belief.covariance == pytest.approx(filtered.covariance, rel=1e-6)
    assert belief.notes["status"] == "Solve_Succeeded"
    assert belief.notes["intervals"] == min(horizon, 9)


def test_drifting_log_parameter_and_disturbance_join_the_window():
    """Against the filter on a scale where both are nearly linear."""
    noise = Noise(
        process={"x0": 0.01, "x1": 0.01},
        measurement={"y0": 0.05, "y1": 0.05},
        start={"x0": 0.1, "x1": 0.1, "bias": 0.1, "load": 0.1},
        drift={"bias": 0.01, "load": 0.01},
    )
    slow = [Augmented("bias", acts_on="y1"), Augmented("load", acts_on="u0", reverts_in=20.0)]
    filtered = drive(EKF(plant(), noise, slow, gate=None), READINGS)

    belief = drive(MHE(plant(), noise, slow, horizon=5), READINGS)

    sd = np.sqrt(np.diag(filtered.covariance))
    assert np.abs((belief.mean_vector - filtered.mean_vector) / sd).max() < 1e-4


def test_bounds_hold_in_the_whole_window():
    low = [0.3, 0.1, -0.2, -0.15, -0.1, -0.2]
    estimator = MHE(plant(lower=0.0), NOISE, horizon=6)

    belief = drive(estimator, low, inputs=[-2.0] * 6)

    assert belief.warm["nodes"].min() >= -1e-9
    assert belief.mean_vector.min() >= 0.0


def test_soft_bounds_give_way_under_pressure():
    low = [0.3, 0.1, -0.6, -0.6, -0.6, -0.6]
    hard = drive(MHE(plant(lower=0.0), NOISE, horizon=6), low, [-2.0] * 6)
    soft = drive(MHE(plant(lower=0.0), NOISE, horizon=6, soft=1e-3), low, [-2.0] * 6)
    stiff = drive(MHE(plant(lower=0.0), NOISE, horizon=6, soft=1e7), low, [-2.0] * 6)

    assert soft.warm["nodes"].min() < -0.1
    assert stiff.warm["nodes"].min() == pytest.approx(hard.warm["nodes"].min(), abs=2e-3)


def test_robust_loss_lets_a_wild_reading_go():
    clean, spoilt = list(READINGS), list(READINGS)
    spoilt[5] = 6.0
    plain = MHE(plant(), NOISE, horizon=10)
    robust = MHE(plant(), NOISE, horizon=10, robust=1.5)

    truth = drive(plain, clean).mean("x0")
    assert abs(drive(robust, spoilt).mean("x0") - truth) < 0.06
    assert abs(drive(plain, spoilt).mean("x0") - truth) > 0.15


def test_window_keeps_only_its_horizon_of_evidence():
    belief = drive(MHE(plant(), NOISE, horizon=4), READINGS)

    assert belief.start.time == 5 * SECOND
    assert len(belief.warm["nodes"]) == 5


def test_doses_are_jumps_inside_the_window_and_resets_begin_a_new_one():
    ekf, mhe = EKF(plant(), NOISE, gate=None), MHE(plant(), NOISE, horizon=6)
    beliefs = []
    for estimator in (ekf, mhe):
        belief = estimator.predict(estimator.start(None, 0), SECOND, {})
        belief = estimator.correct(belief, Bundle(SECOND, (Observation("y0", 1.2),)))
        dose = Action("x0", 0.8, "1", SECOND, SECOND, what="dose")
        infusion = Action("u0", 1.5, "s", SECOND, SECOND, what="dose", duration=1.5)
        belief = estimator.act(estimator.act(belief, dose), infusion)
        belief = estimator.correct(belief, Bundle(SECOND, (Observation("y1", 4.1),)))
        belief = estimator.predict(belief, 4 * SECOND, {})
        beliefs.append(estimator.correct(belief, Bundle(4 * SECOND, (Observation("y0", 2.0),))))

    sd = np.sqrt(np.diag(beliefs[0].covariance))
    assert np.abs((beliefs[1].mean_vector - beliefs[0].mean_vector) / sd).max() < 1e-4

    reset = mhe.act(beliefs[1], Action("x1", None, "1", 4 * SECOND, 4 * SECOND, what="reset"))
    assert reset.evidence == () and reset.mean("x1") == 2.0


def test_wrong_settings_are_refused():
    with pytest.raises(DataError, match="horizon"):
        MHE(plant(), NOISE, horizon=0)
    with pytest.raises(UnknownName, match="y0"):
        MHE(plant(), NOISE, measured=["Y0"])
