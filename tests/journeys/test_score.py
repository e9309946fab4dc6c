"""Half an hour of the tablet line with and without its two-way twin, as ``make score`` runs it."""

import pytest

from galenic.stages.manufacturing.campaign import Trial, campaign
from galenic.stages.manufacturing.score import report

MINUTES = 30


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One seed that the twin was not tuned on; the day begins with a bridge and two refills."""
    trials = [Trial(name, "day", 11, MINUTES * 60.0) for name in ("local", "ratio", "mpc")]
    found = campaign(trials, tmp_path_factory.mktemp("score"), workers=0)
    return dict(zip(("local", "ratio", "mpc"), found, strict=True))


def test_the_two_way_twin_wins(results):
    """Half the spread and half the time outside the limits of local control, or better."""
    local, twin = results["local"]["score"], results["mpc"]["score"]

    assert twin["content_sd"] < 0.5 * local["content_sd"]
    assert twin["content_sd"] < results["ratio"]["score"]["content_sd"]
    assert twin["content_out_all"] <= 0.5 * local["content_out_all"]
    assert twin["diverted"] <= 0.5 * local["diverted"]


def test_it_stays_in_charge(results):
    acting = results["mpc"]["acting"]

    assert acting["raised"] == 1
    assert acting["lowered"] == 0
    assert acting["refused"] == 0
    assert acting["fallbacks"] <= 0.05 * acting["plans"]


def test_it_knows_what_it_does_not_know(results):
    """Content of tablets: within 1 % of label, and the 90 % interval is no false confidence."""
    belief = results["mpc"]["watch"]["belief"]["content of tablets"]

    assert belief["rmse"] < 0.1
    assert belief["coverage"] > 0.8


def test_the_report_puts_them_side_by_side(results):
    result = report(list(results.values()))

    assert [c.name for c in result.tables[0].columns][2::2] == ["local", "ratio", "mpc"]
    assert "mpc: content sd" in result.text
