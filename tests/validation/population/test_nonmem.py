"""Control streams estimated: NONMEM's documented result, and the native models of the library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from galenic.inference.mixed.fit import evaluate, fit
from galenic.inference.mixed.layout import Column, Layout, Route
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import read
from galenic.inference.nonmem import NotExpressible, Units, export, import_text
from galenic.library.pk.compartments import TwoCompartment
from galenic.library.pk.populations import theophylline, warfarin, warfarin_effect
from galenic.modeling.variability import Between, Covariate, Population, Residual

WEIGHT = Units("h", "mg", "mg/L", {"WT": "70 kg"})
THEOPHYLLINE = Layout(Route("absorption.depot"), "body.C")
WARFARIN_DATA = Layout(
    Route("absorption.depot"), {"cp": "body.C", "pca": None}, {"weight": Column("wt", "kg")}
)
EXAMPLE = """$PROBLEM THEOPHYLLINE   POPULATION DATA
$INPUT ID TIME DV=CONC AMT EVID CMT WT
$DATA theo_sd.csv IGNORE=@
$SUBROUTINES ADVAN2
$PK
; AMT in mg here, in mg/kg in the original: the weight of the scale falls out
   KA=THETA(1)+ETA(1)
   K=THETA(2)+ETA(2)
   CL=THETA(3)*WT+ETA(3)
   S2=CL/K
$THETA (.1,3,5) (.008,.08,.5) (.004,.04,.9)
$OMEGA BLOCK(3) 6 .005 .0002 .3 .006 .4
$ERROR
   Y=F+EPS(1)
$SIGMA .4
$EST MAXEVAL=450 PRINT=5
"""
WARFARIN = """$PROBLEM warfarin, transit absorption
$INPUT ID TIME AMT DV DVID=DROP EVID WT AGE SEX=DROP
$DATA warfarin.csv IGNORE=@
$SUBROUTINE ADVAN6 TOL=9
$MODEL COMP=(DEPOT,DEFDOSE) COMP=(TRANSIT) COMP=(CENTRAL,DEFOBS)
$PK
 MU_1 = LOG(THETA(1))
 KTR = EXP(MU_1 + ETA(1))
 CL = THETA(2)*(WT/70)**0.75*EXP(ETA(2))
 V = THETA(3)*(WT/70)*EXP(ETA(3))
 S3 = V
$DES
 DADT(1) = -KTR*A(1)
 DADT(2) = KTR*(A(1)-A(2))
 DADT(3) = KTR*A(2) - CL/V*A(3)
$ERROR
 IPRED = F
 W = SQRT(THETA(4)**2 + (THETA(5)*IPRED)**2)
 IRES = DV - IPRED
 Y = IPRED + W*EPS(1)
$THETA (0, 1.0) ; KTR
 (0, 0.13) (0, 8) (0, .5) (0, .1)
$OMEGA .3 .07 .02
$SIGMA 1 FIX
$ESTIMATION METHOD=1 INTER MAXEVAL=9999
"""
NATIVE = """$PROBLEM theophylline as in the library
$INPUT ID TIME DV AMT EVID CMT WT
$DATA theo_sd.csv IGNORE=@
$SUBROUTINES ADVAN2 TRANS2
$PK
 KA = THETA(1)*EXP(ETA(1))
 CL = THETA(2)*EXP(ETA(2))
 V = THETA(3)*EXP(ETA(3))
 S2 = V
$ERROR
 Y = F + EPS(1)
$THETA (0, 1.590) (0, 2.752) (0, 31.81)
$OMEGA .402 .0691 .0192
$SIGMA .481636 ; 0.694 squared
$ESTIMATION METHOD=COND INTER
"""


def data(folder: Path, name: str) -> str:
    return (folder / "poppk-classics" / name).read_text()


def test_the_example_of_nonmem_ends_where_its_report_does(shared_data: Path) -> None:
    """Objective 104.561; typical values 2.77, .0781, .0363; variances 5.55, 2.4e-4, .515."""
    run = import_text(EXAMPLE, WEIGHT)

    found = fit(run.problem(data(shared_data, "theo_sd.csv")), run.method)

    assert run.method == "fo"
    assert found.objective == pytest.approx(104.561, abs=6e-4)
    typical = [found[f"THETA{k}"] for k in (1, 2, 3)]
    assert typical == pytest.approx([2.77, 0.0781, 0.0363], rel=2e-3)
    spread = [found[f"omega(ETA{k})"] for k in (1, 2, 3)]
    assert spread == pytest.approx([5.55, 2.40e-4, 0.515], rel=3e-3)
    assert found["Y.additive"] ** 2 == pytest.approx(0.388, abs=6e-4)


def test_warfarin_with_differential_equations_as_the_native_model(shared_data: Path) -> None:
    run = import_text(WARFARIN, WEIGHT)
    rows = [r for r in data(shared_data, "warfarin.csv").splitlines() if ",pca," not in r]

    found = fit(run.problem("\n".join(rows)), run.method)

    assert run.method == "focei"
    assert found.objective == pytest.approx(289.9153, abs=1e-4)
    names = ("THETA1", "THETA2", "THETA3", "Y.additive", "Y.proportional")
    assert [found[n] for n in names] == pytest.approx(
        [1.161, 0.1350, 8.009, 0.466, 0.1013], rel=1e-3
    )


@pytest.mark.parametrize("method", ["fo", "foce", "focei", "laplace"])
def test_theophylline_has_the_objective_of_the_native_model(method: str, shared_data: Path) -> None:
    native = Problem(
        theophylline(),
        read(
            shared_data / "poppk-classics" / "theo_sd.csv",
            Layout(Route("absorption.depot"), "body.C"),
        ),
    )
    problem = import_text(NATIVE, WEIGHT).problem(data(shared_data, "theo_sd.csv"))

    found, expected = evaluate(problem, method), evaluate(native, method)

    assert found.objective == pytest.approx(expected.objective, abs=1e-5)


@pytest.mark.parametrize(
    ("structure", "code", "thetas"),
    [
        ("ADVAN3 TRANS4", "CL=THETA(1)\n V1=THETA(2)\n Q=THETA(3)\n V2=THETA(4)", "5 20 8 50"),
        ("ADVAN3 TRANS1", "K=THETA(1)\n K12=THETA(2)\n K21=THETA(3)", ".25 .4 .16"),
        ("ADVAN3 TRANS3", "CL=THETA(1)\n V=THETA(2)\n Q=THETA(3)\n VSS=THETA(4)", "5 20 8 70"),
        ("ADVAN3 TRANS6", "ALPHA=THETA(1)\n BETA=THETA(2)\n K21=THETA(3)", "ROOTS .16"),
        ("ADVAN3 TRANS5", "AOB=THETA(1)\n ALPHA=THETA(2)\n BETA=THETA(3)", "RATIO ROOTS"),
    ],
)
def test_two_compartments_are_the_same_by_every_trans(
    structure: str, code: str, thetas: str
) -> None:
    """A bolus into two compartments is A exp(-alpha t) + B exp(-beta t)."""
    total, product, back = 0.25 + 0.4 + 0.16, 0.25 * 0.16, 0.16
    alpha = (total + np.sqrt(total**2 - 4 * product)) / 2
    beta = product / alpha
    first, second = (alpha - back) / (alpha - beta), (back - beta) / (alpha - beta)
    thetas = thetas.replace("ROOTS", f"{alpha!r} {beta!r}").replace(
        "RATIO", repr(float(first / second))
    )
    text = "\n".join([
        "$PROBLEM two compartments", "$INPUT ID TIME DV AMT EVID", "$DATA x", f"$SUBR {structure}",
        "$PK", f" {code}", f" S1=20*EXP(ETA({1}))", f"$THETA {thetas}", "$OMEGA .1",
        "$ERROR", " Y=F*(1+EPS(1))", "$SIGMA .04",
    ]).replace("np.float64", "")  # fmt: skip
    text = text.replace(repr(alpha), repr(float(alpha))).replace(repr(beta), repr(float(beta)))
    run = import_text(text, Units("h", "mg", "mg/L"))

    result = run.model().simulate("24 h", values={"A1": "100 mg"}, every="1 h")

    t = np.arange(25.0)
    expected = 5.0 * (first * np.exp(-alpha * t) + second * np.exp(-beta * t))
    assert np.asarray(result["Y"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("drug", [theophylline, warfarin])
def test_what_is_exported_has_the_same_objective_when_it_comes_back(drug, shared_data: Path):
    names = {theophylline: ("theo_sd.csv", THEOPHYLLINE), warfarin: ("warfarin.csv", WARFARIN_DATA)}
    file, layout = names[drug]
    native = Problem(drug(), read(shared_data / "poppk-classics" / file, layout))

    made = export(native)

    covariates = {f"COV{k + 1}": f"{c.value} {c.unit}" for k, c in enumerate(drug().covariates)}
    back = import_text(made.control, Units("h", "mg", "mg/L", covariates)).problem(made.data)
    assert back.count == native.count
    assert evaluate(back).objective == pytest.approx(evaluate(native).objective, abs=1e-4)


def test_infusions_steady_states_and_correlations_come_back() -> None:
    population = Population(
        TwoCompartment(CL="5 L/h", V1="20 L", Q="8 L/h", V2="50 L"),
        (Covariate("weight", 70.0, "kg"),),
        relations={"CL": lambda typical, c: typical * (c.weight / "70 kg") ** 0.75},
        between=(Between("CL", 0.3), Between("Q", 0.4), Between("V1", 0.2)),
        correlations={("V1", "CL"): 0.5},
        residuals=(Residual("C", 0.1, "0.2 mg/L", "sd"),),
    )
    empty = {"AMT": 0, "RATE": 0, "II": 0, "SS": 0, "ADDL": 0, "EVID": 0}
    rows = []
    for who, weight in ((1, 60), (2, 90)):
        dose = {"AMT": 500, "RATE": 250, "II": 12, "SS": who - 1, "ADDL": 2, "EVID": 1, "DV": 0}
        rows.append({"ID": who, "TIME": 0, "WT": weight, **dose})
        for time, dv in ((1, 9.0), (3, 8.0), (11, 2.0), (26, 9.5), (40, 1.5)):
            rows.append({"ID": who, "TIME": time, "DV": dv, "WT": weight, **empty})
    layout = Layout(Route("A1"), "C", {"weight": Column("WT", "kg")})
    native = Problem(population, read(rows, layout), estimate=("V2",))

    made = export(native)

    units = Units("h", "mg", "mg/L", {"COV1": "70 kg"})
    back = import_text(made.control, units).problem(made.data)
    assert len(back.names) == len(native.names)
    assert evaluate(back).objective == pytest.approx(evaluate(native).objective, abs=1e-4)


def test_what_has_no_control_stream_is_refused(shared_data: Path) -> None:
    layout = Layout(Route("absorption.depot"), {"cp": "body.C", "pca": "clotting.pca"})
    problem = Problem(
        warfarin_effect(), read(shared_data / "poppk-classics" / "warfarin.csv", layout)
    )

    with pytest.raises(NotExpressible, match="several endpoints"):
        export(problem)
