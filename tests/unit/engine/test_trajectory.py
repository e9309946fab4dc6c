"""Named values with units over time."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from galenic.engine import Experiment, Simulator, Trajectory
from galenic.errors import DataError, UnknownName

from .systems import decay, thermostat, two_compartment


@pytest.fixture(scope="module")
def result():
    return Simulator(decay()).run(until="20 min", every="1 min")


def test_a_series_is_an_array_with_a_unit(result):
    series = result["c"]

    assert series.unit.text == "mol/L"
    assert series.max() == 2.0
    assert_allclose(series.to("mmol/L"), 1000 * series.values)
    assert series.to("mmol/L")[0] == 2000.0
    assert type(series * 2) is np.ndarray
    assert_allclose(series[3:].values, series.values[3:])


def test_values_between_output_times_are_interpolated(result):
    snapshot = result.at("90 s")

    assert snapshot["c"] == pytest.approx((result["c"][1] + result["c"][2]) / 2)
    assert set(snapshot) == {"c", "rate"}
    with pytest.raises(UnknownName, match="cc"):
        snapshot["cc"]
    with pytest.raises(DataError, match="no value"):
        result.at("21 min")


def test_a_window_keeps_both_ends(result):
    part = result.window("5 min", "10 min")

    assert len(part) == 6
    assert_allclose(part["c"], result["c"][5:11])


def test_differences_are_listed_with_unit_and_time(result):
    other = Simulator(decay()).run(values={"k": "0.21 1/min"}, until="20 min", every="30 s")
    table = result.compare(other)

    expected = np.abs(np.exp(-0.2 * np.arange(21)) - np.exp(-0.21 * np.arange(21))) * 2
    assert table.loc["c", "absolute"] == pytest.approx(expected.max(), rel=1e-4)
    assert table.loc["c", "unit"] == "mol/L"
    assert table.loc["c", "time"] == 60 * int(np.argmax(expected))


def test_tables_and_datasets_carry_units(result):
    frame = result.to_dataframe(["c"])
    assert frame.attrs["units"] == {"time": "s", "c": "mol/L"}
    assert frame.index[-1] == 1200

    assert result.dataset["c"].attrs["unit"] == "mol/L"
    assert float(result.dataset["c"].sel(time=0)) == 2.0


def test_the_plot_data_are_plain_json(result):
    data = json.loads(json.dumps(Simulator(thermostat()).run(until=30).to_dict(["T"])))

    assert data["x"]["unit"] == "s"
    assert data["events"][0]["name"] == "hot"
    assert len(data["y"][0]["data"]) == len(data["x"]["data"])
    assert result.to_dict()["x"]["unit"] == "min"


def test_a_plot_has_units_on_its_axes(result):
    figure = result.plot("c", "rate")

    first, second = figure.axes
    assert first.get_ylabel() == "c [mol/L]"
    assert second.get_xlabel() == "time [min]"


def test_unknown_names_get_close_matches(result):
    with pytest.raises(UnknownName) as caught:
        result["rates"]
    assert "rate" in caught.value.hint
    with pytest.raises(UnknownName):
        result.drift("mass")


def test_outputs_can_be_chosen():
    run = Simulator(two_compartment()).run(
        Experiment().dose("central", "1 mg"), until="1 h", outputs=["C"]
    )

    assert run.paths == ("C",)
    assert run.balances == ("drug",)


def test_a_trajectory_of_measured_values():
    measured = Trajectory.from_table([0, 60], {"c": ([1.0, 2.0], "mol/L")}, name="lab")

    assert measured.at(30)["c"] == 1.5
    assert repr(measured).startswith("Trajectory(lab: 2 times")
