"""Export and import as services: the same from the command line and from Python."""

from __future__ import annotations

import json
import shlex
import zipfile
from pathlib import Path

import pytest

from galenic.app.cli import main
from galenic.app.index import entries

OWN = str(Path(__file__).parents[3] / "examples" / "own_model.py")
SBML = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2">
<model id="decay" name="Decay of A" timeUnits="second" substanceUnits="mole">
<listOfCompartments>
<compartment id="C" size="2" spatialDimensions="3" units="litre" constant="true"/>
</listOfCompartments><listOfSpecies>
<species id="A" compartment="C" initialAmount="3" hasOnlySubstanceUnits="false"
 boundaryCondition="false" constant="false"/></listOfSpecies>
<listOfParameters><parameter id="k" value="0.7" constant="true"/></listOfParameters>
<listOfRules><rateRule variable="A"><math xmlns="http://www.w3.org/1998/Math/MathML"><apply>
<minus/><apply><times/><ci> k </ci><ci> A </ci></apply></apply></math></rateRule></listOfRules>
</model></sbml>"""


def galenic(capsys, *line: str) -> tuple[int, str, str]:
    """Exit code, output and errors of one command."""
    code = main(line)
    out, err = capsys.readouterr()
    return code, out, err


def sbml(folder: Path) -> str:
    path = folder / "decay.xml"
    path.write_text(SBML)
    return str(path)


def test_both_are_services_with_a_form():
    export, imported = entries()["models.export"], entries()["models.import_sbml"]

    fields = {field["name"]: field for field in export.form()["fields"]}
    assert fields["format"]["options"] == ["c", "fmu"]
    assert [argument.kind.kind for argument in imported.arguments] == ["file"]


def test_a_model_is_exported_as_c(capsys, tmp_path):
    code, out, err = galenic(
        capsys,
        "models",
        "export",
        OWN,
        "--format",
        "c",
        "--set",
        "CL=7 L/h",
        "--out",
        str(tmp_path),
    )

    assert (code, err) == (0, "")
    assert "cc -O2 main.c galenic.c caffeine_model.c" in out
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"caffeine_model.c", "caffeine_model.h", "galenic.c", "galenic.h", "main.c"}
    assert '"CL"' in (tmp_path / "caffeine_model.c").read_text()


def test_a_model_is_exported_as_a_unit(capsys, tmp_path):
    line = ["models", "export", OWN, "--format", "fmu", "--for", "12 h", "--out", str(tmp_path)]
    code, _, _ = galenic(capsys, *line)

    text = zipfile.ZipFile(tmp_path / "caffeine_model.fmu").read("modelDescription.xml").decode()
    assert code == 0
    assert 'stopTime="43200.0"' in text


def test_the_commands_of_the_page_work(capsys, tmp_path, monkeypatch):
    page = Path(__file__).parents[3] / "docs" / "how-to" / "export-a-model.md"
    lines = [line for line in page.read_text().splitlines() if line.startswith("galenic ")]
    monkeypatch.chdir(tmp_path)

    codes = [galenic(capsys, *shlex.split(line)[1:])[0] for line in lines]

    assert codes == [0] * len(lines)
    assert len(lines) >= 2


def test_an_sbml_file_becomes_a_model_file(capsys, tmp_path):
    pytest.importorskip("libsbml")
    code, out, _ = galenic(capsys, "models", "import-sbml", sbml(tmp_path), "--out", str(tmp_path))

    assert code == 0
    assert "A_amount" in out
    code, out, _ = galenic(capsys, "check", str(tmp_path / "decay.py"))
    assert (code, "Decay: ok" in out) == (0, True)


def test_an_sbml_file_can_be_used_as_a_model_at_once(capsys, tmp_path):
    pytest.importorskip("libsbml")
    path = sbml(tmp_path)

    code, out, _ = galenic(capsys, "check", path)
    assert (code, "Decay: ok" in out) == (0, True)
    code, out, _ = galenic(capsys, "simulate", path, "--for", "1 s", "--set", "k=0.1", "--json")
    assert code == 0
    assert json.loads(out)["values"]["A"]["value"] == pytest.approx(
        1.5 * 2.718281828**-0.1, rel=1e-5
    )
    code, out, _ = galenic(capsys, "models", "--models", path)
    assert (code, "decay" in out) == (0, True)


def test_what_is_refused_is_told_in_full(capsys, tmp_path):
    pytest.importorskip("libsbml")
    path = tmp_path / "broken.xml"
    path.write_text(SBML.replace('variable="A"', 'variable="B"'))

    code, _, err = galenic(capsys, "models", "import-sbml", str(path))

    assert code != 0
    assert "not valid SBML" in err
    assert "broken.xml" in err


CONTROL = """$PROBLEM bolus
$INPUT ID TIME DV AMT WT
$DATA x.csv
$SUBROUTINES ADVAN1 TRANS2
$PK
 CL = THETA(1)*(WT/70)**.75*EXP(ETA(1))
 V = THETA(2)
 S1 = V
$ERROR
 Y = F*(1+EPS(1))
$THETA (0, 4) (0, 30)
$OMEGA .09
$SIGMA .04
"""


def test_a_control_stream_becomes_a_model_file_that_runs(capsys, tmp_path):
    path = tmp_path / "run1.ctl"
    path.write_text(CONTROL)
    line = ("models", "import-nonmem", str(path), "--time-unit", "h", "--dose-unit", "mg",
            "--dv-unit", "mg/L")  # fmt: skip

    code, _, err = galenic(capsys, *line)
    assert code != 0
    assert "covariate WT" in err

    code, out, err = galenic(capsys, *line, "--covariates", "WT=70 kg", "--out", str(tmp_path))
    assert (code, "Bolus, written as bolus.py" in out) == (0, True), err
    made = str(tmp_path / "bolus.py")
    code, out, err = galenic(
        capsys, "simulate", made, "--for", "2 h", "--set", "A1=90 mg", "--json"
    )
    assert code == 0, err
    found = json.loads(out)["values"]["Y"]["value"]
    assert found == pytest.approx(3.0 * 2.718281828 ** (-4 / 30 * 2), rel=1e-5)
