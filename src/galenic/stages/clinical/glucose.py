"""The digital twin of a person with type 1 diabetes, kept in step by a worn glucose sensor.

Sensor and pump are live streams: a broker, files that an app writes, any connection. Boluses and
meals are told as doses, or a pump's rate holds its boluses. There is nothing to write: the twin
watches and warns, people act.

The noises were set on the odd-numbered virtual persons of UVA and Padova under a sensor whose error
has a memory, and are judged on the others: docs/validation/pharmacokinetics.md.
"""

from __future__ import annotations

import math

from galenic.inference.augment import Augmented
from galenic.inference.estimator import Noise
from galenic.inference.kalman import EKF
from galenic.library.endocrine.glycaemia import RANGE
from galenic.library.endocrine.identifiable import IdentifiablePerson
from galenic.twin.alarm.rule import AlarmRule
from galenic.twin.binding import Binding
from galenic.twin.definition import Estimation, TwinDefinition
from galenic.twin.fold import FoldRules
from galenic.twin.health import HealthRules
from galenic.twin.level import Level
from galenic.units import to_si

MINUTE, HOUR = 60.0, 3600.0
MG_DL = float(to_si(1.0, "mg/dL"))
SENSOR, PUMP = "Sensor.Glucose", "Pump.Insulin"


def _wanders(path: str, sd: float, hours: float, acts_on: str = "", log: bool = False) -> Augmented:
    """A quantity that wanders about its usual value with a stationary sd, forgotten in a time."""
    memory = hours * HOUR
    drift = sd * math.sqrt(2.0 / memory)
    return Augmented(path, acts_on, log=log, sd=sd, drift=drift, reverts_in=memory)


AUGMENTED = (
    Augmented("SI", log=True, sd=0.5, drift=3e-3),
    Augmented("Gb", log=True, sd=0.15, drift=8e-4),
    # What a meal does to glucose is as uncertain as how it was reckoned.
    _wanders("VG", 0.5, 24.0, log=True),
    _wanders("tau_m", 0.4, 24.0, log=True),
    _wanders("flux", 0.3 * MG_DL / MINUTE, 0.7),
    _wanders("sensor.error", 12.0 * MG_DL, 0.7, acts_on="shown"),
)
NOISE = Noise(
    process={"G": 0.15 * MG_DL / math.sqrt(MINUTE)},
    measurement={"shown": 3.0 * MG_DL},
    start={"G": 20.0 * MG_DL, "Gs": 20.0 * MG_DL, "depot": 0.3},
)
BINDINGS = (
    Binding(
        SENSOR, "shown", "mg/dL", plausible=(20, 600), sd=3.0, stale_after=20 * MINUTE,
        frozen_after=2 * HOUR, level=Level.SHADOW,
    ),
    Binding(PUMP, "insulin", "IU/h", plausible=(0, 600), level=Level.SHADOW),
)  # fmt: skip
ALARMS = (
    AlarmRule(
        "low_ahead",
        of="G",
        on="forecast",
        below=f"{RANGE[0]:g} mg/dL",
        within=30 * MINUTE,
        probability=0.5,
        cause="more insulin acts than carbohydrate comes",
        consequence="hypoglycaemia",
        action="eat fast carbohydrate; look again in 15 min",
        respond=20 * MINUTE,
        severity="severe",
        group="safety",
    ),
    AlarmRule(
        "low",
        of="G",
        on="estimated",
        below="54 mg/dL",
        deadband="6 mg/dL",
        cause="more insulin acts than carbohydrate comes",
        consequence="loss of consciousness",
        action="eat fast carbohydrate now; call for help if alone",
        respond=3 * MINUTE,
        severity="severe",
        group="safety",
    ),
    AlarmRule(
        "sensor_silent",
        of=SENSOR,
        on="quality",
        cause="the sensor is out of reach, or has ended",
        consequence="a low glucose is not seen",
        action="bring the receiver near; measure by finger",
        respond=HOUR,
        severity="moderate",
    ),
)
"""54 and 70 mg/dL: Battelino et al., Diabetes Care, 2019, doi:10.2337/dci19-0028."""


def glucose() -> TwinDefinition:
    """The twin of a person with a glucose sensor and an insulin pump."""
    return TwinDefinition(
        name="glucose",
        version="1",
        model=IdentifiablePerson,
        bindings=BINDINGS,
        noise=NOISE,
        estimator=Estimation(
            EKF, {"augmented": AUGMENTED, "step": 5 * MINUTE, "gate": 1 - 1e-6, "patience": 3}
        ),
        shown=("G", "shown", "onboard", "SI"),
        limits={"G": (f"{RANGE[0]:g} mg/dL", f"{RANGE[1]:g} mg/dL")},
        alarms=ALARMS,
        fold=FoldRules(lateness=12 * HOUR, checkpoint=15 * MINUTE, future=60.0),
        health=HealthRules(critical=(SENSOR,)),
        tick=10.0,
        history=24 * HOUR,
        horizon=2 * HOUR,
        every=5 * MINUTE,
    )
