"""Many individuals against the same individuals one by one, and against closed forms."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from galenic.engine import Experiment, Simulator
from galenic.engine.batch.backend import Status
from galenic.engine.batch.measures import Measure
from galenic.engine.batch.quantiles import Quantiles
from galenic.engine.batch.summaries import Attainment, Histogram, Moments
from galenic.errors import DataError, ModelError, UnknownName
from galenic.modeling.system import EventRule
from galenic.modeling.variability import Between, Covariate, Population

from ..systems import ball, circle, decay, driven, system, two_compartment

RATES = np.array([0.05, 0.1, 0.2, 0.4, 0.8])


def stopping():
    """x' = 1 from 0; the run of an individual ends when x reaches its limit."""
    return system(
        "Stopping",
        {"x": (0.0, "1")},
        lambda m: {"x": 1.0},
        parameters={"limit": (5.0, "1")},
        events=lambda m, at: [EventRule("full", m.x - m.limit, None, None, (), terminal=True)],
    )


def test_each_individual_has_its_own_closed_form():
    result = Simulator(decay()).run_many(None, {"k [1/min]": RATES}, until="10 min", every="1 min")

    exact = 2 * np.exp(-RATES[:, None] * result.times / 60)
    assert_allclose(result["c"], exact, rtol=1e-5, atol=1e-8)
    assert result["c"].dims == ("individual", "time")
    assert result["c"].attrs["unit"] == "mol/L"
    assert (result.status == Status.SOLVED).all()
    assert (result.accepted > 0).all()


def test_one_after_the_other_has_the_bits_of_a_single_run():
    simulator = Simulator(two_compartment())
    experiment = (
        Experiment()
        .dose("depot", "100 mg", every="12 h", count=3)
        .dose("infusion", "50 mg", at="6 h", duration="2 h")
        .set("CL", "8 L/h", at="20 h")
    )
    table = {"CL": [3.0, 5.0, 9.0], "central": ["0 mg", "10 mg", "20 mg"]}

    many = simulator.run_many(
        experiment, table, until="36 h", every="1 h", outputs=["C", "depot"], method="single"
    )

    for i in range(3):
        values = {path: cells[i] for path, cells in table.items()}
        one = simulator.run(experiment, values, until="36 h", every="1 h")
        assert_array_equal(many["C"][i], one["C"])
        assert_array_equal(many["depot"][i], one["depot"])


def test_everybody_may_have_an_experiment_of_his_own():
    simulator = Simulator(two_compartment())
    experiments = [Experiment().dose("depot", f"{amount} mg") for amount in (50, 100, 50, 200)]

    result = simulator.run_many(experiments, None, until="12 h", every="1 h", outputs=["C"])

    unit = result["C"].values[0] / 50  # the model is linear in the dose
    for i, amount in enumerate((50, 100, 50, 200)):
        assert_allclose(result["C"][i], amount * unit, rtol=1e-4, atol=1e-9)
    assert_array_equal(result["C"][0], result["C"][2])


def test_algebraic_quantities_are_outputs():
    result = Simulator(circle()).run_many(
        None, 2, until=1.0, every=0.25, outputs=["y", "z"], rtol=1e-8
    )

    assert_allclose(result["y"][0], np.sin(result.times), atol=2e-6)
    assert_allclose(result["z"][1], np.cos(result.times), atol=2e-6)


def test_state_events_happen_to_each_at_his_time():
    heights = np.array([2.0, 5.0, 10.0])
    result = Simulator(ball()).run_many(
        None, {"h0": heights}, until=1.5, every=0.1, outputs=["h", "count"], method="single"
    )

    falls = np.sqrt(2 * heights / 9.81)
    assert_array_equal(result["count"][:, -1], (falls < 1.5).astype(float) + (3 * falls[0] < 0))
    early = result.times < falls[0]
    expected = heights[:, None] - 0.5 * 9.81 * result.times**2
    assert_allclose(result["h"].values[:, early], expected[:, early], rtol=1e-5)


def test_after_a_terminal_event_there_are_no_values():
    result = Simulator(stopping()).run_many(
        None, {"limit": [2.5, 20.0]}, until=5, every=1, method="single"
    )

    assert_allclose(result["x"][0], [0, 1, 2, np.nan, np.nan, np.nan], atol=1e-6)
    assert_allclose(result["x"][1], [0, 1, 2, 3, 4, 5], atol=1e-6)
    assert result.status.tolist() == [Status.ENDED, Status.SOLVED]


def test_whoever_cannot_be_solved_is_not_a_number_and_has_a_reason():
    rates = np.array([0.1, np.nan, 0.3])

    result = Simulator(decay()).run_many(None, {"k": rates}, until=60, every=10, outputs=["c"])

    assert result.status.tolist() == [Status.SOLVED, Status.FAILED, Status.SOLVED]
    assert list(result.reasons) == [1]
    assert np.isnan(result["c"][1]).all()
    alone = Simulator(decay()).run_many(None, {"k": rates[2:]}, until=60, every=10, outputs=["c"])
    assert_array_equal(result["c"][2], alone["c"][0])
    assert result.moments()["count"].values.max() == 2


def test_the_table_says_what_became_of_each():
    result = Simulator(decay()).run_many(
        None, {"k [1/h]": [6.0, np.nan]}, until=60, every=30, method="single"
    )

    table = result.table()

    assert table["status"].tolist() == ["solved", "failed"]
    assert_allclose(table["k"][0], 0.1)
    assert table.attrs["units"] == {"k": "1/min"}
    assert table["method"][0] == "single at rtol 1e-06"


def test_the_table_of_a_sample_has_its_covariates():
    population = Population(
        two_compartment(),
        covariates=[Covariate("weight", 70.0, "kg", 10.0)],
        relations={"V1": lambda typical, c: typical * (c.weight / "70 kg")},
        between=[Between("CL", 0.3)],
    )
    sample = population.quasi_sample(64)

    result = Simulator(population.system).run_many(None, sample, ["C"], until=60, every=60)

    table = result.table()
    assert list(table.columns)[:3] == ["weight", "CL", "V1"]
    assert_allclose(table["V1"], 20 * table["weight"] / 70)
    assert_allclose(np.log(table["CL"] / 5).std(), 0.3, rtol=0.05)
    assert table.attrs["units"]["weight"] == "kg"


@pytest.fixture(scope="module")
def spread_out():
    """Sixty individuals in several blocks, kept and summarised in every way."""
    rng = np.random.default_rng(4)
    table = {"CL": 5 * np.exp(0.3 * rng.standard_normal(60)), "V1": rng.uniform(10, 30, 60)}
    experiment = Experiment().dose("central", "100 mg")
    summaries = [
        Moments(),
        Quantiles((0.1, 0.5, 0.9)),
        Histogram("C", ["0.1 mg/L", "1 mg/L", "3 mg/L"]),
        Attainment("C", above="1 mg/L"),
        Measure.peak("C"),
    ]

    def run(**settings):
        return Simulator(two_compartment()).run_many(
            experiment, table, ["C", "central"], until="8 h", every="2 h", summaries=summaries,
            **settings,
        )  # fmt: skip

    return run, summaries, run()


def test_the_result_is_a_labelled_array_with_units(spread_out):
    result = spread_out[2]

    assert result.array.dims == ("individual", "time", "output")
    assert result.array.shape == (60, 5, 2)
    assert result.array["unit"].values.tolist() == ["mg/L", "mg"]
    assert result.dataset["C"].attrs["unit"] == "mg/L"
    assert_array_equal(result.dataset["central"], result["central"])


def test_gathered_summaries_are_those_of_the_values(spread_out):
    _, summaries, result = spread_out

    for summary in summaries:
        assert result.summaries[summary.name].identical(result.summary(summary))
    assert_array_equal(
        result.quantiles((0.1, 0.5))[:, :, 0], np.quantile(result["C"], (0.1, 0.5), axis=0)
    )
    assert_allclose(result.moments()["sd"], result.values.std(axis=0, ddof=1), rtol=1e-12)


def test_summaries_need_no_values(spread_out):
    run, summaries, result = spread_out

    lean = run(keep=False)

    for summary in summaries:
        assert lean.summaries[summary.name].identical(result.summaries[summary.name])
    assert_array_equal(lean.quantiles((0.5, 0.9)), result.quantiles((0.5, 0.9)))
    with pytest.raises(DataError, match="were not kept"):
        lean["C"]
    with pytest.raises(DataError, match="were not gathered"):
        lean.quantiles((0.25,))


def test_values_may_lie_in_a_mapped_file(spread_out, tmp_path):
    run, _, result = spread_out

    mapped = run(keep=tmp_path / "values.npy")

    assert isinstance(mapped.values, np.memmap)
    assert_array_equal(mapped.values, result.values)
    assert_array_equal(np.load(tmp_path / "values.npy"), result.values)


def test_values_may_lie_in_a_parquet_file(spread_out, tmp_path):
    run, _, result = spread_out

    run(keep=tmp_path / "kept.parquet")
    result.to_parquet(tmp_path / "written.parquet")

    for name in ("kept", "written"):
        table = pq.read_table(tmp_path / f"{name}.parquet")
        assert table.schema.field("C").metadata[b"unit"] == b"mg/L"
        read = table.to_pandas().set_index(["individual", "time"])
        pd.testing.assert_frame_equal(read, result.to_dataframe(), check_index_type=False)


def test_values_of_half_the_size_are_rounded_once(spread_out):
    run, summaries, result = spread_out

    half = run(dtype="float32")

    assert half.values.dtype == np.float32
    assert_array_equal(half.values, result.values.astype(np.float32))
    for summary in summaries:
        assert half.summaries[summary.name].identical(half.summary(summary))


def test_one_individual_is_a_trajectory(spread_out):
    result = spread_out[2]

    one = result.individual(7)

    assert_allclose(one["C"], result["C"][7], rtol=1e-14)
    assert one["C"].unit.text == "mg/L"


def test_the_picture_has_a_band_for_each_pair_of_quantiles(spread_out):
    figure = spread_out[2].plot("C", quantiles=(0.1, 0.25, 0.5, 0.75, 0.9))

    axis = figure.axes[0]
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["10 to 90 %", "25 to 75 %", "median"]
    assert axis.get_ylabel() == "C [mg/L]"
    assert axis.get_xlabel() == "time [h]"


def test_the_record_tells_how_it_was_made(spread_out):
    record = spread_out[2].record.to_dict()

    assert record["model"] == "TwoCompartment"
    assert record["choice"]["why"]
    assert record["methods"][0]["rtol"] == 1e-6
    assert len(record["identity"]) == 64


def test_progress_is_told_and_may_stop_the_run():
    told = []

    def report(share, text):
        told.append((share, text))
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Simulator(decay()).run_many(None, 130, until=60, every=30, workers=2, progress=report)

    shares = [share for share, _ in told]
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert 0.5 < shares[-1] < 1.0
    assert told[-1][1].endswith("of 130 individuals")


def test_a_bar_is_shown_when_asked(capsys):
    Simulator(decay()).run_many(None, 3, until=60, every=30, progress=True)

    assert "individuals" in capsys.readouterr().out


def test_a_model_that_cannot_be_compiled_says_why_and_runs_slowly(caplog, monkeypatch):
    monkeypatch.setattr("galenic.engine.batch.run.obstacle", lambda plan, method: "no lambda")

    with caplog.at_level(logging.WARNING):
        result = Simulator(decay()).run_many(None, 2, until=60, every=30)

    assert "Decay is solved one individual after the other: not compiled: no lam" in caplog.text
    assert result.record.choice.why == "not compiled: no lambda"
    assert result.is_good().all()


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"outputs": ["nothing"]}, UnknownName, "nothing"),
        ({"outputs": []}, DataError, "no outputs"),
        ({"method": "rodas6"}, UnknownName, "rodas6"),
        ({"dtype": "int8"}, DataError, "int8"),
        ({"keep": "values.csv"}, DataError, "values.csv"),
        ({"experiment": "dose"}, DataError, "no experiment"),
        ({"experiment": [Experiment(), None]}, DataError, "no experiment"),
        ({"experiment": Experiment().set("w", 1.0)}, UnknownName, "w"),
        ({"accuracy": 0.0}, DataError, "accuracy"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_runs(settings, error, words):
    given = {"experiment": None, "table": {"k": [0.1, 0.2]}, "until": 60, "every": 30} | settings

    with pytest.raises(error, match=words):
        Simulator(decay()).run_many(**given)


def test_a_parameter_without_a_value_must_be_a_column():
    bare = system(
        "Bare",
        {"x": (1.0, "1")},
        lambda m: {"x": -m.k * m.x},
        parameters={"k": (float("nan"), "1/s")},
    )

    with pytest.raises(ModelError, match="k has no value"):
        Simulator(bare).run_many(None, 2, until=1)
    result = Simulator(bare).run_many(None, {"k": [1.0, 2.0]}, until=1, every=1)
    assert_allclose(result["x"][:, -1], np.exp([-1, -2]), rtol=1e-5)


def test_inputs_that_ramp_start_from_the_level_of_each():
    experiment = Experiment().ramp("u", 3.0, start=1.0, stop=2.0)

    result = Simulator(driven()).run_many(
        experiment, {"u": [0.0, 1.0]}, until=3, every=0.5, outputs=["u"]
    )

    assert_allclose(result["u"][0], [0, 0, 0, 1.5, 3, 3, 3], atol=1e-12)
    assert_allclose(result["u"][1], [1, 1, 1, 2, 3, 3, 3], atol=1e-12)


@pytest.mark.parametrize("method", ["single", "rodas5p"])
def test_a_ramp_that_begins_during_another_takes_over_where_it_is(method):
    """From 0 to 1 in 2 s, then to 5 in 2 s; doses on the way change nothing."""
    experiment = (
        Experiment()
        .ramp("u", 2.0, start=0, stop=4)
        .ramp("u", 5.0, start=2, stop=4)
        .dose("x", 1.0, at=3)
        .dose("x", 1.0, at=3.5)
    )

    result = Simulator(driven()).run_many(
        experiment, 1, until=5, every=0.5, outputs=["u"], method=method
    )

    expected = [0, 0.25, 0.5, 0.75, 1, 2, 3, 4, 5, 5, 5]
    assert_allclose(result["u"][0], expected, atol=1e-12)
