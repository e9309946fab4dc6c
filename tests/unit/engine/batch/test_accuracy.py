"""The error that is reported, against the error that is there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from galenic.engine import Experiment, Simulator
from galenic.engine.batch.accuracy import mixed_error, sample
from galenic.engine.batch.individuals import Individuals, Place

from ..systems import driven, two_compartment
from .test_lanes import binding


def test_an_error_is_relative_but_not_to_nothing():
    reference = np.array([[[1.0], [100.0], [0.0]]])
    values = np.array([[[1.1], [100.0], [0.01]]])

    error = mixed_error(values, reference)

    assert_allclose(error, [[max(0.1 / 1.1, 0.01 / 0.1)]])
    assert_array_equal(mixed_error(0 * reference, 0 * reference), [[0.0]])
    assert np.isinf(mixed_error(values, 0 * reference)).all()


def test_the_sample_does_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((5000, 3))
    places = tuple(Place("parameter", i, str(i), "1") for i in range(3))
    order = rng.permutation(5000)

    first = sample(Individuals(places, values), 40)
    second = sample(Individuals(places, values[order]), 40)

    assert set(first) == set(order[second])
    assert len(set(first)) == 40
    # spread over the individuals: the mean rank of 40 uniform draws has sd 5000/sqrt(12*40)
    assert abs(first.mean() - 2500) < 4 * 228


@pytest.mark.parametrize("method", ["single", "rodas5p"])
def test_the_accuracy_that_was_asked_for_is_there(method):
    rates = np.geomspace(0.05, 5, 50)
    experiment = Experiment().set("u", 2.0, at=1.0)

    result = Simulator(driven()).run_many(
        experiment, {"k": rates}, until=9, every=0.5, accuracy=1e-7, method=method
    )

    after = np.maximum(result.times - 1.0, 0.0)
    exact = 2.0 * -np.expm1(-rates[:, None] * after) / rates[:, None]
    true = mixed_error(result.values, exact[:, :, None]).max()
    found = result.accuracy
    assert found.holds
    assert found.worst <= 1e-7
    assert found.median <= found.p95 <= found.worst
    assert true <= 2e-7  # the sample is a part of the individuals
    assert result.record.methods[0] == found.method
    assert found.method.rtol < 1e-6
    assert len(found.sampled) == 16


def test_the_reported_error_is_the_true_one():
    """At a loose tolerance the error is far above that of the reference."""
    rates = np.geomspace(0.05, 5, 16)

    result = Simulator(driven()).run_many(
        Experiment().set("u", 2.0, at=1.0), {"k": rates}, until=9, every=0.5, rtol=1e-5,
        accuracy=0.1, method="rodas5p",
    )  # fmt: skip

    after = np.maximum(result.times - 1.0, 0.0)
    exact = 2.0 * -np.expm1(-rates[:, None] * after) / rates[:, None]
    true = mixed_error(result.values, exact[:, :, None]).max()
    assert_allclose(result.accuracy.worst, true, rtol=0.05)
    assert_allclose(result.accuracy.independent, true, rtol=0.9)  # of four of them
    assert result.record.methods[0].rtol == 1e-5


def test_what_cannot_be_had_is_said(caplog):
    result = Simulator(two_compartment()).run_many(
        Experiment().dose("depot", "100 mg"), 3, until="24 h", every="6 h", accuracy=1e-15,
        outputs=["C"], method="single",
    )  # fmt: skip

    assert not result.accuracy.holds
    assert "does not hold" in caplog.text


def test_a_pilot_counts_work_and_is_kept():
    rng = np.random.default_rng(1)
    table = {"kon": 500 * np.exp(rng.standard_normal(300)), "C": rng.uniform(1, 20, 300)}
    simulator = Simulator(binding())
    settings = {"until": "20 d", "every": "1 d", "outputs": ["C"]}

    first = simulator.run_many(None, table, **settings)
    again = simulator.run_many(None, {k: v[::-1] for k, v in table.items()}, **settings)

    choice = first.record.choice
    assert {trial.method for trial in choice.trials} == {"rodas5p", "rodas5"}
    assert all(trial.work > 0 and 0 < trial.error < 1e-3 for trial in choice.trials)
    assert choice == again.record.choice
    assert_array_equal(first.values, again.values[::-1])
    best = min(choice.trials, key=lambda trial: trial.at_equal_error)
    assert choice.method in (best.method, "rodas5p")


def test_few_individuals_need_no_pilot():
    result = Simulator(binding()).run_many(None, 3, until="1 d", every="1 d")

    assert result.record.choice.method == "rodas5p"
    assert not result.record.choice.trials
