"""Control streams: what is taken over, and that everything else is refused with its line."""

from __future__ import annotations

import numpy as np
import pytest

from galenic.errors import DataError
from galenic.inference.mixed.layout import Route
from galenic.inference.nonmem import NotExpressible, Units, import_nonmem, import_text

RUN = """$PROBLEM one compartment
$INPUT ID TIME DV AMT WT SEX
$DATA x.csv IGNORE=@ IGNORE=(TIME.GT.48)
$SUBROUTINES ADVAN1 TRANS2
$PK
 TVCL = THETA(1)
 IF (SEX.EQ.1) THEN
   TVCL = THETA(1)*THETA(3)
 ENDIF
 CL = TVCL*(WT/70)**.75*EXP(ETA(1))
 V = THETA(2)
 S1 = V
$ERROR
 Y = F + F*EPS(1) + EPS(2)
$THETA (0, 4) ; clearance
$THETA (0, 30) FIX
$THETA (0, .8, 2)
$OMEGA .09
$SIGMA .04 .25 FIX
$ESTIMATION METHOD=1 INTERACTION
"""
UNITS = Units("h", "mg", "mg/L", {"WT": "70 kg", "SEX": "0"})
DATA = """ID,TIME,DV,AMT,WT,SEX
1,0,.,100,80,1
1,1,3.1,.,80,1
1,60,1,.,80,1
2,0,.,100,60,0
2,2,2.5,.,60,0
"""


def imported(change: str = "", to: str = ""):
    assert change in RUN
    return import_text(RUN.replace(change, to) if change else RUN, UNITS)


def test_a_subject_has_the_parameters_of_the_code():
    population = imported().population()

    subject = population.for_subject({"WT": "80 kg", "SEX": 1})

    assert subject.values()["WT"].value == 80.0
    woman = imported().model().simulate("1 h", values={"SEX": 1, "WT": "80 kg", "A1": "90 mg"})
    rate = 4 * 0.8 * (80 / 70) ** 0.75 / 30
    assert float(woman.at("1 h")["Y"]) == pytest.approx(3.0 * np.exp(-rate), rel=1e-6)


def test_what_is_fixed_is_held_and_errors_are_parts():
    problem = imported().problem(DATA)

    assert problem.names == ["THETA1", "THETA3", "omega(ETA1)", "Y.additive", "Y.proportional"]
    free = dict(zip(problem.names, problem.packing.free, strict=True))
    assert not free["Y.additive"]
    assert free["Y.proportional"]
    residual = problem.population.residuals[0]
    assert residual.proportional == pytest.approx(0.2)
    assert residual.additive == "0.5 mg/L"


def test_rows_are_those_of_data():
    records = imported().records(DATA)

    assert records.count == 2
    assert len(records) == 2


@pytest.mark.parametrize(
    ("error", "additive", "proportional", "combine"),
    [
        ("Y = F + EPS(2)", 0.5, 0.0, "variance"),
        ("Y = F*EXP(EPS(1))", 0.0, 0.2, "variance"),
        ("W = SQRT(.25 + .04*F**2)\n Y = F + W*EPS(3)", 0.5, 0.2, "variance"),
        ("W = .5 + .2*F\n IPRED = F\n Y = IPRED + W*ERR(3)", 0.5, 0.2, "sd"),
        ("IPRED = LOG(F)\n Y = IPRED + EPS(2)", 0.5, 0.0, "variance"),
    ],
)
def test_errors_are_recognised_by_what_they_do(error, additive, proportional, combine):
    text = RUN.replace("Y = F + F*EPS(1) + EPS(2)", error).replace(".25 FIX", ".25 FIX 1 FIX")

    residual = import_text(text, UNITS).population().residuals[0]

    given = float(str(residual.additive).split()[0])
    assert (given, residual.proportional) == pytest.approx((additive, proportional), rel=1e-6)
    assert residual.combine == combine


@pytest.mark.parametrize(
    ("change", "to", "line", "words"),
    [
        ("$PROBLEM one", "$SIZES LTH=5\n$PROBLEM one", 1, "$SIZES"),
        ("ADVAN1 TRANS2", "ADVAN5", 4, "ADVAN5"),
        ("ADVAN1 TRANS2", "ADVAN1 TRANS4", 4, "TRANS4"),
        (" V = THETA(2)", " V = GAMLN(THETA(2))", 11, "GAMLN"),
        (" V = THETA(2)", " V = THETA(2)*AGE", 11, "AGE"),
        (" V = THETA(2)", " V = THETA(2)*(WT/70)**(3/4)", 11, "3/4"),
        (" V = THETA(2)", " V = THETA(2) THETA(1)", 11, "not understood"),
        (" V = THETA(2)", " WT = THETA(2)", 11, "WT"),
        (" V = THETA(2)", " V = V*THETA(2)", 11, "V is not known"),
        (" V = THETA(2)", " V = THETA(2)*TIME", 11, "TIME"),
        (" V = THETA(2)", " V = THETA(2)\n A_0(1) = 3", 12, "A_0"),
        (" V = THETA(2)", " V = THETA(2)\n F1 = THETA(1)*WT", 12, "F1"),
        (" S1 = V", " S1 = V\n IF (WT.GT.3) THEN", 13, "ENDIF"),
        ("Y = F + F*EPS(1) + EPS(2)", "Y = F + SQRT(F)*EPS(1)", 14, "residual error"),
        ("Y = F + F*EPS(1) + EPS(2)", "Y = F + CL*EPS(1)", 14, "residual error"),
        ("Y = F + F*EPS(1) + EPS(2)", "Y = F + EPS(1)*THETA(1)", 0, "THETA(1)"),
        ("Y = F + F*EPS(1) + EPS(2)", "Y=F+EPS(1)\n IF (SEX.EQ.1) Y=F+F*EPS(2)",
         15, "condition"),
        ("$OMEGA .09", "$OMEGA BLOCK(1) .09\n$OMEGA BLOCK(1) SAME", 19, "SAME"),
        ("$OMEGA .09", "$OMEGA BLOCK(2) .09 .01", 18, "BLOCK(2)"),
        ("$OMEGA .09", "$OMEGA .09 .04", 0, "ETA(2)"),
        ("(0, .8, 2)", "(0, .8, 2, 3)", 17, "$THETA"),
        ("METHOD=1", "METHOD=BAYES", 20, "BAYES"),
        ("INTERACTION", "CENTERING", 20, "CENTERING"),
        (" WT SEX\n", " WT SEX DATE\n", 2, "DATE"),
        ("IGNORE=@", "RECORDS=5", 3, "RECORDS"),
    ],
)  # fmt: skip
def test_everything_else_is_refused_with_its_line(change, to, line, words):
    with pytest.raises(NotExpressible) as refusal:
        imported(change, to)

    assert words in str(refusal.value)
    assert (f"line {line}" in str(refusal.value)) == (line > 0)


def test_a_covariate_needs_its_unit():
    with pytest.raises(NotExpressible, match=r"covariate SEX.*"):
        import_text(RUN, Units("h", "mg", "mg/L", {"WT": "70 kg"}))


def test_parameters_of_doses():
    text = RUN.replace(" V = THETA(2)", " V = THETA(2)\n ALAG1 = THETA(4)\n F1 = .7")
    run = import_text(text.replace("(0, .8, 2)", "(0, .8, 2) (0, .5)"), UNITS)
    layout = run.module.LAYOUT

    assert layout.routes["*"] == Route("A1", "mg", bioavailability="F1", lag="THETA4")
    assert run.population().system.entry("THETA4").unit.text == "h"


def test_no_file_is_told(tmp_path):
    with pytest.raises(DataError, match="no file"):
        import_nonmem(tmp_path / "none.ctl", UNITS)


def test_a_row_too_short_is_told_with_its_line():
    with pytest.raises(DataError, match="4 values"):
        imported().records(DATA + "3,0,1,2\n")


@pytest.mark.parametrize(("sex", "factor"), [(0, 1.0), (1, 0.8), (2, 0.5)])
def test_conditions_of_one_line_and_of_several_branches(sex, factor):
    """Also ELSEIF and ELSE, and a name that keeps its value where no condition holds."""
    code = """ TVCL = THETA(1)
 IF (SEX.EQ.1) TVCL = THETA(1)*.8
 IF (SEX == 0) THEN
   F9 = 1
 ELSEIF (SEX.EQ.1.OR.SEX.GT.5) THEN
   F9 = 1.
 ELSE
   F9 = 5D-1
 ENDIF
 CL = TVCL*F9*EXP(ETA(1))"""
    start, end = RUN.index(" TVCL = THETA(1)"), RUN.index(" V = THETA(2)")
    text = RUN[:start] + code + "\n" + RUN[end:]
    text = text.replace("F9", "SHARE").replace("$THETA (0, .8, 2)\n", "")

    units = Units("h", "mg", "mg/L", {"SEX": "0"})
    run = import_text(text, units).model().simulate("1 h", values={"SEX": sex, "A1": "90 mg"})

    assert float(run.at("1 h")["Y"]) == pytest.approx(3.0 * np.exp(-4 * factor / 30), rel=1e-6)
