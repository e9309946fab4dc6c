"""All estimators of galenic pass the public list of checks."""

import pytest

from galenic.errors import DataError
from galenic.inference.check import check_estimator, estimator_checks
from galenic.inference.kalman import EKF, UKF
from galenic.inference.map import MAP
from galenic.inference.mhe import MHE


def moving_horizon(subject, noise):
    return MHE(subject, noise, step=10.0, horizon=4)


def individual(subject, individuals, residual):
    return MAP(subject, individuals, residual)


# factory, kind, tolerance in posterior sd: collocation and IPOPT (1e-9) leave MHE within 1e-4
ESTIMATORS = {
    "EKF": (lambda s, n: EKF(s, n, step=10.0), "gaussian", 1e-8),
    "EKF truncating": (lambda s, n: EKF(s, n, step=10.0, bounds="truncate"), "gaussian", 1e-8),
    "UKF": (lambda s, n: UKF(s, n, step=10.0), "gaussian", 1e-8),
    "UKF with centre": (lambda s, n: UKF(s, n, step=10.0, kappa=1.0), "gaussian", 1e-8),
    "MHE": (moving_horizon, "gaussian", 1e-4),
    "MAP": (individual, "individual", 1e-6),
}
CASES = [
    pytest.param(check, id=f"{name}-{title}")
    for name, case in ESTIMATORS.items()
    for title, check in estimator_checks(*case)
]


@pytest.mark.parametrize("check", CASES)
def test_estimator(check):
    check()


def test_a_broken_estimator_is_caught():
    class Forgetful(EKF):
        def correct(self, belief, bundle):
            return belief

    with pytest.raises(AssertionError):
        check_estimator(lambda s, n: Forgetful(s, n, step=10.0))


def test_unknown_kind_is_refused():
    with pytest.raises(DataError, match="gaussian"):
        check_estimator(EKF, "magic")
