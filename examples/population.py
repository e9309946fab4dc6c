"""How many patients reach the target of vancomycin, and which uncertainty matters most.

Two thousand virtual patients of a published population get 1 g every 12 h. The picture shows the
bands of their levels; the table says how many reach an area of 400 to 600 mg*h/L on the third day,
and what a study of the factors says about the reasons.

python examples/population.py [population.png]
"""

import sys

import numpy as np

from galenic import Experiment, Simulator
from galenic.engine.batch import Attainment, Measure
from galenic.inference.study import Factor, Study
from galenic.library.pk.populations import vancomycin_goti_2018

DAY3 = {"since": "48 h", "until": "72 h"}
AREA, TROUGH = Measure.area("C", **DAY3), Measure.trough("C", **DAY3)
REGIMEN = Experiment().dose("A1", "1 g", duration="1 h", every="12 h", count=6)


def main(picture: str = "population.png") -> None:
    population = vancomycin_goti_2018()
    simulator = Simulator(population.system)
    patients = simulator.run_many(
        REGIMEN,
        population.quasi_sample(2000, seed=1),
        outputs=["C"],
        until="72 h",
        every="30 min",
        accuracy=1e-6,
        summaries=[AREA, TROUGH, Attainment("C", above="40 mg/L")],
    )
    print(f"{len(patients)} patients, {patients.record.choice.why}")
    print(f"accuracy: {patients.accuracy}")
    area = patients.summaries[AREA.name]["value"].values
    trough = patients.summaries[TROUGH.name]["value"].values
    for label, share in (
        ("below 400 mg*h/L", area < 400),
        ("400 to 600 mg*h/L", (area >= 400) & (area <= 600)),
        ("above 600 mg*h/L", area > 600),
        ("trough above 20 mg/L", trough > 20),
    ):
        print(f"{label:22}{100 * np.mean(share):5.1f} %")
    high = patients.summaries["C above 40 mg/L"]
    print(f"{'ever above 40 mg/L':22}{100 * float(high['ever']):5.1f} %")

    factors = Factor.of_population(population)
    study = Study(simulator, factors, [AREA, TROUGH], REGIMEN, until="72 h", every="30 min")
    found = study.sobol(n=512)
    print("share of the variance between patients with equal covariates (total order):")
    for target, row in zip(found.targets, found.total, strict=True):
        shares = ", ".join(
            f"{name} {share:.2f}" for name, share in zip(found.factors, row, strict=True)
        )
        print(f"  {target.name}: {shares}")

    patients.plot("C").savefig(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
