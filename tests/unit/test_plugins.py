"""Models by name, without importing them; files that the operator names."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from galenic import plugins
from galenic.errors import DataError, UnknownName
from galenic.provenance import Provenance, provenance


@pytest.fixture
def own_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        textwrap.dedent(
            '''
            from galenic import Model, Parameter, State, der

            class FirstOrderDecay(Model):
                """A drug that disappears."""

                a = State(1.0, "mg", "amount")
                k = Parameter(0.1, "1/h", "rate constant")

                def equations(m):
                    yield der(m.a) == -m.k * m.a
            '''
        )
    )
    return path


@pytest.fixture
def no_files(monkeypatch):
    monkeypatch.setattr(plugins, "_files", [])


def test_listing_models_loads_no_casadi():
    code = (
        "import sys; from galenic import plugins; plugins.models(); print('casadi' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_every_row_of_the_index_leads_to_a_model():
    from galenic import Model

    for entry in plugins.models().values():
        assert issubclass(entry.load(), Model)
        assert entry.title


def test_a_strangers_file_offers_its_models(own_file, no_files):
    plugins.use_files([own_file])

    entry = plugins.models()["first-order-decay"]

    assert entry.title == "A drug that disappears."
    assert len(entry.load()().flatten().states) == 1
    assert plugins.model(f"{own_file}:FirstOrderDecay") is entry.load()


def test_a_changed_file_is_loaded_again(own_file):
    before = plugins.load_file(own_file)
    own_file.write_text(own_file.read_text() + "\nanswer = 42\n")

    assert plugins.load_file(own_file).answer == 42
    assert plugins.load_file(own_file) is not before


def test_a_file_with_an_error_says_so(tmp_path, no_files):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("1 / 0")

    with pytest.raises(ZeroDivisionError):
        plugins.load_file(wrong)
    with pytest.raises(DataError, match="there is no file"):
        plugins.use_files([tmp_path / "absent.py"])
    with pytest.raises(DataError, match="there is no file"):
        plugins.model("absent.py:Tank")


def test_a_mistyped_model_is_suggested(own_file):
    with pytest.raises(UnknownName) as caught:
        plugins.model("tablet-pres")
    with pytest.raises(UnknownName, match="there is no model 'Decay'"):
        plugins.model(f"{own_file}:Decay")

    assert "tablet-press" in caught.value.hint


def test_provenance_names_code_libraries_and_cpu():
    facts = provenance()

    assert dict(facts.libraries)["casadi"]
    assert facts.cpu and facts.version
    assert len(facts.code) == len(facts.hash) == 64
    other = Provenance(**{**facts.__dict__, "cpu": "another"})
    assert other.hash != facts.hash
    assert facts.to_dict()["libraries"]["numpy"]
