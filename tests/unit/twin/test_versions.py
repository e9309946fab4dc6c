"""Definitions as data: everything comes back, and changed code is seen."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.errors import DataError
from galenic.inference.augment import Augmented
from galenic.inference.kalman import EKF
from galenic.records import open_site
from galenic.twin import sources
from galenic.twin.definition import Estimation, TwinDefinition, load, names
from galenic.twin.example import estimator, tank
from galenic.twin.kept import KEPT, Versions, keep
from galenic.twin.level import Level
from galenic.twin.portable import Reference, from_data, reference_to, to_data
from galenic.twin.versions import Version, as_recorded
from galenic.units import Quantity

SHIPPED = sorted(
    {*names(), "galenic.twin.example:tank", "galenic.stages.clinical.twin:gentamicin_patient"}
)
CODE = ("model", "estimator", "forewarning")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_definition_comes_back_from_its_record(name):
    definition = load(name)
    version = Version.of(definition)

    back = version.definition()
    anew = replace(back)  # forgets what was recorded: says again what it is

    assert back.identity() == anew.identity() == definition.identity()
    assert anew.facts() == back.facts() == definition.facts()
    for field in fields(TwinDefinition):
        if field.name not in CODE:
            assert getattr(back, field.name) == getattr(definition, field.name), field.name
    assert Version.of(anew) == version == Version.of(back)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_estimator_of_a_record_is_that_of_the_source(name):
    definition = load(name)
    back = Version.of(definition).definition()
    system = back.system()

    made, expected = back.make_estimator(system), definition.make_estimator(system)

    assert type(made) is type(expected)
    prior, wanted = made.start(None, 0), expected.start(None, 0)
    assert prior.identity == wanted.identity
    later = 5_000_000_000
    assert made.predict(prior, later, {}).identity == expected.predict(wanted, later, {}).identity


@pytest.mark.parametrize("name", ["patient", "press-record"])
def test_settings_are_the_record_s_when_their_source_says_otherwise(name, monkeypatch):
    definition = load(name)
    version = Version.of(definition)
    prior = definition.make_estimator(definition.system()).start(None, 0).identity
    monkeypatch.setattr("galenic.stages.clinical.twin.MAP.settings", lambda *_: {})
    monkeypatch.setattr("galenic.stages.manufacturing.press_record.definition.ESTIMATED", ())

    back = version.definition()

    assert back.make_estimator(back.system()).start(None, 0).identity == prior
    assert sources.changes(version.code, sources.fingerprint(back.code()), back.code()) == []


def test_what_decides_counts_for_the_identity_and_what_is_shown_does_not():
    definition = tank()
    before = definition.identity()

    assert replace(definition, history=5.0).identity() != before
    assert replace(definition, targets={"y0": 2.5}).identity() != before
    assert replace(definition, estimator=Estimation(estimator, {"a": 1})).identity() != before
    assert replace(definition, shown=("y0",), horizon=5.0).identity() == before
    assert definition.identity({"x0": 1.0, "x1": 2.0}) == definition.identity(
        {"x1": 2.0, "x0": 1.0}
    )


PLAIN = (
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
    | st.sampled_from([Level.TWIN, Augmented("a", sd=0.1, log=True), Quantity(2.5, "mg/L")])
)  # fmt: skip
NESTED = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(NESTED)
def test_values_come_back_as_they_were(value):
    back = from_data(json.loads(json.dumps(to_data(value, "here"), allow_nan=False)))

    assert back == value
    assert repr(back) == repr(value)  # kinds and order too


@pytest.mark.parametrize("array", [np.eye(3) / 3, np.array([[np.inf, -0.0]]), np.arange(4)])
def test_arrays_come_back_bit_for_bit(array):
    back = from_data(json.loads(json.dumps(to_data(array, "here"))))

    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"$is": "Popen", "args": "ls"}, "unknown class 'Popen'"),
        ({"$is": "Rule", "tag": "a", "faster": 1}, "a Rule with faster"),
        ({"$eval": "1"}, r"\$eval is not a mark"),
    ],
)
def test_what_is_no_record_of_a_definition_is_refused(data, words):
    with pytest.raises(DataError, match=words):
        from_data(data)


def test_what_is_not_data_is_named_by_its_place():
    definition = replace(tank(), estimator=Estimation(EKF, {"augmented": ({"a": {1, 2}},)}))

    with pytest.raises(DataError, match="a set cannot be recorded") as caught:
        definition.facts()

    assert caught.value.where == "estimator of tank.options.augmented[0].a"


def test_code_that_is_found_under_its_name_only_by_chance_is_refused(monkeypatch):
    monkeypatch.setattr("galenic.twin.example.estimator", lambda system, noise: None)

    with pytest.raises(DataError, match="is another one now"):
        reference_to(estimator)


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("galenic.nowhere:x", "galenic.nowhere"),
        ("galenic.twin.example:nobody", "there is no 'nobody'"),
        ("galenic.twin.example:TAU", "is a float"),
        ("nowhere.py:x", r"no file .*nowhere\.py"),
    ],
)
def test_a_reference_to_nothing_is_a_clear_error(at, words):
    with pytest.raises(DataError, match=words):
        Reference(at).load()


def test_a_version_that_was_exchanged_in_the_store_is_refused(tmp_path):
    mine, _ = as_recorded(tank())
    other, _ = as_recorded(replace(tank(), version="2"))
    with open_site(tmp_path) as store:
        with store.transaction() as tx:
            keep(tx, "tank-1", mine.identity(), mine, 1)
            false = keep(tx, "tank-1", other.identity(), other, 2)
        found = Versions(store, "tank-1").find(mine.identity(), {})
        with store.transaction() as tx:
            tx.put(KEPT, f"tank-1|{mine.identity()}", [false])

        assert found.facts() == mine.facts()
        with pytest.raises(DataError, match="not the one that was recorded"):
            Versions(store, "tank-1").find(mine.identity(), {})


# --- sources ---------------------------------------------------------------------------------

FILES = {
    "__init__.py": "",
    "own.py": """\
from typing import TYPE_CHECKING

from line import shapes
from line.steps import step

if TYPE_CHECKING:
    from line.typing_only import Nothing

LENGTH = 3.0
NOISE = 0.1


def filter(system, noise):
    \"\"\"Uses the length.\"\"\"
    from .late import late
    return step(system) + late(LENGTH)


def definition():
    return NOISE, shapes.circle()
""",
    "steps.py": "import numpy\nfrom line.deep import deep\n\n\ndef step(x):\n    return deep\n",
    "deep.py": "deep = 1\n",
    "late.py": "def late(x):\n    return x\n",
    "shapes.py": "def circle():\n    return 3\n",
    "typing_only.py": "Nothing = None\n",
}
PARTS = {"estimator": Reference("line.own:filter")}


def test_what_a_twin_decides_does_not_depend_on_records_connections_or_pages():
    found = sources.fingerprint(tank().code())["parts"]["twin"]["uses"]

    assert {"galenic.twin.fold", "galenic.twin.guard", "galenic.inference.kalman"} <= {*found}
    towers = ("galenic.records", "galenic.app", "galenic.stages")
    assert [name for name in found if name.startswith(towers)] == []


@pytest.fixture
def line(tmp_path, monkeypatch):
    """A package ``line`` with an estimator, and a function that changes one of its files."""
    for name, text in FILES.items():
        (tmp_path / "line").mkdir(exist_ok=True)
        (tmp_path / "line" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    def change(name, old, new):
        path = tmp_path / "line" / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    yield change
    for name in [name for name in sys.modules if name.partition(".")[0] == "line"]:
        del sys.modules[name]


def changed_after(*change):
    before = sources.fingerprint(PARTS)
    change[0](*change[1:])
    return sources.changes(before, sources.fingerprint(PARTS), PARTS)


def test_only_what_the_estimator_reaches_is_recorded(line):
    found = sources.fingerprint(PARTS)

    assert found["parts"]["estimator"]["uses"] == ["line.deep", "line.late", "line.steps"]
    assert found["libraries"] == {"numpy": np.__version__}


@pytest.mark.parametrize(
    ("name", "old", "new", "named"),
    [
        ("own.py", "LENGTH = 3.0", "LENGTH = 4.0", "line.own:filter"),
        ("own.py", "+ late", "- late", "line.own:filter"),
        ("deep.py", "1", "2", "line.deep"),
        ("late.py", "return x", "return -x", "line.late"),
    ],
)
def test_changed_code_is_named_with_both_hashes(line, name, old, new, named):
    (words,) = changed_after(line, name, old, new)

    assert words.startswith(f"the code of {named} has changed since (recorded ")
    recorded, found = words.rstrip(")").partition("recorded ")[2].split(", found ")
    assert len(recorded) == len(found) == sources.SHORT
    assert recorded != found


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("own.py", "NOISE = 0.1", "NOISE = 0.2"),
        ("shapes.py", "3", "4"),
        ("typing_only.py", "None", "1"),
    ],
)
def test_code_that_the_estimator_does_not_reach_may_change(line, name, old, new):
    assert changed_after(line, name, old, new) == []


def test_code_that_is_gone_is_named(line, tmp_path):
    before = sources.fingerprint(PARTS)
    (tmp_path / "line" / "deep.py").unlink()

    (words,) = sources.changes(before, sources.fingerprint(PARTS), PARTS)

    assert words.startswith("the code of line.deep is gone")


def test_code_without_a_source_is_known_by_the_version_of_its_library():
    parts = {"estimator": Reference("casadi._casadi:Function")}

    found = sources.fingerprint(parts)

    assert found["parts"]["estimator"]["hash"] == ""
    assert list(found["libraries"]) == ["casadi"]
    assert sources.changes(found, found, parts) == []


def test_other_libraries_python_and_processor_are_named(line):
    now = sources.fingerprint(PARTS)
    before = {**now, "libraries": {"numpy": "1.0"}, "python": "3.9", "cpu": "abacus"}

    assert sources.changes(before, now, PARTS) == [
        f"numpy was 1.0, is {np.__version__}",
        f"Python was 3.9, is {now['python']}",
        f"the processor was abacus, is {now['cpu']}",
    ]
