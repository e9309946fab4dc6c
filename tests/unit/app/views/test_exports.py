"""What is taken away from a page is complete, in full precision, with units, times and quality."""

from __future__ import annotations

import io

import pyarrow.parquet as pq
import pytest

from galenic.app.views import exports, shown
from galenic.app.views.facts import Facts
from galenic.app.views.feed import Feed
from galenic.clock import SECOND, to_iso
from galenic.records import open_site
from galenic.signals import Quality, Sample
from galenic.twin.example import tank
from galenic.twin.twin import Twin

T0 = 1_800_000_000 * SECOND


@pytest.fixture
def facts() -> Facts:
    return Facts(Twin(tank(), "tank-1", start=T0))


@pytest.fixture
def channel(facts):
    return next(c for c in facts.twin.channels.values() if c.role == "observation")


@pytest.fixture
def store(tmp_path, channel):
    """Three samples of one tag, the second of them bad."""
    tag, unit = channel.binding.tag, channel.binding.unit
    rows = [(0, 1 / 3, Quality.GOOD), (1, None, Quality.BAD), (2, 0.5, Quality.UNCERTAIN)]
    with open_site(tmp_path, name="test") as made:
        with made.transaction() as tx:
            tx.samples(
                Sample(tag, value, unit, T0 + k * SECOND, T0 + k * SECOND, quality=quality)
                for k, value, quality in rows
            )
        yield made


@pytest.fixture
def feed(facts, channel) -> Feed:
    made = Feed(runner=None, store=None)
    path = channel.binding.quantity
    row = {"value": 0.4, "sd": 0.1, "lower": 0.2, "upper": 0.6, "unit": facts.unit(path)}
    message = {"type": "twin", "id": "tank-1", "time": T0 + SECOND, "estimates": {path: row}}
    made.take(message | {"level": "shadow", "health": {}, "alarms": [], "age": 1.0})
    levels = {level: [0.4, 0.5] for level in ("0.05", "0.25", "0.5", "0.75", "0.95")}
    series = {path: {"unit": "1", "mean": [0.4, 0.5], "sd": [0.1] * 2, "quantiles": levels}}
    forecast = {"times": [T0 + SECOND, T0 + 9 * SECOND], "series": series}
    made.take({"type": "forecast", "id": "tank-1", "forecast": forecast})
    return made


@pytest.fixture
def table(facts, channel, store, feed):
    path = channel.binding.quantity
    return exports.trend_table(facts, [path], feed, store, T0, T0 + 3 * SECOND)


def column(table, name: str) -> list:
    return next(one["data"] for one in table["columns"] if one["name"] == name)


def test_a_trend_exports_measured_estimated_and_predicted_with_unit_and_quality(
    table, facts, channel
):
    kinds = column(table, "kind")

    assert kinds == ["measured"] * 3 + ["estimated", "predicted"]  # what is before now was not
    assert column(table, "quality") == ["good", "bad", "uncertain", "", ""]
    assert set(column(table, "unit")) == {facts.unit(channel.binding.quantity)}
    assert column(table, "lower 90 %")[3:] == [0.2, 0.5]


def test_the_values_are_not_rounded_and_a_bad_one_is_empty_not_zero(table, facts, channel):
    from galenic.units import convert

    unit, path = channel.binding.unit, channel.binding.quantity
    first, second = column(table, "value")[:2]

    assert first == pytest.approx(float(convert(1 / 3, unit, facts.unit(path))), rel=1e-15)
    assert second is None


def test_csv_has_the_time_in_utc_and_in_the_sites_zone(table):
    head, row, *_ = exports.as_csv(table).splitlines()

    assert head.startswith("time UTC,time local,quantity,")
    assert row.startswith(f"{to_iso(T0)},{shown.local(T0).isoformat()},")


def test_parquet_gives_the_same_rows_with_times_as_times(table):
    read = pq.read_table(io.BytesIO(exports.as_parquet(table, note="n")))

    assert str(read.schema.field("time UTC").type) == "timestamp[ns, tz=UTC]"
    assert read.column("time UTC").cast("int64").to_pylist() == column(table, "time")
    assert read.column("value").to_pylist() == column(table, "value")
    assert read.schema.metadata[b"note"] == b"n"


def test_the_units_of_a_plot_go_into_the_metadata_of_the_fields():
    plot = {
        "title": "c",
        "x": {"name": "time", "unit": "h", "data": [0, 1]},
        "y": [{"name": "c", "unit": "g/L", "data": [1.5, 2], "lower": [1, None], "upper": [2, 3]}],
    }

    made = exports.plot_table(plot)
    read = pq.read_table(io.BytesIO(exports.as_parquet(made)))

    assert exports.as_csv(made).splitlines()[0] == (
        "time [h],c [g/L],c lower 90 % [g/L],c upper 90 % [g/L]"
    )
    assert read.schema.field("c").metadata == {b"unit": b"g/L"}
    assert read.column("c lower 90 %").to_pylist() == [1, None]


def test_a_setting_can_be_shown_in_a_trend_too():
    """What is set but not measured is read as it is set."""
    from galenic.stages.manufacturing.twin import tablet_line

    facts = Facts(Twin(tablet_line(), "line-1", start=T0))

    assert [c.binding.tag for c in facts.read_as("api.setpoint")] == ["FeederAPI.Setpoint"]
    assert "api.setpoint" in facts.offered()
    assert facts.observed_by("api.setpoint") == []
