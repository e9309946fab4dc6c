"""CPU time to estimate patients on vancomycin, and how often intervals hold the truth.

Patients are drawn from the published population with four doses of 1 g and three levels. Promises:
one patient by MAP below 50 ms, the posterior in full below 2 s, 1,000 patients below 10 s on two
cores, compiling apart. Run: ``python benchmarks/patient_estimate.py [patients]``.
"""

# ruff: noqa: E402
from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

for library in ("OMP", "OPENBLAS"):  # threads only cost time at this size
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np

from galenic.clock import SECOND
from galenic.inference.evidence import Bundle, Observation
from galenic.inference.importance import sampled
from galenic.inference.map import MAP
from galenic.inference.members import along
from galenic.library.pk.populations import population
from galenic.signals import Action

HOUR = 3600 * SECOND
DOSES, LEVELS = (0.0, 12.0, 24.0, 36.0), (11.5, 26.0, 47.0)
DRAWS = 2000


def estimator() -> MAP:
    """Of an adult with a clearance of creatinine of 80 mL/min and 70 kg."""
    covariates = {"CLcr": 80.0, "weight": 70.0, "dialysis": 0.0}
    return MAP.for_subject(population("vancomycin").for_subject(covariates))


def course(own: MAP, levels: Any) -> Any:
    """The evidence of one patient as an unsolved belief; ``levels`` in SI."""
    events = [(h, "dose", 0.0) for h in DOSES]
    events += [(h, "level", c) for h, c in zip(LEVELS, levels, strict=True)]
    belief = own.start(None, 0)
    for hours, what, value in sorted(events):
        at = round(hours * HOUR)
        belief = own.predict(belief, at, {})
        if what == "dose":
            belief = own.act(belief, Action("dose", 1000.0, "mg", at, at, "dose", 3600.0))
        else:
            bundle = Bundle(at, (Observation("C", value),))
            belief = _with(belief, bundle)
    return belief


def _with(belief: Any, bundle: Bundle) -> Any:
    from dataclasses import replace

    return replace(belief, evidence=(*belief.evidence, bundle))


def drawn(own: MAP, n: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """True log parameters ``(n, k)`` and readings ``(n, levels)`` of patients."""
    plain = course(own, [0.0] * len(LEVELS))
    start, first = plain.start, len(own.model.state_names)
    phi = start.centre[first:] + rng.multivariate_normal(np.zeros(len(own.omega)), own.omega, n)
    seen = []
    slopes = own.start_regression(start)
    for item, here, w in along(own.model, start, plain.evidence, phi, slopes):
        if isinstance(item, Bundle):
            u = own.model.input_vector(here.context)
            f = np.array([own.model.measure(row, u, 0.0, ["C"])[0] for row in w])
            sd = np.sqrt([own.residual["C"].variance(float(value))[0] for value in f])
            seen.append(np.maximum(f + sd * rng.standard_normal(n), 0.0))
    return phi, np.array(seen).T


def covered(truth: Any, low: Any, high: Any) -> float:
    """Share of intervals that hold the truth [%]."""
    return round(100 * float(np.mean((low < truth) & (truth < high))), 1)


def main(quick: bool = False, patients: int = 1000) -> dict[str, Any]:
    patients = min(patients, 20) if quick else patients
    rng = np.random.default_rng(7)
    own = estimator()
    truth, readings = drawn(own, patients, rng)
    first = len(own.model.state_names)
    own.solve(course(own, readings[0]))  # compiles

    begin = time.process_time()
    solved = [own.solve(course(own, row)) for row in readings]
    each = (time.process_time() - begin) / patients
    some = solved[: max(5, patients // 4)]
    begin = time.process_time()
    full = [sampled(own, belief, DRAWS, rng) for belief in some]
    whole = (time.process_time() - begin) / len(some)

    z = 1.6448536269514722
    centre = np.array([b.centre[first:] for b in solved])
    sd = np.array([np.sqrt(np.diag(b.spread)[first:]) for b in solved])
    bounds = [[f.ensemble.interval(i.path) for i in own.individuals] for f in full]
    sides = np.log(np.array(bounds))
    return {
        "patients": patients,
        "MAP [ms]": round(1e3 * each, 2),
        "posterior in full [s]": round(whole, 3),
        "draws": DRAWS,
        "patients estimated again, CPU [s]": round(each * patients, 2),
        "effective draws, median": round(
            float(np.median([f.ensemble.effective_size for f in full]))
        ),
        "coverage of 90 %, normal [%]": covered(truth, centre - z * sd, centre + z * sd),
        "coverage of 90 %, in full [%]": covered(truth[: len(some)], sides[..., 0], sides[..., 1]),
        "intervals in full": sides.shape[0] * sides.shape[1],
    }


if __name__ == "__main__":
    print(json.dumps(main(patients=int(sys.argv[1]) if len(sys.argv) > 1 else 1000), indent=1))
