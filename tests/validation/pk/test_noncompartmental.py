"""Noncompartmental analysis against closed forms and printed values of real profiles."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from galenic.errors import DataError
from galenic.library.pk import noncompartmental as nca
from galenic.stages.clinical.services import noncompartmental

K, V, DOSE = 0.1, 20.0, 500.0


def table(time, level):
    return "time,level\n" + "\n".join(
        f"{t!r},{c!r}" for t, c in zip(map(float, time), map(float, level), strict=True)
    )


def observed(shared_data, number):
    with (shared_data / "osp-observed/midazolam_observations.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["profile"] == str(number)]
    return [float(r["time"]) for r in rows], [float(r["value"]) for r in rows]


@pytest.mark.parametrize(
    ("number", "route", "printed"),
    [
        (48, "bolus", {"Cmax": 0.041397, "AUClast": 0.03741895, "lambda_z": 0.160336,
                       "AUCinf": 0.0378303}),
        (50, "extravascular", {"Cmax": 0.008556, "Tmax": 0.5, "AUClast": 0.02252938,
                               "lambda_z": 0.149911, "AUCinf": 0.02286614}),
    ],
)  # fmt: skip
def test_midazolam_has_the_printed_values_of_case_v15(shared_data, number, route, printed):
    result = noncompartmental(
        levels=table(*observed(shared_data, number)), route=route, points=4, start="measured"
    )

    for name, value in printed.items():
        assert result[name] == pytest.approx(value, rel=2e-5), name  # five digits are printed


def test_a_level_of_zero_at_the_dose_adds_the_printed_area(shared_data):
    result = noncompartmental(levels=table(*observed(shared_data, 50)), points=4)

    assert result["AUClast"] == pytest.approx(0.02317279, abs=1e-8)


def test_bioavailability_of_midazolam_is_that_of_case_v15(shared_data):
    areas = [
        noncompartmental(levels=table(*observed(shared_data, n)), points=4, start="measured")
        for n in (48, 50)
    ]

    assert areas[1]["AUCinf"] / 3.0 / (areas[0]["AUCinf"] / 1.0) == pytest.approx(0.2015, abs=5e-5)


def test_a_bolus_in_one_compartment_gives_its_own_parameters():
    """The logarithmic rule is exact on an exponential, so nothing but rounding is left."""
    time = np.array([0.5, 1.0, 3.0, 8.0, 20.0, 40.0])

    result = noncompartmental(
        levels=table(time, DOSE / V * np.exp(-K * time)), dose=DOSE, route="bolus"
    )

    assert result["CL"] == pytest.approx(K * V, rel=1e-10)
    assert result["Vss"] == pytest.approx(V, rel=1e-10)
    assert result["Vz"] == pytest.approx(V, rel=1e-10)
    assert result["MRT"] == pytest.approx(1 / K, rel=1e-10)
    assert result["half-life"] == pytest.approx(math.log(2) / K, rel=1e-10)
    assert result["AUMCinf"] == pytest.approx(DOSE / V / K**2, rel=1e-10)
    assert result["C0"] == pytest.approx(DOSE / V, rel=1e-10)
    assert result["Cmax"] == pytest.approx(DOSE / V * np.exp(-K * 0.5))  # measured, not read off


def test_an_infusion_takes_half_its_length_from_the_residence_time():
    length, time = 2.0, np.concatenate([np.linspace(0, 2, 401), [3, 5, 9, 20, 40]])
    rate = DOSE / length
    level = rate / (K * V) * np.where(
        time <= length, 1 - np.exp(-K * time),
        (1 - np.exp(-K * length)) * np.exp(-K * (time - length)),
    )  # fmt: skip

    result = noncompartmental(
        levels=table(time, level), dose=DOSE, route="infusion", infusion="2 h"
    )

    # The rising limb is cut into 400 straight pieces of width h: error h^2 k^2 / 12 < 1e-7.
    assert result["MRT"] == pytest.approx(1 / K, rel=1e-6)
    assert result["Vss"] == pytest.approx(V, rel=1e-6)


def test_steady_state_gives_the_parameters_of_the_single_dose():
    interval, time = 12.0, np.array([0.0, 1.0, 3.0, 6.0, 9.0, 12.0])
    level = DOSE / V * np.exp(-K * time) / (1 - np.exp(-K * interval))

    result = noncompartmental(levels=table(time, level), dose=DOSE, route="bolus", interval="12 h")

    assert result["CL"] == pytest.approx(K * V, rel=1e-10)
    assert result["MRT"] == pytest.approx(1 / K, rel=1e-10)
    assert result["Cavg"] == pytest.approx(DOSE / (K * V) / interval, rel=1e-10)
    swing = (level[0] - level[-1]) / result["Cavg"]
    assert result["fluctuation"] == pytest.approx(100 * swing, rel=1e-10)


@pytest.mark.parametrize("times", [[0, 1, 4, 10, 14], [0, 1, 4, 10]])
def test_the_end_of_an_interval_is_found_between_and_beyond_levels(times):
    time = np.array(times, float)

    result = noncompartmental(levels=table(time, np.exp(-K * time)), route="bolus", interval="12 h")

    assert result["AUCtau"] == pytest.approx((1 - np.exp(-K * 12)) / K, rel=1e-10)


def test_extrapolation_below_the_interval_of_the_slope_holds_the_truth_as_often_as_it_says():
    """Coverage of lambda_z over 400 noisy profiles; 0.95 with a sampling sd of 0.011."""
    rng, time = np.random.default_rng(3), np.array([1.0, 4.0, 8.0, 12.0, 24.0, 36.0])
    inside = 0
    for _ in range(400):
        level = np.exp(-K * time + 0.1 * rng.standard_normal(time.size))
        found = nca.terminal(nca.profile(time, level), "bolus", points=6)
        inside += found.lower < K < found.upper

    assert 0.915 < inside / 400 < 0.985


def test_values_below_the_limit_follow_the_rule():
    time, level = [0, 1, 2, 3, 4, 5], [0.1, 3, 0.4, 2, 1, 0.2]

    standard, zero, missing = (
        nca.profile(time, level, 0.5, rule) for rule in ("standard", "zero", "missing")
    )

    assert standard.time.tolist() == [0, 1, 3, 4]
    assert standard.level.tolist() == [0, 3, 2, 1]
    assert zero.level.tolist() == [0, 3, 0, 2, 1, 0]
    assert missing.time.tolist() == [1, 3, 4]
    assert [p.time[p.last] for p in (standard, zero, missing)] == [4, 4, 4]


def test_the_limit_and_the_dose_are_read_in_their_units():
    text = table([0, 1, 2, 3, 4, 5], [0.1, 4, 3, 2, 1, 0.2])

    result = noncompartmental(levels=text, limit="500 ug/L", dose="0.1 g")

    assert result["Tlast"] == 4
    assert "below the limit and left out: 1" in result.text
    assert result["CL/F"] == pytest.approx(100 / result["AUCinf"])


def test_more_points_are_preferred_where_the_slope_is_as_good():
    time = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 12.0])
    level = np.exp(-K * time)
    level[0] = 5.0  # a distribution phase of one point

    assert nca.terminal(nca.profile(time, level), "bolus").count == 5


def test_doubts_are_flagged():
    time = np.array([0.0, 1.0, 2.0, 3.0])

    result = noncompartmental(levels=table(time, np.exp(-0.01 * time)), route="bolus")

    assert "% of the area is extrapolated" in result.text
    assert "covers only 0.0 half-lives" in result.text


def test_levels_that_do_not_fall_have_no_slope():
    result = noncompartmental(levels=table([0, 1, 2, 3], [1, 2, 3, 4]), route="extravascular")

    assert "no terminal slope" in result.text
    assert "AUCinf" not in result.values
    assert result["AUClast"] == pytest.approx(7.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"levels": table([0, 1, 1], [3, 2, 1])}, "two levels at time 1"),
        ({"levels": table([0, 1, 2], [3, -2, 1])}, "level -2"),
        ({"levels": table([0, 1, 2], [0, 0, 0])}, "no level is above the limit"),
        ({"levels": table([0, 1, 2], [3, 2, 1]), "points": 4}, "4 points"),
        ({"levels": table([0, 1, 2], [3, 2, 1]), "infusion": "1 h"}, "extravascular"),
        ({"levels": table([0, 1, 2], [3, 2, 1]), "route": "infusion"}, "without its length"),
    ],
)
def test_what_cannot_be_analysed_is_refused(given, message):
    with pytest.raises(DataError, match=message):
        noncompartmental(**given)
