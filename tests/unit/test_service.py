"""A service is a typed function; every kind of argument goes round all surfaces unchanged."""

from __future__ import annotations

import base64
import json
from enum import Enum
from typing import Annotated, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.errors import DataError, UnitError, UnknownName
from galenic.twin.arguments import Argument, ArgumentError, Scalar, kind_from
from galenic.twin.service import (
    ArtefactRef,
    BeliefRef,
    Cancelled,
    Column,
    Columns,
    Duration,
    File,
    Help,
    In,
    Moment,
    Plot,
    Result,
    Run,
    Series,
    Setting,
    Table,
    TwinRef,
    Value,
    Values,
    service,
)

Mass = Annotated[float, In("mg", lower=0), Help("What is weighed.")]


class Shape(Enum):
    FLAT = 1
    ROUND = 2


Number = float | str | None


@service("Everything at once", stage="demo")
def everything(
    mass: Annotated[float, In("mg", lower=0, upper=500)],
    count: Annotated[int, In(lower=1)] = 3,
    name: str = "A",
    sure: bool = False,
    way: Literal["fast", "slow"] = "fast",
    shape: Shape = Shape.FLAT,
    duration: Duration = "8 h",
    points: Annotated[Table, Columns(time="h", level="mg/L", site="text")] | None = None,
    data: File | None = None,
    twin: TwinRef | None = None,
    belief: BeliefRef | None = None,
    made: ArtefactRef | None = None,
    values: Values = Values(),  # noqa: B008
    to: Setting = 1.0,
    time: Moment | None = None,
    outputs: tuple[str, ...] = (),
    *,
    run: Run,
) -> dict[str, Value]:
    """Take one of each kind.

    Parameters
    ----------
    mass : float [mg]
        What is weighed,
        in two lines.
    count : int
        How many.
    """
    seen.update({k: v for k, v in locals().items() if k != "run"}, who=run.who)
    return {"mass": Value(mass * 1e6, "mg")}


seen: dict[str, object] = {}
HASH = "ab" * 32

CASES = [
    # argument, text of the command line, JSON, what the function receives
    ("mass", "250", 250, 250e-6),
    ("mass", "0.25 g", "0.25 g", 250e-6),
    ("count", "7", 7, 7),
    ("name", "β-lactose", "β-lactose", "β-lactose"),
    ("sure", "yes", True, True),
    ("way", "slow", "slow", "slow"),
    ("shape", "ROUND", "ROUND", Shape.ROUND),
    ("duration", "1:30", 5400, 5400.0),
    ("duration", "20min", "20min", 1200.0),
    ("twin", "line-1", "line-1", TwinRef("line-1")),
    ("belief", "line-1", {"twin": "line-1", "time": None}, BeliefRef("line-1")),
    (
        "belief",
        "line-1@1970-01-01T00:00:01Z",
        {"twin": "line-1", "time": "1970-01-01T01:00:01+01:00"},
        BeliefRef("line-1", 1_000_000_000),
    ),
    ("made", HASH, HASH.upper(), ArtefactRef(HASH)),
    ("values", "V=5 L", {"V": "5 L"}, {"V": "5 L"}),
    ("to", "12 kg/h", "12 kg/h", "12 kg/h"),
    ("to", "true", True, True),
    ("to", "4.5", 4.5, 4.5),
    ("time", "1970-01-01T00:00:01Z", "1970-01-01T01:00:01+01:00", 1_000_000_000),
    ("outputs", "c", ["c"], ("c",)),
]


def argument(name: str) -> Argument:
    return next(a for a in everything.arguments if a.name == name)


@pytest.mark.parametrize(("name", "text", "json_value", "received"), CASES)
def test_command_line_and_json_give_the_function_the_same(name, text, json_value, received):
    from_line = argument(name).check(argument(name).kind.parse(text))
    from_json = argument(name).check(json_value)

    assert from_json == from_line
    assert argument(name).kind.canonical(from_json) == argument(name).kind.canonical(from_line)

    assert received == pytest.approx(argument(name).value(from_json, Run())) or received == (
        argument(name).value(from_json, Run())
    )


@pytest.mark.parametrize("name", [a.name for a in everything.arguments])
def test_each_kind_survives_the_index(name):
    record = json.loads(json.dumps(argument(name).to_dict()))

    assert argument(name) == Argument.from_dict(record)


@pytest.mark.parametrize("name", [a.name for a in everything.arguments])
def test_each_kind_has_a_schema_and_a_form_field(name):
    schema = argument(name).schema()

    assert {"type", "anyOf"} & set(schema)
    assert argument(name).kind.widget()["widget"]


@pytest.mark.parametrize(("name", "text", "json_value", "received"), CASES)
def test_checking_a_plain_value_again_changes_nothing(name, text, json_value, received):
    once = argument(name).check(json_value)

    assert once == argument(name).check(json.loads(json.dumps(once)))


def test_equal_quantities_have_equal_bytes():
    kind = argument("duration").kind

    assert kind.canonical(kind.check("8 h")) == kind.canonical(kind.check("480 min"))


def test_bounds_and_help_come_from_signature_and_docstring():
    assert argument("mass").help == "What is weighed, in two lines."
    assert argument("mass").kind.widget() == {
        "widget": "number", "unit": "mg", "min": 0, "max": 500,
    }  # fmt: skip
    assert everything.description == "Take one of each kind."


def test_help_may_stand_with_a_type_that_services_share():
    @service("Weigh", stage="demo")
    def weigh(first: Mass, second: Mass | None = None, third: Mass = 1.0) -> None:
        """Weigh.

        Parameters
        ----------
        third : float [mg]
            The last one.
        """

    texts = [argument.help for argument in weigh.arguments]
    assert texts == ["What is weighed.", "What is weighed.", "The last one."]
    assert {argument.kind for argument in weigh.arguments} == {Scalar("mg", 0)}


def test_the_function_receives_si_and_defaults():
    result = everything("0.1 g", run=Run(who="Ada"))

    assert result["mass"] == pytest.approx(100)
    assert seen["duration"] == 28800.0
    assert seen["who"] == "Ada"
    assert seen["points"] is None


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"mass": 501}, "501 is out of range"),
        ({"mass": float("nan")}, "nan is not finite"),
        ({"mass": "1 h"}, "1 h"),
        ({"mass": "heavy"}, "heavy"),
        ({"mass": True}, "True is not a number"),
        ({"mass": None}, "None is not a number"),
        ({"mass": 10**400}, "too large"),
        ({"mass": 1, "count": 0}, "0 is out of range"),
        ({"mass": 1, "count": 1.5}, "1.5 is not a whole number"),
        ({"mass": 1, "count": 2**70}, "too large"),
        ({"mass": 1, "way": "fats"}, "there is no choice 'fats'"),
        ({"mass": 1, "name": "\ud800"}, "cannot be stored"),
        ({"mass": 1, "made": "abc"}, "not the hash"),
        ({"mass": 1, "belief": "line@yesterday"}, "yesterday"),
        ({"mass": 1, "values": {"V": [1]}}, "[1] is not a number"),
        ({"mass": 1, "outputs": "c"}, "is not a list"),
        ({"mass": 1, "data": {"name": "a", "content": "%"}}, "not base64"),
        ({"mass": 1, "massa": 1}, "there is no argument 'massa'"),
        ({}, "argument 'mass' is missing"),
    ],
)
def test_wrong_arguments_are_refused_by_name(given, found):
    with pytest.raises(ArgumentError) as caught:
        everything.check(given)

    assert found in caught.value.found
    assert "argument" in caught.value.where + caught.value.found


def test_a_table_comes_as_csv_rows_or_columns(tmp_path):
    kind = argument("points").kind
    text = "time [min],level,site\n60,2.5,north\n120,1.5,south\n"
    (tmp_path / "points.csv").write_text(text)
    expected = {"time": [1.0, 2.0], "level": [2.5, 1.5], "site": ["north", "south"]}
    rows = [dict(zip(expected, row, strict=True)) for row in zip(*expected.values(), strict=True)]

    assert kind.check(text) == expected
    assert kind.check(rows) == expected
    assert kind.check(kind.parse(str(tmp_path / "points.csv"))) == expected

    table = kind.value(expected, None)
    assert np.allclose(table.si("time"), [3600, 7200])
    assert kind.check(table) == expected


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("time,level\n1,2\n", "'site' is missing"),
        ("time,level,site\n1,2\n", "row 2 has 2 cells"),
        ("time,level,size\n1,2,3\n", "there is no column 'size'"),
        ("time,level,site\n1,low,x\n", "low"),
        ({"time": [1], "level": [], "site": ["a"]}, "differ in length"),
        ({"time": 1}, "is not a table"),
        (7, "7 is not a table"),
    ],
)
def test_wrong_tables_are_refused_with_their_place(given, found):
    with pytest.raises(ArgumentError) as caught:
        argument("points").check(given)

    assert found in caught.value.found


def test_a_file_is_known_by_its_content(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    kind = argument("data").kind
    by_path = kind.check(kind.parse(str(tmp_path / "a.txt")))
    by_content = kind.check({"name": "a.txt", "content": base64.b64encode(b"hello").decode()})

    assert kind.canonical(by_path) == kind.canonical(by_content)
    assert kind.value(by_content, None).text() == kind.value(by_path, None).text() == "hello"


def test_an_unknown_type_fails_where_it_is_decorated():
    with pytest.raises(DataError) as caught:

        @service("Wrong", stage="demo")
        def wrong(when: complex) -> None: ...

    assert "'when'" in caught.value.found
    assert "test_service.py:" in caught.value.where


def test_an_argument_without_type_fails_where_it_is_decorated():
    with pytest.raises(DataError, match="has no type"):
        service("Wrong", stage="demo")(lambda x: None)


def test_a_default_that_does_not_fit_fails_where_it_is_decorated():
    with pytest.raises(DataError, match="default of argument 'x' does not fit"):

        @service("Wrong", stage="demo")
        def wrong(x: Annotated[float, In("g", lower=0)] = -1.0) -> None: ...


def test_a_documented_parameter_must_exist():
    with pytest.raises(UnknownName, match="'mas'"):

        @service("Wrong", stage="demo")
        def wrong(mass: float) -> None:
            """Do.

            Parameters
            ----------
            mas : float
                Mistyped.
            """


@pytest.mark.parametrize("word", ["effect", "role"])
def test_effect_and_role_are_known_words(word):
    with pytest.raises(UnknownName):
        service("Wrong", stage="demo", **{word: "some"})(test_effect_and_role_are_known_words)


def test_equal_calls_draw_equal_numbers():
    first, second = Run(seed=1, name="a.b").rng, Run(seed=1, name="a.b").rng

    assert first.random(3).tolist() == second.random(3).tolist()


def test_progress_of_a_cancelled_run_stops_it():
    with pytest.raises(Cancelled):
        Run(stopped=lambda: True).progress(0.5)


@pytest.mark.parametrize("part", ["store", "runner"])
def test_without_a_site_the_error_says_what_to_start(part):
    with pytest.raises(DataError, match=r"there is none here|none runs here"):
        getattr(Run(), part)


def test_a_result_goes_through_json_unchanged():
    result = Result(
        "done",
        values={"k": Value(1.5, "1/h", lower=1.0, upper=2.0), "n": 3},
        tables=[Table("t", (Column("a", [1.0, 2.0], "g"), Column("b", ["x", "y"])))],
        plots=[Plot("p", _axis(), (Series("c", np.array([1.0, np.nan]), "g", "measured"),))],
        ok=False,
    )

    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))

    assert record["plots"][0]["y"][0]["data"] == [1.0, None]
    assert record == Result.from_dict(record).to_dict()


def _axis():
    from galenic.twin.service import Axis

    return Axis("time", np.array([0.0, 1.0]), "h")


def test_columns_of_a_table_are_of_equal_length():
    with pytest.raises(DataError, match="differ in length"):
        Table("t", (Column("a", [1]), Column("b", [])))


def test_a_plot_has_only_known_styles():
    with pytest.raises(UnknownName, match="plot style"):
        Series("c", [1], style="dotted")


def test_unknown_unit_of_an_argument_suggests_one():
    with pytest.raises((ArgumentError, UnitError)) as caught:
        argument("mass").check("3 mgg")

    assert "mgg" in caught.value.found


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("name", [a.name for a in everything.arguments])
def test_any_json_is_accepted_or_refused_as_an_argument_error(name):
    one = argument(name)

    @given(json_values)
    def accepted_or_refused(given_value):
        try:
            plain = one.check(given_value)
        except ArgumentError:
            return
        assert one.check(plain) == plain
        one.value(plain, Run()) if one.kind.kind != "file" else None

    accepted_or_refused()


def test_kinds_read_back_from_their_facts():
    for one in everything.arguments:
        assert one.kind == kind_from(one.kind.facts())
