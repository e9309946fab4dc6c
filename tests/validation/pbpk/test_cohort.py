"""Virtual cohorts: what is drawn has the moments asked for, and bodies that close."""

from __future__ import annotations

import numpy as np
import pytest

from galenic import Experiment
from galenic.engine.simulate import Simulator
from galenic.errors import DataError, UnknownName
from galenic.library.patient.covariates import Empirical, Marginal, Summary
from galenic.library.pbpk.cohort import CONDITIONS, Metabolism, columns, virtual_cohort
from galenic.library.pbpk.drugs import alfentanil
from galenic.library.pbpk.growth import person
from galenic.library.pbpk.physiology import physiology

N = 40_000
ADULTS = Summary(
    {
        "age": Marginal(45, 12, 18, 85),
        "weight": Marginal(78, 14, 45, 150, "lognormal"),
        "height": Marginal(172, 8, 145, 205),
    },
    {("weight", "height"): 0.45, ("age", "weight"): 0.15},
)


def test_a_summary_gives_back_its_moments():
    """Within five standard errors of 40,000 persons."""
    table = Summary(
        {"a": Marginal(5.0, 2.0, kind="lognormal"), "b": Marginal(3.0, 1.5, kind="lognormal"),
         "c": Marginal(-1.0, 4.0)},
        {("a", "b"): 0.6, ("a", "c"): -0.4, ("b", "c"): 0.1},
    )  # fmt: skip
    found = table.sample(N, np.random.default_rng(7))

    for name, marginal in table.marginals.items():
        assert found[name].mean() == pytest.approx(marginal.mean, abs=5 * marginal.sd / N**0.5)
        assert found[name].std() == pytest.approx(marginal.sd, rel=0.04)
    for (one, other), value in table.correlations.items():
        assert np.corrcoef(found[one], found[other])[0, 1] == pytest.approx(value, abs=0.03)


def test_bounds_cut_without_heaping():
    """A normal cut at both sides, against the mean of the truncated one in closed form."""
    from scipy.stats import truncnorm

    found = Summary({"x": Marginal(0.0, 1.0, -0.5, 2.0)}).sample(N, np.random.default_rng(3))["x"]

    assert found.min() >= -0.5
    assert found.max() <= 2.0
    assert found.mean() == pytest.approx(truncnorm(-0.5, 2.0).mean(), abs=5 * found.std() / N**0.5)


def test_correlations_that_contradict_each_other_are_refused():
    three = {name: Marginal(0.0, 1.0) for name in "abc"}
    with pytest.raises(DataError, match="contradict each other"):
        Summary(three, {("a", "b"): 0.9, ("b", "c"): 0.9, ("a", "c"): -0.9})
    wide = {name: Marginal(1.0, 3.0, kind="lognormal") for name in "ab"}
    with pytest.raises(DataError, match=r"cannot have a correlation of -0\.9"):
        Summary(wide, {("a", "b"): -0.9})
    with pytest.raises(UnknownName):
        Summary(three, {("a", "d"): 0.1})


def test_persons_like_those_of_a_data_set():
    """Quantiles and rank correlations of the data come back."""
    from scipy.stats import spearmanr

    rng = np.random.default_rng(11)
    weight = rng.gamma(20.0, 3.5, 3000)
    data = {"weight": weight, "age": 20 + rng.exponential(20.0, 3000) + 0.3 * weight}
    found = Empirical.of(data).sample(N, rng)

    for name, values in data.items():
        share = np.linspace(0.05, 0.95, 10)
        assert np.quantile(found[name], share) == pytest.approx(
            np.quantile(values, share), rel=0.02
        )
        assert values.min() <= found[name].min() <= found[name].max() <= values.max()
    ranks = [float(spearmanr(d["weight"], d["age"])[0]) for d in (data, found)]
    assert ranks[1] == pytest.approx(ranks[0], abs=0.03)
    with pytest.raises(DataError, match="weight, row 2"):
        Empirical.of({"weight": [70.0, np.nan, 80.0]})


def test_a_cohort_runs_as_its_persons_do():
    """The table through run_many gives each person's own run; all bodies close."""
    drug = Metabolism(180.0, 1.8, "CYP3A4", 0.4, 0.1, "aag")
    cohort = virtual_cohort(
        12, np.random.default_rng(2), {"all": ADULTS},
        conditions={"healthy": 0.5, "cirrhosis B": 0.25, "kidneys severe": 0.25}, metabolism=drug,
    )  # fmt: skip
    doses = Experiment().dose("A_ven", "1 mg")
    runs = Simulator(alfentanil(physiology("human"))).run_many(
        doses, cohort.table, outputs=["C"], until="8 h", every="1 h", rtol=1e-8
    )

    for i in (0, 5, 11):
        body = cohort.bodies[i]
        own = alfentanil(
            body, fu=float(cohort.table["fu"][i]),
            liver={"CLint": f"{float(cohort.table['liver.CLint'][i])!r} L/h"},
        )  # fmt: skip
        alone = Simulator(own).run(doses, until="8 h", every="1 h", outputs=["C"], rtol=1e-9)
        assert np.asarray(runs["C"][i])[1:] == pytest.approx(np.asarray(alone["C"])[1:], rel=1e-4)
        assert sum(body.volumes.values()) + body.blood == pytest.approx(body.weight)


def test_equal_seeds_give_equal_persons():
    one, other = (virtual_cohort(20, np.random.default_rng(5), {"all": ADULTS}) for _ in range(2))
    assert all(np.array_equal(one.table[name], other.table[name]) for name in one.table)


def test_shares_are_met():
    cohort = virtual_cohort(
        2000, np.random.default_rng(1), {"all": ADULTS}, female=0.3,
        conditions={"healthy": 0.9, "kidneys mild": 0.1},
    )  # fmt: skip
    assert np.mean(cohort.persons["sex"] == "female") == pytest.approx(0.3, abs=0.05)
    ill = cohort.persons["condition"] == "kidneys mild"
    assert ill.mean() == pytest.approx(0.1, abs=0.03)
    assert np.all(cohort.table["kidney.GFR"][ill] <= 75 * 0.06 + 1e-12)


def test_everybody_has_room_in_every_condition():
    shares = dict.fromkeys(CONDITIONS, 1.0 / len(CONDITIONS))
    cohort = virtual_cohort(1500, np.random.default_rng(4), {"all": ADULTS}, conditions=shares)

    assert set(cohort.persons["condition"]) == set(CONDITIONS)
    assert min(cohort.table["rest.Q"]) > 0
    assert min(cohort.table["rest.V"]) > 0


def test_a_row_is_the_body():
    row = columns(person(30, "male"))
    assert row["liver.V"] == pytest.approx(1.8)
    assert row["shunt"] == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conditions": {"healthy": 0.5}}, r"add up to 0\.5"),
        ({"female": 1.5}, "share of women"),
        ({"covariates": {"all": Summary({"age": Marginal(40, 5)})}}, "no weight"),
    ],
)
def test_what_cannot_be_drawn_is_refused(change, message):
    given = {"covariates": {"all": ADULTS}} | change
    with pytest.raises(DataError, match=message):
        virtual_cohort(5, np.random.default_rng(0), **given)
