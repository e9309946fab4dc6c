"""Simulate a small study of an oral drug, estimate the population again, and judge the fit.

python examples/estimate_population.py
"""

from galenic import Population
from galenic.inference.mixed import plots
from galenic.inference.mixed.fit import fit
from galenic.inference.mixed.layout import Column, Layout, Route
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import read
from galenic.inference.mixed.simulate import data_set
from galenic.inference.mixed.vpc import check
from galenic.library.pk.compartments import OralOneCompartment
from galenic.modeling.variability import Between, Coefficient, Covariate, Residual

truth = Population(
    OralOneCompartment(absorption={"ka": "1 1/h"}, body={"CL": "4 L/h", "V1": "50 L"}),
    covariates=[Covariate("weight", 70.0, "kg", 15.0)],
    coefficients=[Coefficient("exponent", 0.75)],
    relations={"body.CL": lambda typical, c: typical * (c.weight / "70 kg") ** c.exponent},
    between=[Between("absorption.ka", 0.4), Between("body.CL", 0.3), Between("body.V1", 0.2)],
    residuals=[Residual("body.C", 0.15, "0.05 mg/L")],
)


def main(picture: str = "estimate_population.png") -> None:
    # Forty subjects, 300 mg each, six levels; values of DV do not matter before they are simulated.
    rows = []
    for subject in range(40):
        facts = {"ID": subject, "WT": 45 + 2 * subject}
        rows.append(facts | {"TIME": 0, "EVID": 1, "AMT": 300, "DV": 0})
        rows += [facts | {"TIME": t, "EVID": 0, "AMT": 0, "DV": 1} for t in (0.5, 1, 2, 6, 12, 24)]
    layout = Layout(Route("absorption.depot", "mg"), "body.C", {"weight": Column("WT", "kg")})
    study = Problem(truth, read(rows, layout))
    study = study.with_records(data_set(study, study.start(), seed=11))

    found = fit(study, "focei", start={"body.CL": 6.0, "body.V1": 35.0, "exponent": 0.3})

    print(f"OFV {found.objective:.2f}, {found.message}, condition number {found.condition:.1f}")
    print(f"{'':24}{'true':>9}{'estimate':>10}{'RSE %':>8}")
    for row, true in zip(found.table(), study.packing.natural(study.start()), strict=True):
        print(f"{row['name']:24}{true:9.4f}{row['value']:10.4f}{100 * row['rse']:8.1f}")
    panels = check(found, corrected=True, simulations=200)
    print(f"{100 * panels[0].outside:.0f} % of percentiles lie outside of their 95 % intervals")
    plots.predictive(panels).savefig(picture)


if __name__ == "__main__":
    main()
