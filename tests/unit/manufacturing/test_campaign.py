"""Campaigns: resumable, identified by what decides them, and fair to every strategy."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from galenic.clock import SECOND
from galenic.errors import UnknownName
from galenic.signals import Tick
from galenic.stages.manufacturing import campaign as module
from galenic.stages.manufacturing.campaign import (
    BEGIN,
    STRATEGIES,
    Loop,
    Operator,
    Trial,
    campaign,
    code_identity,
    run,
    start,
)
from galenic.stages.manufacturing.score import against, comparison, report
from galenic.stages.manufacturing.services import compare_strategies
from galenic.twin.level import Level

SHORT = 420.0


def outcome(strategy, seed, sd, out=5.0, diverted=1.0):
    names = ("content_out_accepted", "dose_out_accepted", "weight_rsd", "diverted_needlessly",
             "good")  # fmt: skip
    score = dict.fromkeys(names, 1.0) | {
        "content_sd": sd, "content_out_all": out, "diverted": diverted
    }  # fmt: skip
    trial = {"strategy": strategy, "scenario": "day", "seed": seed, "duration": 3600.0}
    return {"trial": trial, "score": score, "watch": {}, "acting": {}, "wall": 1.0}


def test_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    trials = [Trial("local", "calm", seed, SHORT) for seed in (1, 2)]
    first = campaign(trials[:1], tmp_path, workers=0)
    called = []
    monkeypatch.setattr(module, "run", lambda trial: called.append(trial) or {"new": True})

    both = campaign(trials, tmp_path, workers=0)

    assert called == [trials[1]]
    assert both == [first[0], {"new": True}]
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_other_code_or_values_make_another_result():
    trial = Trial("local")

    assert trial.key("a") != trial.key("b")
    assert trial.key("a") != Trial("local", seed=2).key("a")
    assert trial.key("a") != Trial("ratio").key("a")
    assert code_identity() == code_identity()


def test_unknown_strategies_are_refused_with_a_hint():
    with pytest.raises(UnknownName, match="ratio"):
        Trial("ration")


def test_any_executor_runs_trials(tmp_path):
    said = []
    trials = [Trial("local", "calm", seed, SHORT) for seed in (1, 2)]

    with ThreadPoolExecutor(1) as pool:
        found = campaign(
            trials, tmp_path, executor=pool, progress=lambda share, text: said.append(share)
        )

    assert [r["trial"]["seed"] for r in found] == [1, 2]
    assert said == [0.5, 1.0]


def test_equal_trials_are_equal_and_a_shadow_changes_nothing_on_the_plant():
    local, shadow, again = (
        run(Trial(name, "calm", 4, 90.0), settling=30.0) for name in ("local", "shadow", "shadow")
    )

    assert local["score"] == shadow["score"]
    assert shadow["score"] == again["score"]
    assert json.dumps(shadow["watch"]) == json.dumps(again["watch"])
    assert shadow["watch"]["belief"]["content of tablets"]["rmse"] < 0.1


def test_a_two_way_twin_takes_over_and_hands_back_without_a_bump():
    """It is engaged by the operator; when it falls silent the plant goes local by itself."""
    loop = start(Trial("mpc", "calm", 1))
    for k in range(1, 76):
        loop.second(BEGIN + k * SECOND)
    before = loop.plant.truth()["True.ContentIn"]

    assert loop.twin.level is Level.TWIN
    assert loop.plant.plc.remote
    assert loop.refused == 0

    setpoints = {n: r.active for n, r in loop.plant.plc.registers.items()}
    for k in range(76, 90):
        loop.plant.advance(BEGIN + k * SECOND)

    assert not loop.plant.plc.remote
    assert loop.plant.plc.fallbacks == 1
    for name, register in loop.plant.plc.registers.items():
        assert register.active == pytest.approx(setpoints[name], rel=0.08), name
    assert loop.plant.truth()["True.ContentIn"] == pytest.approx(before, abs=1.5)


class Healthy:
    """A twin of which the operator sees only health and level."""

    def __init__(self, score=1.0):
        from types import SimpleNamespace

        self.health = SimpleNamespace(score=score)
        self.level, self.now = Level.SHADOW, 0


def test_the_operator_waits_for_good_health_and_longer_the_second_time():
    operator, twin = Operator(first=3, again=5), Healthy()
    asked = [operator.look(twin) is not None for _ in range(9)]

    assert asked == [False, False, True, False, False, False, False, True, False]

    sick = Healthy(0.64)
    assert [Operator(first=2).look(sick) for _ in range(5)] == [None] * 5


def test_without_a_twin_only_the_plant_moves():
    loop = start(Trial("ratio", "calm", 1))
    loop.second(BEGIN + SECOND)

    assert loop.twin is None
    assert loop.plant.plc.control == "ratio"
    assert isinstance(loop, Loop)


def test_the_wrong_model_is_wrong():
    right, wrong = (start(Trial(name)).twin for name in ("mpc", "mpc-wrong"))

    assert set(STRATEGIES["mpc-wrong"].values) <= {e.path for e in right.system.parameters}
    assert right.system.identity != wrong.system.identity or right.values != wrong.values


def test_the_comparison_has_means_and_spreads():
    table = comparison([outcome("local", 1, 2.0), outcome("local", 2, 4.0), outcome("mpc", 1, 1.0)])

    assert table["measure"][0] == "content_sd"
    assert (table["local"][0], table["mpc"][0]) == (3.0, 1.0)
    assert table["± local"][0] == pytest.approx(2**0.5)


def test_strategies_are_compared_on_the_same_seeds():
    """Gaps 1 and 2: mean 1.5; t(0.975, 1 df) = 12.706 times 0.7071/sqrt(2)."""
    table = against([outcome("local", 1, 2.0), outcome("local", 2, 4.0),
                     outcome("mpc", 1, 1.0), outcome("mpc", 2, 2.0)])  # fmt: skip

    row = dict(zip((c.name for c in table.columns), next(table.rows()), strict=True))
    assert row["difference"] == -1.5
    assert row["ratio"] == 0.5
    assert row["95 % half width"] == pytest.approx(12.7062 * 0.5, rel=1e-4)
    assert (row["better"], row["seeds"]) == (2, 2)


def test_the_report_says_it_in_words():
    result = report([outcome("local", 1, 2.0), outcome("mpc", 1, 1.0)])

    assert "mpc: content sd 1.00 %" in result.text
    assert [plot.title for plot in result.plots]
    assert result["material saved"] == 0.0


def test_the_service_compares_without_a_twin(tmp_path):
    result = compare_strategies(
        strategies=["local", "ratio"], scenario="calm", seeds=1, duration="7 min",
        workers=0, folder=str(tmp_path),
    )  # fmt: skip

    assert [c.name for c in result.tables[0].columns][2::2] == ["local", "ratio"]
    assert "seeds 11" in result.text


def test_a_tick_before_any_sample_is_harmless():
    loop = start(Trial("mpc", "calm", 1))

    assert [e for e in loop.twin.accept(Tick(BEGIN)) if e.kind == "write"] == []
