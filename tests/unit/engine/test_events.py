"""Scheduled, triggered, simultaneous, terminal and chattering events; failures by name."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from numpy.testing import assert_allclose

from galenic.engine import Experiment, Simulator
from galenic.errors import ModelError, SolveError
from galenic.modeling.system import EventRule

from .systems import ball, circle, driven, system, tanks


def counter(rules):
    """x rises by 1 per second; y counts."""
    return system(
        "Counter",
        {"x": (0.0, "1"), "y": (0.0, "1", {"role": "discrete"})},
        lambda m: {"x": 1, "y": 0},
        events=rules,
    )


def test_scheduled_events_come_on_time_before_the_value_is_read():
    model = counter(
        lambda m, at: [
            EventRule("tick", None, 2.0, 1.0, ((at["y"], m.y + 1),)),
            EventRule("once", None, None, 4.0, ((at["y"], m.y + 10),)),
        ]
    )
    result = Simulator(model).run(times=[0, 1, 2, 3, 4, 5, 6])

    assert_allclose(result["y"], [0, 1, 1, 2, 12, 13, 13])
    assert [(e.time, e.name) for e in result.events] == [
        (1.0, "tick"), (3.0, "tick"), (4.0, "once"), (5.0, "tick")
    ]  # fmt: skip


def test_an_event_without_effect_on_its_trigger_fires_once():
    """x passes 2 upward and keeps rising: one event, not a burst."""
    model = counter(
        lambda m, at: [EventRule("passed", m.x - 2.0, None, None, ((at["y"], m.y + 1),))]
    )
    result = Simulator(model).run(until=5)

    assert [event.name for event in result.events] == ["passed"]
    assert result.events[0].time == pytest.approx(2.0, rel=1e-10)


def test_simultaneous_events_are_taken_in_declared_order():
    model = counter(
        lambda m, at: [
            EventRule("first", m.x - 2.0, None, None, ((at["y"], m.y + 1),)),
            EventRule("second", 3 * m.x - 6.0, None, None, ((at["y"], m.y * 10),)),
        ]
    )
    result = Simulator(model).run(until=5)

    assert [event.name for event in result.events] == ["first", "second"]
    assert result["y"][-1] == 10


def test_an_event_may_cause_another_at_the_same_time():
    model = counter(
        lambda m, at: [
            EventRule("cause", m.x - 2.0, None, None, ((at["y"], ca.SX(5)),)),
            EventRule("effect", m.y - 4.0, None, None, ((at["x"], ca.SX(-10)),)),
        ]
    )
    result = Simulator(model).run(until=3)

    assert [event.name for event in result.events] == ["cause", "effect"]
    assert result["x"][-1] == pytest.approx(-9)


def test_a_jump_over_the_threshold_fires():
    model = counter(
        lambda m, at: [EventRule("over", m.x - 50.0, None, None, ((at["x"], 0 * m.x),))]
    )
    result = Simulator(model).run(Experiment().set("x", 100, at=1), until=2)

    assert [(e.time, e.name) for e in result.events] == [(1.0, "over")]
    assert result["x"][-1] == pytest.approx(1)


def test_a_terminal_event_ends_the_run():
    model = counter(lambda m, at: [EventRule("full", m.x - 2.5, None, None, (), terminal=True)])
    result = Simulator(model).run(until=10, every=1)

    assert_allclose(result.times, [0, 1, 2, 2.5])
    assert result.final.time == pytest.approx(2.5)


def test_chattering_is_told_by_name():
    """Zeno: the bounces of a ball pile up before 13 s."""
    with pytest.raises(SolveError, match="bounce") as caught:
        Simulator(ball()).run(until=14)
    assert 12.8 < caught.value.time < 12.9

    loop = counter(
        lambda m, at: [
            EventRule("up", m.x - 1.0, None, None, ((at["x"], m.x - 1),)),
            EventRule("down", 0.5 - m.x, None, None, ((at["x"], m.x + 1),)),
        ]
    )
    with pytest.raises(SolveError, match="event up fires 40 times"):
        Simulator(loop).run(until=2)


def test_stepping_meets_events_too():
    simulator = Simulator(ball())
    state = simulator.step(until=1.0)
    while state.time < 5:
        state = simulator.step(state, until=state.time + 0.5)

    whole = simulator.run(until=5)
    assert state["h"] == pytest.approx(whole["h"][-1], rel=1e-6)
    assert state["count"] == 2


def test_steps_under_changing_inputs():
    simulator = Simulator(driven())
    state = simulator.step(inputs={"u": 1.0}, until=2)
    state = simulator.step(state, {"u": "3 1/s"}, until=4)

    x2 = 2 * (1 - np.exp(-1))
    assert state["x"] == pytest.approx(6 + (x2 - 6) * np.exp(-1), rel=1e-6)
    assert state.to_dict()["u"] == 3.0


def test_a_blow_up_names_state_and_time():
    explosive = system(
        "Explosive", {"calm": (1.0, "1"), "x": (1.0, "1")}, lambda m: {"calm": -m.calm, "x": m.x**2}
    )
    with pytest.raises(SolveError, match="fastest state is x") as caught:
        Simulator(explosive).run(until=2)
    assert caught.value.state == "x"
    assert caught.value.time == pytest.approx(1, abs=0.01)
    assert caught.value.stiffness > 1


def test_an_undefined_derivative_names_the_state():
    rooted = system("Rooted", {"x": (1.0, "1")}, lambda m: {"x": ca.sqrt(m.x - 2)})

    with pytest.raises(SolveError, match="not a number") as caught:
        Simulator(rooted).run(until=1)
    assert caught.value.state == "x"


def test_algebraic_equations_without_a_solution_name_the_variable():
    with pytest.raises(SolveError, match=r"acts mostly on z") as caught:
        Simulator(circle()).run(values={"y": 2.0}, until=1)
    assert caught.value.state == "z"


def test_a_far_guess_is_reached_by_the_line_search():
    """atan needs damping from 30."""
    model = system(
        "Far",
        {"x": (1.0, "1")},
        lambda m: {"x": -m.x},
        algebraics={"z": (30.0, "1")},
        alg=lambda m: [ca.atan(m.z - m.x)],
    )
    result = Simulator(model).run(until=1)

    assert_allclose(result["z"], result["x"], rtol=1e-6)


def test_a_missing_value_is_told():
    model = system("Open", {"x": (0.0, "1")}, lambda m: {"x": m.u}, inputs={"u": (np.nan, "1/s")})
    with pytest.raises(ModelError, match="input u has no value"):
        Simulator(model).run(until=1)


def test_leaving_the_bounds_is_reported_not_hidden():
    model = system("Below", {"x": (1.0, "1", {"lower": 0.0, "upper": 2.0})}, lambda m: {"x": -0.5})
    result = Simulator(model).run(until=4)

    (violation,) = result.violations
    assert str(violation) == "x = -1 below 0 at t = 4 s"
    assert Simulator(model).run(until=1).violations == ()


def test_arrays_take_one_value_or_one_each():
    chain = Simulator(tanks(3))
    state = chain.state(values={"V": 2})
    assert state["V"] == 2

    indexed = system("Indexed", {f"c[{i}]": (0.0, "1") for i in range(3)}, lambda m: {
        f"c[{i}]": 0 for i in range(3)
    })  # fmt: skip
    simulator = Simulator(indexed)
    assert_allclose(simulator.state({"c": [1, 2, 3]}).x, [1, 2, 3])
    assert_allclose(simulator.state({"c": 4}).x, [4, 4, 4])
    assert simulator.run(until=1, outputs=["c"]).paths == ("c[0]", "c[1]", "c[2]")
    with pytest.raises(ModelError, match="3 values"):
        simulator.state({"c": [1, 2]})


def test_a_model_without_states_is_solved_at_each_time():
    model = system(
        "Static",
        {},
        lambda m: {},
        inputs={"u": (1.0, "1")},
        algebraics={"z": (1.0, "1")},
        alg=lambda m: [m.z**2 - m.u],
    )
    result = Simulator(model).run(Experiment().ramp("u", 9.0, 0, 8), times=[0, 3, 8])

    assert_allclose(result["z"], [1, 2, 3], rtol=1e-6)


def counting(level):
    """x' = 1 from 0; every rise of the trigger through zero counts."""
    return counter(lambda m, at: [EventRule("rise", level(m), None, None, ((at["y"], m.y + 1),))])


@pytest.mark.parametrize(
    ("level", "times"),
    [
        (lambda m: ca.sin(10 * m.x), 2 * np.pi * np.arange(1, 16) / 10),
        (lambda m: 1e-8 - (m.x - 3.3) ** 2, [3.3 - 1e-4]),
        (lambda m: ca.if_else(ca.fabs(m.x - 7.1) < 1e-3, 1, -1), [7.1 - 1e-3]),
        (lambda m: ca.sin(40 * m.t) - 2 + m.x / 5, None),
    ],
)
def test_no_step_hides_a_crossing(level, times):
    """Each is found where a fine grid, or the formula, says it is."""
    if times is None:
        grid = np.linspace(0, 10, 2_000_001)
        rises = np.sin(40 * grid) - 2 + grid / 5
        times = grid[1:][(rises[:-1] < 0) & (rises[1:] >= 0)]

    result = Simulator(counting(level)).run(until=10.0, every=10.0)

    assert_allclose([event.time for event in result.events], times, atol=1e-5)
    assert result["y"][-1] == len(times)


def test_a_grazing_contact_is_told(caplog):
    result = Simulator(counting(lambda m: -((m.x - 3.3) ** 2))).run(until=10.0, every=10.0)

    assert "touches zero at t = 3.3 s" in caplog.text
    assert result["y"][-1] <= 1


def test_the_time_of_a_jump_has_no_derivative():
    model = counting(lambda m: ca.if_else(m.x > 7.1, 1, -1))

    with pytest.raises(ModelError, match="jumps over zero"):
        Simulator(model).response(None, ["x"], ["y"], times=[10.0])
