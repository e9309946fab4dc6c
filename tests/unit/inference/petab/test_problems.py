"""PEtab problems: A <-> B solved on paper, under two conditions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("libsbml", reason="python-libsbml (extra petab) reads SBML")
pytest.importorskip("yaml", reason="PyYAML (extra petab) reads the problem")

from galenic.errors import DataError, SolveError, UnknownName
from galenic.inference.petab import NotExpressible, Problem, fit, import_petab

K1, K2, SD = 0.8, 0.3, 0.02
START = {"much": 2.0, "little": 0.5}  # concentration of A at 0, in a compartment of size 2
TIMES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
SBML = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2">
<model id="conversion" timeUnits="minute">
<listOfUnitDefinitions><unitDefinition id="minute"><listOfUnits>
<unit kind="second" exponent="1" scale="0" multiplier="60"/></listOfUnits></unitDefinition>
</listOfUnitDefinitions><listOfCompartments>
<compartment id="C" size="2" spatialDimensions="3" constant="true"/></listOfCompartments>
<listOfSpecies>
<species id="A" compartment="C" initialConcentration="1" hasOnlySubstanceUnits="false"
 boundaryCondition="false" constant="false"/>
<species id="B" compartment="C" initialConcentration="0" hasOnlySubstanceUnits="false"
 boundaryCondition="false" constant="false"/></listOfSpecies>
<listOfParameters><parameter id="k1" value="1" constant="true"/>
<parameter id="k2" value="1" constant="true"/><parameter id="total" constant="false"/>
</listOfParameters><listOfRules><assignmentRule variable="total">
<math xmlns="http://www.w3.org/1998/Math/MathML"><apply><plus/><ci>A</ci><ci>B</ci></apply></math>
</assignmentRule></listOfRules><listOfReactions><reaction id="R" reversible="true"><listOfReactants>
<speciesReference species="A" stoichiometry="1" constant="true"/></listOfReactants><listOfProducts>
<speciesReference species="B" stoichiometry="1" constant="true"/></listOfProducts><kineticLaw>
<math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>C</ci><apply><minus/>
<apply><times/><ci>k1</ci><ci>A</ci></apply><apply><times/><ci>k2</ci><ci>B</ci></apply></apply>
</apply></math></kineticLaw></reaction></listOfReactions></model></sbml>"""
YAML = """format_version: 1
parameter_file: parameters.tsv
problems:
- sbml_files: [model.xml]
  condition_files: [conditions.tsv]
  observable_files: [observables.tsv]
  measurement_files: [measurements.tsv]
"""
PARAMETERS = """parameterId\tparameterScale\tlowerBound\tupperBound\tnominalValue\testimate
k1\tlog10\t0.01\t10\t0.5\t1
k2\tlog\t0.01\t10\t0.5\t1
sd\tlin\t0.001\t1\t0.1\t1
gain\tlin\t\t\t3\t0
start\tlin\t\t\t0.5\t0
"""
CONDITIONS = "conditionId\tconditionName\tA\nmuch\tmuch A\t2\nlittle\t\tstart\n"
OBSERVABLES = """observableId\tobservableFormula\tnoiseFormula\tobservableTransformation
a\tA\tnoiseParameter1_a\tlin
b\tobservableParameter1_b*(B + 0.1)\tsd*C/2\tlog
"""


def solution(a0: float, t: Any, k1: float = K1, k2: float = K2) -> tuple[Any, Any]:
    """A and B when A begins at a0 and B at 0."""
    t = np.asarray(t)
    a = a0 * (k2 + k1 * np.exp(-(k1 + k2) * t)) / (k1 + k2)
    return a, a0 - a


def measured() -> list[tuple[str, str, float, float]]:
    """Observable, condition, time, value: the solution with errors that are fixed."""
    rng = np.random.default_rng(5)
    rows = []
    for condition, a0 in START.items():
        for t in TIMES:
            a, b = solution(a0, t)
            rows.append(("a", condition, t, float(a + SD * rng.normal())))
            rows.append(("b", condition, t, float(3 * (b + 0.1) * np.exp(SD * rng.normal()))))
    return rows


def write(folder: Path, **changed: str) -> Path:
    """The files of the problem; ``changed`` replaces whole files by their stem."""
    lines = ["observableId\tsimulationConditionId\tmeasurement\ttime\tobservableParameters"
             "\tnoiseParameters"]  # fmt: skip
    for name, condition, t, value in measured():
        filled = "\tsd" if name == "a" else "gain\t"
        lines.append(f"{name}\t{condition}\t{value!r}\t{t}\t{filled}")
    content = {
        "problem.yaml": YAML, "model.xml": SBML, "parameters.tsv": PARAMETERS,
        "conditions.tsv": CONDITIONS, "observables.tsv": OBSERVABLES,
        "measurements.tsv": "\n".join(lines) + "\n",
    }  # fmt: skip
    for name, text in content.items():
        (folder / name).write_text(changed.get(name.split(".")[0], text))
    return folder / "problem.yaml"


def edited(folder: Path, name: str, old: str, new: str) -> Path:
    """The problem with one text of one file replaced."""
    path = write(folder)
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))
    return path


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    return import_petab(write(tmp_path))


def by_hand(k1: float, k2: float, sd: float, base: float = math.e, laplace: bool = False) -> float:
    """The log-likelihood, measurement by measurement; b counts on a logarithmic scale."""
    total = 0.0
    for name, condition, t, value in measured():
        a, b = solution(START[condition], t, k1, k2)
        gap = value - a if name == "a" else math.log(value / (3 * (b + 0.1)), base)
        total -= 0.0 if name == "a" else math.log(value * math.log(base))
        if laplace:
            total += -math.log(2 * sd) - abs(gap) / sd
        else:
            total += -0.5 * math.log(2 * math.pi * sd**2) - 0.5 * (gap / sd) ** 2
    return total


def test_the_likelihood_is_that_of_the_solution_on_paper(problem):
    nominal = problem.log_likelihood()
    other = problem.log_likelihood({"k1": 0.9, "k2": 0.25, "sd": 0.05})

    assert_allclose(nominal, by_hand(0.5, 0.5, 0.1), rtol=1e-8)
    assert_allclose(other, by_hand(0.9, 0.25, 0.05), rtol=1e-8)


def test_a_decimal_scale_and_laplace_noise_have_their_own_densities(tmp_path):
    decimal = import_petab(edited(tmp_path, "observables.tsv", "\tlog\n", "\tlog10\n"))
    assert_allclose(decimal.log_likelihood(), by_hand(0.5, 0.5, 0.1, base=10), rtol=1e-8)

    head, rest = OBSERVABLES.split("\n", 1)
    text = f"{head}\tnoiseDistribution\n" + rest.replace("\n", "\tlaplace\n")
    laplace = import_petab(write(tmp_path, observables=text))
    assert_allclose(laplace.log_likelihood(), by_hand(0.5, 0.5, 0.1, laplace=True), rtol=1e-8)
    with pytest.raises(NotExpressible, match="Laplace"):
        fit(laplace)


def test_residuals_are_on_the_scale_of_the_observable(problem):
    residuals = problem.residuals({"k1": K1, "k2": K2, "sd": SD})

    a, b = solution(START["little"], TIMES[-1])
    rows = measured()
    assert_allclose(residuals[-2], (rows[-2][3] - a) / SD, rtol=1e-6)
    assert_allclose(residuals[-1], math.log(rows[-1][3] / (3 * (b + 0.1))) / SD, rtol=1e-6)


def test_a_condition_is_simulated_in_the_time_of_the_model(problem):
    run = problem.simulate("little", [2.0], {"k1": K1, "k2": K2})

    assert_allclose(run["A"].values, [solution(0.5, 2.0)[0]], rtol=1e-8)


def test_the_fit_finds_the_parameters_and_says_how_well(problem):
    """The gradient by hand vanishes at the estimates, and the noise is what the residuals say."""
    found = fit(problem, starts=3, rng=np.random.default_rng(1))

    values = found.values
    assert found.converged
    for name, truth in (("k1", K1), ("k2", K2), ("sd", SD)):
        low, high = found.interval(name, 0.999)
        assert low < truth < high
        assert high / low < 4
    best = by_hand(**values)
    assert_allclose(found.log_likelihood, best, rtol=1e-8)
    for name in values:
        for factor in (0.995, 1.005):
            assert by_hand(**values | {name: values[name] * factor}) < best
    residuals = problem.residuals(values)
    assert_allclose(np.mean(residuals**2), 1.0, rtol=1e-3)  # the maximum over sd


def test_the_covariance_is_that_of_the_curvature(problem):
    """For the noise parameter the expected information is 2 n / sd^2, exactly."""
    found = fit(problem)

    n, sd = len(problem.measurements), found.values["sd"]
    assert_allclose(found.information[2, 2], 2 * n / sd**2, rtol=1e-6)
    assert_allclose(math.sqrt(found.covariance[2, 2]), sd / math.sqrt(2 * n), rtol=1e-6)
    assert not found.at_bound("k1")


def test_an_estimate_at_its_bound_says_so(tmp_path):
    path = edited(tmp_path, "parameters.tsv", "k1\tlog10\t0.01\t10", "k1\tlog10\t0.01\t0.6")
    found = fit(import_petab(path))

    assert found.at_bound("k1")
    assert_allclose(found.values["k1"], 0.6, rtol=1e-6)


def test_what_the_measurements_do_not_tell_has_no_end(tmp_path):
    """At equilibrium only k1/k2 counts: both intervals reach from nothing to infinity."""
    path = write(tmp_path)
    rows = (tmp_path / "measurements.tsv").read_text().splitlines()
    late = [row.replace("\t8.0\t", "\t1000\t") for row in rows if "\t8.0\t" in row]
    (tmp_path / "measurements.tsv").write_text("\n".join([rows[0], *late]))
    found = fit(import_petab(path))

    for name in ("k1", "k2"):
        low, high = found.interval(name)
        assert low < 1e-100
        assert high > 1e100


def test_a_size_of_a_compartment_can_be_a_condition(tmp_path):
    """The kinetic law counts per volume: concentrations stay, the noise follows C."""
    text = "conditionId\tA\tC\nmuch\t2\t6\nlittle\tstart\t2\n"
    problem = import_petab(write(tmp_path, conditions=text))

    predicted, noise = problem.predict({"k1": K1, "k2": K2, "sd": SD})
    assert_allclose(predicted[2], solution(2.0, TIMES[1])[0], rtol=1e-8)
    assert_allclose([noise[1], noise[-1]], [3 * SD, SD])


REFUSED = [
    ("problem.yaml", "format_version: 1", "format_version: 2", "format_version 2", "problem.yaml"),
    ("problem.yaml", "problems:", "extensions: {x: 1}\nproblems:", "'extensions'", "problem.yaml"),
    ("parameters.tsv", "\testimate", "\testimates", "no column 'estimate'", "parameters.tsv:1"),
    ("parameters.tsv", "k2\tlog\t", "k2\tln\t", "'ln'", "parameters.tsv:3"),
    ("parameters.tsv", "k2\tlog\t0.01", "k2\tlog\t0", "lowerBound 0", "parameters.tsv:3"),
    ("parameters.tsv", "k2\tlog\t", "k1\tlog\t", "second time", "parameters.tsv:3"),
    ("parameters.tsv", "0.1\t1", "2\t1", "nominalValue 2", "parameters.tsv:4"),
    ("parameters.tsv", "gain\t", "gainer\t", "'gain'", "measurements.tsv:3"),
    ("parameters.tsv", "gain\t", "spare\tlin\t\t\t3\t0\ngain\t", "'spare'", "parameters.tsv"),
    ("parameters.tsv", "gain\t", "total\tlin\t\t\t3\t0\ngain\t", "'total'", "parameters.tsv"),
    ("parameters.tsv", "gain\t", "A\tlin\t\t\t3\t0\ngain\t", "'A'", "parameters.tsv"),
    ("conditions.tsv", "\tA\n", "\tZ\n", "'Z'", "conditions.tsv:2"),
    ("conditions.tsv", "\tA\n", "\tk1\n", "'k1'", "conditions.tsv:2"),
    ("conditions.tsv", "A\t2", "A\tNaN", "'NaN'", "conditions.tsv:2"),
    ("observables.tsv", "\tA\t", "\tQ\t", "'Q'", "observables.tsv:2"),
    ("observables.tsv", "\tA\t", "\tA.real\t", "'A.real'", "observables.tsv:2"),
    ("observables.tsv", "\tA\t", "\tpiecewise(A)\t", "'piecewise'", "observables.tsv:2"),
    ("observables.tsv", "\tA\t", "\tA +\t", "'A [+]'", "observables.tsv:2"),
    ("measurements.tsv", "a\tmuch", "a\tmore", "'more'", "measurements.tsv:2"),
    ("measurements.tsv", "\t0.5\t", "\tinf\t", "'inf'", "measurements.tsv:4"),
    ("measurements.tsv", "\t\tsd", "\t1\tsd", "1 observableParameters", "measurements.tsv:2"),
    ("measurements.tsv", "\ttime", "\ttime\tcolour", "'colour'", "measurements.tsv:1"),
    ("measurements.tsv", "b\tmuch\t", "b\tmuch\t-", "above 0|measurement -", "measurements.tsv:3"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "found", "where"), REFUSED)
def test_what_is_refused_is_named_with_its_place(tmp_path, file, old, new, found, where):
    path = edited(tmp_path, file, old, new)

    with pytest.raises((DataError, NotExpressible), match=found) as error:
        import_petab(path)
    assert error.value.where.startswith(where)


def test_preequilibration_and_priors_are_refused(tmp_path):
    path = write(tmp_path)
    rows = (tmp_path / "measurements.tsv").read_text().splitlines()
    text = "\n".join([rows[0] + "\tpreequilibrationConditionId", rows[1] + "\tlittle"])
    (tmp_path / "measurements.tsv").write_text(text)
    with pytest.raises(NotExpressible, match="preequilibrationConditionId"):
        import_petab(path)

    text = PARAMETERS.replace("estimate\n", "estimate\tobjectivePriorType\n")
    path = write(tmp_path, parameters=text.replace("0.1\t1", "0.1\t1\tnormal"))
    with pytest.raises(NotExpressible, match="objectivePriorType of 'sd'"):
        import_petab(path)


def test_values_that_cannot_be_used_are_named(problem, tmp_path):
    with pytest.raises(UnknownName, match="k3"):
        problem.log_likelihood({"k3": 1.0})
    with pytest.raises(SolveError, match="noise of a is -1"):
        problem.log_likelihood({"sd": -1.0})
    with pytest.raises(SolveError, match="on the log scale"):
        problem.log_likelihood({"gain": -1.0})
    with pytest.raises(DataError, match=r"none\.yaml"):
        import_petab(tmp_path / "none.yaml")
