"""Scoring of a made-up record whose score can be reckoned by hand."""

from __future__ import annotations

import numpy as np
import pytest

from galenic.errors import DataError, UnknownName
from galenic.stages.manufacturing.plant import TruthRecord, score

NAMES = (
    "ContentTablet", "TabletWeight", "TabletRsd", "TabletHardness", "Tablets", "MassTablets",
    "Diverted", "MassIn", "MassGood", "MassWaste", "MassHeld",
)  # fmt: skip


def record(*rows):
    return TruthRecord(tuple(f"True.{name}" for name in NAMES), np.array(rows, dtype=float))


MADE_UP = record(
    (10.0, 250.0, 1.0, 100.0, 20, 0.005, 0, 1.0, 0.005, 0.000, 0.995),
    (10.6, 250.0, 1.0, 100.0, 20, 0.005, 1, 1.0, 0.005, 0.005, 0.990),
    (9.4, 250.0, 1.0, 100.0, 20, 0.005, 0, 1.0, 0.010, 0.005, 0.985),
    (10.0, 250.0, 1.0, 100.0, 20, 0.005, 1, 1.0, 0.010, 0.010, 0.980),
    (10.9, 0.0, 0.0, 0.0, 0, 0.0, 0, 1.0, 0.010, 0.010, 0.980),
)


def test_score_of_a_record_reckoned_by_hand():
    result = score(MADE_UP)

    assert result.content_mean == pytest.approx(100.0)
    assert result.content_sd == pytest.approx(np.sqrt(18.0))
    assert result.content_out_all == pytest.approx(50.0)
    assert result.content_out_accepted == pytest.approx(50.0)
    assert result.diverted == pytest.approx(0.010)
    assert result.diverted_share == pytest.approx(50.0)
    assert result.diverted_needlessly == pytest.approx(0.005)
    assert result.weight_rsd == pytest.approx(1.0)
    assert result.tablets == 80
    assert result.balance == pytest.approx(0.0, abs=1e-12)


def test_powder_that_vanishes_shows_in_the_balance():
    leaky = MADE_UP.values.copy()
    leaky[:, NAMES.index("MassHeld")] -= 0.01

    assert score(TruthRecord(MADE_UP.names, leaky)).balance == pytest.approx(0.01)


def test_a_window_is_scored_alone():
    assert score(MADE_UP.window(0, 1)).content_out_all == 0.0


def test_a_record_without_tablets_cannot_be_scored():
    with pytest.raises(DataError, match="no tablets"):
        score(MADE_UP.window(4))


def test_a_mistyped_column_is_named_with_a_close_one():
    with pytest.raises(UnknownName) as caught:
        MADE_UP["TabletWight"]

    assert "TabletWeight" in str(caught.value)
