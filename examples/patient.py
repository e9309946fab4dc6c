"""Follow a patient on vancomycin: two doses, two levels, a dose told late, and the next regimen.

python examples/patient.py [patient.png]
"""

import sys
from pathlib import Path

from galenic.clock import SECOND
from galenic.signals import Action, Sample
from galenic.stages.clinical.services import advise_dose
from galenic.stages.clinical.twin import patient
from galenic.twin import look
from galenic.twin.level import Level
from galenic.twin.twin import Twin

HOUR = 3600 * SECOND
DOSES = [(0.0, 1900.0, 1.0), (22.2, 1750.0, 1.0)]  # h, mg, h
LEVELS = [(12.0, 14.8), (37.5, 22.5)]  # h, mg/L


def dose(hours: float, amount: float, over: float) -> Action:
    at = round(hours * HOUR)
    return Action("dose", amount, "mg", at, at, "dose", over * 3600)


def level(hours: float, value: float) -> Sample:
    at = round(hours * HOUR)
    return Sample("Level.Vancomycin", value, "mg/L", at, at)


def shown(twin: Twin) -> str:
    row = look.estimates(twin, ["individual.CL"])["individual.CL"]
    return f"CL {row['value']:.2f} ({row['lower']:.2f} to {row['upper']:.2f}) {row['unit']}"


def main(picture: str = "patient.png") -> None:
    values = {"CLcr": "34 mL/min", "weight": "62 kg"}
    twin = Twin(patient(), "bed-7", values, start=0, level=Level.SHADOW)
    print("from covariates alone:      ", shown(twin))
    for event in (dose(*DOSES[0]), level(*LEVELS[0]), level(*LEVELS[1])):
        twin.accept(event)
    print("without the second dose:    ", shown(twin))
    twin.accept(dose(*DOSES[1]))  # the chart was late: the belief goes back and takes it in
    print("with the dose that was late:", shown(twin))

    tables = {
        "doses": [dict(zip(("time", "amount", "duration"), row, strict=True)) for row in DOSES],
        "levels": [dict(zip(("time", "level"), row, strict=True)) for row in LEVELS],
    }
    advice = advise_dose(
        covariates={"CLcr": "34 mL/min", "weight": "62 kg"}, next_dose="46 h", **tables
    )
    print(advice.text)
    for name in ("AUC24", "trough", "peak"):
        value = advice.values[name]
        print(f"{name:7}{value.value:7.1f} {value.unit} ({value.lower:.1f} to {value.upper:.1f})")

    from galenic.app.cli.terminal import draw

    draw(advice.plots, Path(picture))


if __name__ == "__main__":
    main(*sys.argv[1:])
