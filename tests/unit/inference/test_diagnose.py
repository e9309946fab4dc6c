"""Diagnostics against scipy, closed forms and quadrature."""

import numpy as np
import pytest
from scipy import integrate, stats

from galenic.inference.diagnose import (
    consistency,
    coverage,
    crps_normal,
    crps_sample,
    innovation_statistics,
    interval_score,
    ljung_box,
    nees,
    pinball,
    share_of,
    skill,
)
from galenic.inference.evidence import Innovation


def test_ljung_box_of_a_short_series_by_hand():
    """Q = n (n+2) sum r_k^2 / (n-k), for 1, 2, 3, 4, 5: r_1 = 0.4, r_2 = -0.1."""
    result = ljung_box([1.0, 2, 3, 4, 5], lags=2)

    assert result.statistic == pytest.approx(35 * (0.16 / 4 + 0.01 / 3))
    assert result.p == pytest.approx(stats.chi2.sf(result.statistic, 2))


def test_ljung_box_keeps_its_level_and_sees_correlation():
    rng = np.random.default_rng(0)
    p = [ljung_box(rng.normal(size=200)).p for _ in range(300)]

    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.035)
    assert ljung_box(np.convolve(rng.normal(size=300), np.ones(4))).p < 1e-6


def test_consistency_names_the_fault():
    rng = np.random.default_rng(0)
    z = rng.normal(size=500) ** 2

    assert consistency(z)["verdict"] == "consistent"
    assert consistency(2 * z)["verdict"] == "overconfident"
    assert consistency(0.5 * z)["verdict"] == "underconfident"


def test_nees_has_the_degrees_of_its_vector():
    rng = np.random.default_rng(0)
    cov = np.array([[2.0, 0.5], [0.5, 1.0]])
    draws = rng.multivariate_normal([0, 0], cov, 2000)

    values = [nees([0, 0], draw, cov) for draw in draws]

    assert np.mean(values) == pytest.approx(2.0, abs=0.15)


def test_share_has_the_clopper_pearson_interval():
    """18 of 20: 0.683 to 0.988 (exact binomial, 95 %)."""
    share = share_of(18, 20)

    assert (share.lower, share.upper) == pytest.approx((0.68302, 0.98765), abs=1e-4)
    assert share.includes(0.9)
    exact = stats.binomtest(18, 20).proportion_ci(method="exact")
    assert (share.lower, share.upper) == pytest.approx((exact.low, exact.high))
    assert share_of(0, 5).lower == 0.0 and share_of(5, 5).upper == 1.0


def test_coverage_counts_what_is_inside():
    assert coverage([0.0, 1.0, 5.0], [-1, 0, 0], [1, 2, 4]).share == pytest.approx(2 / 3)


def test_crps_of_a_normal_is_its_integral():
    def cdf_gap(x):
        return (stats.norm.cdf(x, 1.0, 2.0) - (x >= 2.5)) ** 2

    exact = integrate.quad(cdf_gap, -30, 2.5)[0] + integrate.quad(cdf_gap, 2.5, 30)[0]
    draws = stats.norm.ppf((np.arange(20000) + 0.5) / 20000, 1.0, 2.0)

    assert crps_normal([2.5], [1.0], [2.0]) == pytest.approx(exact, rel=1e-6)
    assert crps_sample(2.5, draws) == pytest.approx(exact, rel=1e-3)


def test_pinball_is_least_at_the_true_quantile():
    draws = np.random.default_rng(0).normal(size=20000)
    scores = {q: pinball(draws, q, 0.9) for q in (0.8, 1.0, 1.2816, 1.6, 2.0)}

    assert min(scores, key=scores.get) == 1.2816
    assert skill(0.5, 2.0) == 0.75
    assert interval_score([3.0], [0.0], [2.0], 0.9)[0] == pytest.approx(2.0 + 20.0)


def test_innovation_statistics_speak_per_quantity():
    rng = np.random.default_rng(2)
    rows = [Innovation("c", 1 + 0.1 * z, 1.0, 0.1, z * z) for z in rng.normal(size=100)]
    rows += [Innovation("w", 9.0, 1.0, 0.1, 6400.0, accepted=False)]

    found = innovation_statistics(rows)

    assert found["c"]["nis"]["verdict"] == "consistent"
    assert found["c"]["whiteness_p"] > 0.01
    assert found["w"] == {"count": 1, "accepted": 0.0}
