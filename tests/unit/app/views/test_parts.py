"""The parts of the pages that can be told wrong without a browser."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from galenic.app.views import shown
from galenic.app.views.control_tab import WORDS
from galenic.app.views.exports import as_csv
from galenic.app.views.facts import Facts, is_old
from galenic.app.views.feed import Feed, in_unit, thin
from galenic.app.views.flowsheet import Flowsheet, layers
from galenic.app.views.frame import legend
from galenic.app.views.model_tab import mathml
from galenic.app.views.overview import spark
from galenic.app.views.results import plot_options
from galenic.app.views.tables import Html, grid
from galenic.app.views.theme import SIGNS
from galenic.app.views.trends import Trend
from galenic.clock import SECOND
from galenic.signals import Quality
from galenic.twin.alarms import SEVERITIES
from galenic.twin.example import tank
from galenic.twin.outlook import crossing
from galenic.twin.twin import Twin

T0 = 1_800_000_000 * SECOND


@pytest.fixture
def facts() -> Facts:
    return Facts(Twin(tank(), "tank-1", start=T0))


@pytest.fixture
def feed(facts) -> Feed:
    """A feed with a minute of one measured and estimated quantity, and a forecast of it."""
    made = Feed(runner=None, store=None)
    path = next(iter(facts.twin.definition.shown or ()), "") or _first(facts)
    (channel,) = facts.observed_by(path)[:1]
    for k in range(60):
        time = T0 + k * SECOND
        sample = {"value": 1.0 + 0.01 * k, "unit": channel.binding.unit, "time": time, "quality": 0}
        row = {"value": 1.0, "sd": 0.1, "lower": 0.8, "upper": 1.2, "unit": facts.unit(path)}
        made.take({"type": "samples", "samples": {channel.tag: sample}})
        message = {"type": "twin", "id": "tank-1", "time": time, "estimates": {path: row}}
        made.take(message | {"level": "shadow", "health": {}, "alarms": [], "age": 1.0})
    times = [T0 + (60 + 15 * k) * SECOND for k in range(5)]
    levels = {level: [1.0] * 5 for level in ("0.05", "0.25", "0.5", "0.75", "0.95")}
    series = {path: {"unit": "1", "mean": [1.0] * 5, "sd": [0.1] * 5, "quantiles": levels}}
    forecast = {"times": times, "series": series}
    made.take({"type": "forecast", "id": "tank-1", "forecast": forecast})
    return made


def _first(facts) -> str:
    return next(c.binding.quantity for c in facts.twin.channels.values() if c.role == "observation")


def _panel(facts) -> str:
    return next(iter(facts.twin.definition.shown), "") or _first(facts)


def test_where_there_is_no_data_there_is_no_zero(facts):
    feed = Feed(runner=None, store=None)

    for tag in facts.twin.channels:
        assert facts.tag_parts(feed, tag, T0)["text"] == "no data"


def test_a_value_older_than_its_binding_allows_is_marked_and_fades(facts, feed):
    tag = next(iter(feed.tags))
    binding = SimpleNamespace(stale_after=5.0)
    assert not is_old(feed.tags[tag], binding, feed.tags[tag]["time"] + 4 * SECOND)
    assert is_old(feed.tags[tag], binding, feed.tags[tag]["time"] + 6 * SECOND)

    assert shown.mark(Quality.GOOD, old=True)[0] == "◷"
    assert shown.quality_class(Quality.GOOD, old=True) == "stale"


@pytest.mark.parametrize(
    ("quality", "manual", "simulated", "sign"),
    [
        (Quality.BAD, False, True, "✕"),
        (Quality.UNCERTAIN, False, True, "?"),
        (Quality.GOOD, True, True, shown.MANUAL),
        (Quality.GOOD, False, True, "S"),
        (Quality.GOOD, False, False, ""),
    ],
)
def test_each_quality_has_a_sign(quality, manual, simulated, sign):
    assert shown.mark(quality, False, manual, simulated)[0] == sign


def test_the_digits_follow_the_uncertainty():
    assert shown.with_spread(101.3274, 0.8) == "101.3 ± 0.8"
    assert shown.with_spread(0.0123456, 0.0012) == "0.0123 ± 0.0012"
    assert shown.with_spread(79812.4, 300.0) == "79\u2009812 ± 300"


def test_every_severity_has_its_own_shape():
    assert tuple(SIGNS) == SEVERITIES
    assert len(set(SIGNS.values())) == len(SIGNS)


def test_thinning_keeps_peaks_and_ends():
    points = [(t, 0.0) for t in range(10_000)]
    points[4321] = (4321, 7.0)
    points[777] = (777, -7.0)

    kept = thin(points, 200)

    assert len(kept) <= 202
    assert (4321, 7.0) in kept
    assert (777, -7.0) in kept
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]


def test_measurements_are_calibrated_and_converted_to_the_unit_of_their_quantity():
    assert in_unit([(0, 2.0)], "kg/h", "g/min", 0.5, 1.0) == [(0, pytest.approx(2000 / 60))]
    assert in_unit([(0, 300.0)], "K", "degC") == [(0, pytest.approx(26.85))]


def test_the_trend_sends_only_series_that_changed(facts, feed):
    trend = Trend(facts, [_panel(facts)])
    now = T0 + 60 * SECOND
    first = trend.options(feed, now)
    assert trend.changes(feed, now) is None

    tag, sample = next(iter(feed.tags.items()))
    newer = {**sample, "time": now, "value": 2.0}
    feed.take({"type": "samples", "samples": {tag: newer}})
    changed = trend.changes(feed, now)

    assert [one["id"] for one in changed["series"]] == ["0:measured"]
    assert len(first["series"]) > 8


def test_predicted_lies_right_of_now_and_measured_left(facts, feed):
    now = T0 + 60 * SECOND
    series = {one["id"]: one for one in Trend(facts, [_panel(facts)]).options(feed, now)["series"]}
    here = shown.chart_time(now)

    assert all(point[0] <= here for point in series["0:measured"]["data"])
    assert all(point[0] >= here for point in series["0:fan-mean"]["data"])
    assert len(series["0:fan-mean"]["data"]) >= 4


def test_an_older_sample_does_not_replace_a_newer_one(feed):
    tag, sample = next(iter(feed.tags.items()))
    feed.take({"type": "samples", "samples": {tag: {**sample, "time": T0, "value": -5.0}}})

    assert feed.newest(tag)["value"] == sample["value"]


def test_layers_follow_the_longest_way_and_survive_a_recycle():
    names = ["feed", "reactor", "separator"]
    links = [("feed", "reactor"), ("reactor", "separator"), ("separator", "reactor")]

    found = layers(names, links)

    assert sorted(name for level in found for name in level) == sorted(names)
    assert layers(["a", "b", "c", "d"], [("a", "b"), ("b", "c"), ("a", "c"), ("d", "c")]) == [
        ["a", "d"], ["b"], ["c"],
    ]  # fmt: skip


def test_the_flowsheet_of_the_tablet_line_has_all_its_parts():
    from galenic.stages.manufacturing.twin import tablet_line

    facts = Facts(Twin(tablet_line(), "line-1", start=T0))
    sheet = Flowsheet(facts)
    svg = sheet.svg(Feed(runner=None, store=None), T0)

    for part in facts.twin.system.parts.parts:
        assert part.path in sheet.boxes
    assert svg.count('class="pipe"') == len(sheet.links)
    assert "FeederAPI.Setpoint" in svg
    assert ">0<" not in svg  # nothing was received, so there is no number
    for box in sheet.boxes.values():
        assert 0 <= box.x
        assert box.x + box.width <= 480


def test_tables_escape_what_they_show():
    assert "<b>x</b>" not in grid(["a"], [["<b>x</b>"]])
    assert "<b>x</b>" in grid(["a"], [[Html("<b>x</b>")]])


def test_equations_become_mathml_without_a_network():
    drawn = mathml(r"\frac{\mathrm{d} c}{\mathrm{d} t} = - k \, c")

    assert drawn.startswith("<math")
    assert "mfrac" in drawn


def test_csv_has_units_in_its_head_and_full_precision():
    table = {
        "columns": [
            {"name": "t", "unit": "h", "data": [0.1]},
            {"name": "c", "unit": "", "data": [1 / 3]},
        ]
    }

    assert as_csv(table) == "t [h],c\n0.1,0.3333333333333333\n"


def test_the_plot_of_a_result_draws_the_band_it_has():
    y = [
        {
            "name": "c",
            "unit": "g",
            "style": "predicted",
            "data": [1, 2],
            "lower": [0, 1],
            "upper": [2, 3],
        }
    ]
    options = plot_options(
        {"title": "c", "x": {"name": "time", "unit": "h", "data": [0, 1]}, "y": y}
    )

    gap = next(one for one in options["series"] if one["name"] == "_gap")
    assert [point[1] for point in gap["data"]] == [2, 2]


def test_a_crossing_is_found_where_it_becomes_likely():
    times = [k * 60 * SECOND for k in range(4)]

    found = crossing(times, [100.0, 103.0, 104.9, 105.3], [0.5] * 4, 95.0, 105.0)

    assert (found.after, found.side) == (180.0, "above")
    assert found.probability == pytest.approx(0.7257, abs=1e-3)  # standard normal, z = 0.6
    assert crossing(times, [100.0] * 4, [0.5] * 4, 95.0, 105.0) is None


def test_words_of_the_guard_are_all_translated():
    assert {"allow", "refuse", "wait", "same"} <= set(WORDS)
    assert "predicted" in legend()
    assert "<path" not in spark([])
