"""A stranger's model file gets everything from the command line, without touching galenic."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from galenic.app.cli import main

OWN = str(Path(__file__).parents[2] / "examples" / "own_model.py")

BROKEN = '''
from galenic import Model, Parameter, State, der


class Forgetful(Model):
    """A tank whose author forgot a volume."""

    V = Parameter(10.0, "L", "volume", lower=0)
    F = Parameter(1.0, "L/min", "flow", lower=0)
    c = State(1.0, "mol/L", "concentration", lower=0)

    def equations(m):
        yield der(m.c) == -m.F * m.c


class Sound(Model):
    """Decay."""

    k = Parameter(1.0, "1/h", "rate", lower=0)
    c = State(1.0, "mol/L", "concentration", lower=0)

    def equations(m):
        yield der(m.c) == -m.k * m.c
'''


def galenic(capsys, *line: str) -> tuple[int, str, str]:
    """Exit code, output and errors of one command."""
    code = main(line)
    out, err = capsys.readouterr()
    return code, out, err


def document(capsys, *line: str) -> dict:
    """The one JSON document that a command with --json prints."""
    _, out, _ = galenic(capsys, *line, "--json")
    return json.loads(out)


def test_own_model_is_under_25_lines():
    source = Path(OWN).read_text().split('"""', 2)[2]

    assert len([line for line in source.splitlines() if line.strip()]) < 25


def test_own_model_is_checked_simulated_drawn_and_written(capsys, tmp_path):
    plot, table = str(tmp_path / "c.png"), str(tmp_path / "c.csv")

    code, out, _ = galenic(capsys, "check", OWN)
    assert (code, "Caffeine: ok" in out) == (0, True)

    line = ["simulate", OWN, "--set", "CL=0 L/h", "--set", "gut=100", "--for", "24 h"]
    code, out, _ = galenic(capsys, *line, "--every", "1 h", "--plot", plot, "--csv", table)
    assert code == 0
    rows = list(csv.DictReader(Path(table).read_text().splitlines()))
    assert float(rows[-1]["C [mg/L]"]) == pytest.approx(100 / 42, rel=1e-4)  # nothing is cleared
    assert len(rows) == 25
    assert Path(plot).read_bytes().startswith(b"\x89PNG")


def test_own_model_appears_in_the_catalogue(capsys):
    found = document(capsys, "--models", OWN, "models")

    columns = {c["name"]: c["data"] for c in found["tables"][0]["columns"]}
    assert "caffeine" in columns["name"]


def test_own_model_is_a_service_argument_by_name(capsys):
    found = document(capsys, "models", "simulate", "caffeine", "--models", OWN, "--for", "2 h")

    assert found["values"]["C"]["unit"] == "mg/L"


def test_doses_come_from_a_table(capsys, tmp_path):
    doses = tmp_path / "doses.csv"
    doses.write_text("time [h],path,amount,duration\n0,gut,95 mg,0\n6,gut,95 mg,0\n")
    line = ["simulate", OWN, "--set", "gut=0", "--set", "CL=0", "--for", "48 h"]

    found = document(capsys, *line, "--doses", str(doses))

    assert found["values"]["body"]["value"] == pytest.approx(190, rel=1e-4)


@pytest.mark.parametrize(
    ("line", "code", "found"),
    [
        (["simulat", "x"], 2, "did you mean 'simulate'"),
        (["models", "simulate", OWN, "--setting", "x=1"], 2, "No such option"),
        (["simulate", OWN, "--set", "CLL=1"], 2, "did you mean 'CL'"),
        (["simulate", OWN, "--set", "CL=1 kg"], 1, "kg"),
        (["simulate", OWN, "--set", "CL"], 2, "name=value"),
        (["simulate", OWN, "--for", "soon"], 2, "soon"),
        (["simulate", OWN, "extra"], 2, "one value too many"),
        (["simulate"], 2, "argument 'model' is missing"),
        (["simulate", "nothing"], 2, "there is no model 'nothing'"),
        (["simulate", "absent.py"], 1, "absent.py"),
        (["check", "absent.py"], 1, "absent.py"),
        (["services", "models.simulat"], 2, "did you mean 'models.simulate'"),
        (["verify", "nowhere"], 2, "nowhere"),
    ],
)
def test_wrong_commands_say_what_is_wrong_in_words_and_as_json(capsys, line, code, found):
    assert galenic(capsys, *line)[0] == code
    words = galenic(capsys, *line)[2]
    facts = document(capsys, *line)

    assert found in words
    assert words.startswith("error: ")
    assert any(found in text for text in facts.values())


def test_a_unit_error_names_the_line_of_the_file(capsys, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)

    code, out, _ = galenic(capsys, "check", str(path))
    facts = document(capsys, "check", str(path))

    assert code == 1
    assert "broken.py:13" in out
    assert not facts["models"]["forgetful"]["ok"]
    assert facts["models"]["sound"]["ok"]


def test_a_file_that_is_not_python_names_the_line(capsys, tmp_path):
    path = tmp_path / "typo.py"
    path.write_text("x = 1\ndef f(:\n")

    code, _, err = galenic(capsys, "check", str(path))

    assert code == 1
    assert f"{path}:2" in err


def test_help_of_everything_is_there(capsys):
    for line in ([], ["simulate"], ["check"], ["models"], ["services"], ["models", "steady"]):
        code, out, _ = galenic(capsys, *line, "--help")
        assert code == 0
        assert "Usage:" in out


def test_services_are_listed_and_described(capsys):
    listed = document(capsys, "services")
    form = document(capsys, "services", "models.simulate")

    assert "models.simulate" in [one["id"] for one in listed]
    assert [f["widget"] for f in form["fields"][:3]] == ["model", "values", "duration"]


def test_version_says_what_it_runs_on(capsys):
    assert document(capsys, "version")["libraries"]["casadi"]


@pytest.mark.parametrize("line", [["--help"], ["services"], ["simulate", "--help"]])
def test_lists_and_help_load_nothing_heavy(line):
    heavy = ["casadi", "numpy", "scipy", "pandas", "fastapi", "nicegui", "rich", "pint", "asyncio"]
    code = (
        "import sys; from galenic.app.cli import main; "
        f"main({line!r}); print(*sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr.split() == []
