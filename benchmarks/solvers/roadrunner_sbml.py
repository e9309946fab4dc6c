"""libRoadRunner: the equations as SBML rate rules, compiled by it to machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from solvers.work import ATOL, Work


class RoadRunner:
    """CVODE with compiled equations; doses are given between calls, which is its fastest way."""

    name, tool = "libroadrunner", "libroadrunner"

    def prepare(self, work: Work) -> Callable[[int, float], Any]:
        """The model is loaded once; parameters and states are set by index."""
        import roadrunner

        roadrunner.Logger.setLevel(roadrunner.Logger.LOG_ERROR)
        runner = roadrunner.RoadRunner(_sbml(work))
        runner.timeCourseSelections = [f"x{i}" for i in range(work.n)]
        model = runner.getModel()
        ids = {name: k for k, name in enumerate(model.getGlobalParameterIds())}
        states = [ids[f"x{i}"] for i in range(work.n)]
        theta = [ids[f"p{i}"] for i in range(work.theta.shape[1])]
        import casadi as ca

        outputs = ca.Function("y", [work.x, work.p], [work.y]).map(len(work.times))
        integrator = runner.getIntegrator()
        integrator.setValue("stiff", True)
        integrator.setValue("maximum_num_steps", 100_000)

        def run(count: int, rtol: float) -> Any:
            integrator.setValue("relative_tolerance", rtol)
            integrator.setValue("absolute_tolerance", ATOL * rtol)
            values = []
            for i in range(count):
                model.setGlobalParameterValues(theta, work.theta[i])
                x, rows = work.starts[i].copy(), []
                for leg in work.legs:
                    for index, amount in leg.doses:
                        x[index] += amount
                    model.setTime(leg.begin)
                    model.setGlobalParameterValues(states, x)
                    found = np.asarray(runner.simulate(leg.begin, leg.end, len(leg.nodes) + 1))
                    rows += [x, *found[1:-1]]
                    x = found[-1].copy()
                rows.append(x)
                parameters = np.repeat(work.theta[i][:, None], len(rows), axis=1)
                values.append(np.array(outputs(np.array(rows).T, parameters)).T)
            return np.array(values)

        return run


def _sbml(work: Work) -> str:
    import libsbml

    document = libsbml.SBMLDocument(3, 1)
    model = document.createModel()
    model.setId("work")
    for name, value, constant in (
        *((f"p{i}", work.theta[0, i], True) for i in range(work.theta.shape[1])),
        *((f"x{i}", work.starts[0, i], False) for i in range(work.n)),
    ):
        parameter = model.createParameter()
        parameter.setId(name)
        parameter.setValue(float(value))
        parameter.setConstant(constant)
    for i, formula in enumerate(work.formulas()):
        rule = model.createRateRule()
        rule.setVariable(f"x{i}")
        rule.setMath(libsbml.parseL3Formula(formula))
    text: str = libsbml.writeSBMLToString(document)
    return text
