"""Fit clearance and volume to plasma levels of two dose groups; ask first what the data can tell.

python examples/fit_clearance.py [fit.png]
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

from galenic import Experiment, Model, Output, Parameter, State, der
from galenic.inference.fit import fit
from galenic.inference.identify import identify
from galenic.inference.problem import ModelProblem, Record

HOURS = np.array([0.5, 1, 2, 4, 8, 12])
MEASURED = {  # mg/L, made with CL 2.4 L/h, V 17 L and 5 % noise
    "100 mg": [5.59, 4.78, 4.51, 3.25, 1.87, 1.05],
    "300 mg": [15.9, 15.7, 13.1, 10.3, 5.42, 3.29],
}


class OneCompartment(Model):
    """One compartment after an intravenous bolus; f is the fraction that reaches the blood."""

    CL = Parameter(3.0, "L/h", "clearance", lower=0)
    V = Parameter(20.0, "L", "volume", lower=0)
    f = Parameter(1.0, "1", "fraction that reaches the blood", lower=0)
    amount = State(0.0, "mg", "drug in the body", lower=0)
    C = Output("mg/L", "concentration")

    def equations(m):
        yield der(m.amount) == -m.CL / m.V * m.amount
        yield m.C == m.f * m.amount / m.V


def problem(*free: str) -> ModelProblem:
    """The data of both groups, and the parameters that are free."""
    times = [f"{hour} h" for hour in HOURS]
    records = [
        Record.of("C", times, values, "mg/L", 0.05 * np.array(values),
                  experiment=Experiment().dose("amount", dose), name=dose)
        for dose, values in MEASURED.items()
    ]  # fmt: skip
    return ModelProblem(OneCompartment(), records, free)


def main(picture: str = "fit.png") -> None:
    print(identify(problem("CL", "V", "f"), rng=np.random.default_rng(0)).report())
    found = fit(problem("CL", "V"))
    for row in found.table():
        print("{parameter:3}{value:7.3f} {unit} ({lower:.3f} to {upper:.3f})".format(**row))

    best = OneCompartment(**{r["parameter"]: f"{r['value']} {r['unit']}" for r in found.table()})
    figure, axes = plt.subplots(layout="constrained")
    for dose, values in MEASURED.items():
        run = best.simulate(Experiment().dose("amount", dose), until="14 h")
        (line,) = axes.semilogy(run.times / 3600, run["C"], label=dose)
        axes.semilogy(HOURS, values, "o", color=line.get_color())
    axes.legend(title="dose")
    axes.set(xlabel="time [h]", ylabel="C [mg/L]")
    figure.savefig(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
