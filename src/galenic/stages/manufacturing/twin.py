"""The digital twin of a continuous direct compression line: what is bound, believed and allowed.

Parameter values are those of a commissioning of the line (feeder characterisation, die volume,
forces at the working point). They are not the plant's own: the estimator follows what differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from galenic.engine.discrete import Transition
from galenic.inference.augment import Augmented
from galenic.inference.belief import Gaussian
from galenic.inference.estimator import Noise
from galenic.inference.evidence import Observation
from galenic.inference.kalman import EKF, Expectation
from galenic.library.line.direct_compression import DirectCompressionLine
from galenic.stages.manufacturing.control import line_controller, refills_ahead
from galenic.twin.binding import Binding
from galenic.twin.definition import Control, Estimation, TwinDefinition
from galenic.twin.fold import FoldRules
from galenic.twin.genealogy import GenealogyRules, Residence
from galenic.twin.guard import Guard, Heartbeat, Remote, Rule
from galenic.twin.health import HealthRules
from galenic.twin.interlock import Interlock

__all__ = ["line_controller", "tablet_line"]

COMMISSIONED: dict[str, Any] = {
    "api": {"tau_screw": "1 s", "W": "0.8 kg"},
    "excipient": {"tau_screw": "1 s", "W": "5 kg"},
    "blender": {"tau_ref": "60 s", "speed_ref": "250 rpm", "speed": "250 rpm", "M": "0.333 kg"},
    "hopper": {"M": "0.4 kg"},
    "feed_frame": {"M": "0.12 kg"},
    "press": {
        "rho_bulk": "0.55 g/mL", "a": 0.68, "b": "0.0384 1/MPa", "rho_true": "1.47 g/mL",
        "fill_depth": "9.69 mm", "main_gap": "3.8 mm", "pre_gap": "5 mm",
        "h_fill": "9.69 mm", "h_main": "3.8 mm", "n_turret": "66.67 rpm", "ER": 0.045,
        "turret_speed": "66.67 rpm", "mu_eject": 0.02,
    },
}  # fmt: skip

AUGMENTED = (
    Augmented("api.wear", log=True, sd=0.05, drift=4e-4),
    Augmented("excipient.wear", log=True, sd=0.05, drift=4e-4),
    # Bridges and the screw's own unevenness: about 3 % for about half a minute.
    Augmented("api.upset", log=True, sd=0.03, drift=1.2e-2, reverts_in=30.0),
    Augmented("excipient.upset", log=True, sd=0.03, drift=1e-2, reverts_in=30.0),
    # A refill falls in lumps of a few seconds; its rate says nothing about the next one.
    Augmented("api.refill_rate", sd=0.03, drift=0.03, reverts_in=2.0),
    Augmented("excipient.refill_rate", sd=0.15, drift=0.15, reverts_in=2.0),
    Augmented("blender.tau_ref", log=True, sd=0.15, drift=3e-4),
    Augmented("nir.bias", sd=0.001, drift=1.5e-5),
    # Nothing measures content below the analyser: not known better than this, so neither is the
    # time at which a deviation reaches the dies.
    Augmented("feed_frame.M", log=True, sd=0.4, drift=0.0),
    Augmented("press.rho_bulk", log=True, sd=0.03, drift=3e-4),
    Augmented("press.b", log=True, sd=0.1, drift=2.5e-3),
    Augmented("press.ER", log=True, sd=0.2, drift=3e-4),
    Augmented("press.sigma_0", log=True, sd=0.3, drift=1e-3),
    Augmented("press.mu_eject", log=True, sd=0.5, drift=1e-3),
    Augmented("press.pre_error", acts_on="press.pre_force", sd=1000.0, drift=5.0),
)

KG_H = 1 / 3600
RPM = 1 / 60

NOISE = Noise(
    process={
        "api.W": 2e-5, "excipient.W": 1.2e-4,
        "api.N": 1.0 * RPM, "excipient.N": 0.5 * RPM,
        "api.demand": 4.0, "excipient.demand": 0.2,
        "api.ff_fast": 1.5e-6, "excipient.ff_fast": 1.0e-5,
        "api.ff_seen": 5e-7, "excipient.ff_seen": 4e-6,
        "api.ff_learned": 3e-7, "excipient.ff_learned": 2e-6,
        "blender.M": 2e-4, "blender.x[0]": 2.5e-4,
        **{f"blender.x[{i}]": 1e-4 for i in (1, 2, 3)},
        "chute.x[0]": 5e-5, "chute.x[1]": 5e-5,
        "nir.seen": 1e-4, "hopper.M": 3e-4,
        **{f"hopper.x[{i}]": 5e-5 for i in range(8)},
        "feed_frame.x[0]": 5e-5, "feed_frame.x[1]": 5e-5,
        "press.h_fill": 4e-6, "press.h_main": 2e-6, "press.n_turret": 0.1 * RPM,
    },
    start={
        "api.W": 0.02, "excipient.W": 0.1, "api.N": 4 * RPM, "excipient.N": 4 * RPM,
        "api.demand": 100.0, "excipient.demand": 8.0,
        **{f"api.ff_{n}": 3e-5 for n in ("fast", "seen", "learned")},
        **{f"excipient.ff_{n}": 2.5e-4 for n in ("fast", "seen", "learned")},
        "blender.M": 0.03, "hopper.M": 0.05, "nir.seen": 0.003,
        "press.h_fill": 2e-5, "press.h_main": 1e-5, "press.n_turret": 1 * RPM,
        **{f"blender.x[{i}]": 0.003 for i in range(4)},
        **{f"chute.x[{i}]": 0.003 for i in range(2)},
        **{f"hopper.x[{i}]": 0.003 for i in range(8)},
        **{f"feed_frame.x[{i}]": 0.003 for i in range(2)},
    },
)  # fmt: skip


def _measured(tag: str, quantity: str, unit: str, sd: float, **facts: Any) -> Binding:
    facts.setdefault("stale_after", 15.0)
    facts.setdefault("frozen_after", 10.0)
    return Binding(tag, quantity, unit, connection="plc", sd=sd, **facts)


def _moved(tag: str, quantity: str, unit: str) -> Binding:
    return Binding(tag, quantity, unit, connection="plc", direction="both")


def _seen(tag: str, quantity: str = "", unit: str = "1") -> Binding:
    return Binding(tag, quantity, unit, connection="plc")


BINDINGS = (
    _moved("FeederAPI.Setpoint", "api.setpoint", "kg/h"),
    _moved("FeederEXC.Setpoint", "excipient.setpoint", "kg/h"),
    _moved("Press.FillDepth", "press.fill_depth", "mm"),
    _moved("Press.MainGap", "press.main_gap", "mm"),
    _moved("Press.TurretSpeed", "press.turret_speed", "rpm"),
    _moved("Blender.Speed", "blender.speed", "rpm"),
    _seen("Press.PreGap", "press.pre_gap", "mm"),
    _seen("FeederAPI.Refilling", "api.refilling"),
    _seen("FeederEXC.Refilling", "excipient.refilling"),
    _seen("Diverter.State", "diverter.divert"),
    _measured("FeederAPI.Flow", "api.flow_shown", "kg/h", 0.3, plausible=(-1, 6)),
    _measured("FeederEXC.Flow", "excipient.flow_shown", "kg/h", 2.0, plausible=(-5, 50)),
    _measured("FeederAPI.Weight", "api.W", "kg", 1.3e-4, plausible=(0, 3)),
    _measured("FeederEXC.Weight", "excipient.W", "kg", 8e-4, plausible=(0, 20)),
    _measured("FeederAPI.Speed", "api.N", "rpm", 0.7, plausible=(0, 300)),
    _measured("FeederEXC.Speed", "excipient.N", "rpm", 0.5, plausible=(0, 300)),
    _measured("Blender.Holdup", "blender.M", "kg", 2.5e-3, plausible=(0, 2)),
    _measured("NIR.Content", "nir.content", "%", 0.14, plausible=(0, 30), stale_after=30.0,
              frozen_after=30.0),
    _measured("Hopper.Level", "hopper.M", "kg", 4e-3, plausible=(0, 3)),
    _measured("Press.MainForce", "press.main_force", "kN", 0.07, plausible=(0.5, 60)),
    _measured("Press.PreForce", "press.pre_force", "kN", 0.02, plausible=(0.2, 30)),
    _measured("Press.EjectionForce", "press.ejection_force", "N", 12.0, plausible=(20, 2000)),
    _measured("Tester.Weight", "press.weight", "mg", 0.9, plausible=(100, 500),
              stale_after=240.0, frozen_after=600.0),
    _measured("Tester.Thickness", "press.thickness", "mm", 6e-3, plausible=(1, 10),
              stale_after=240.0, frozen_after=600.0),
    _measured("Tester.Hardness", "press.hardness", "N", 5.0, plausible=(0, 500),
              stale_after=900.0, frozen_after=1800.0),
    Binding("Lab.Content", "content", "%", connection="manual", sd=0.5, plausible=(50, 150)),
    _seen("Line.Running"),
    _seen("Line.Lot"),
    Binding("Diverter.Command", "diverter.divert", connection="plc", direction="out"),
    Binding("Line.Heartbeat", unit="count", connection="plc", direction="out"),
    Binding("Line.Remote", connection="plc", direction="both"),
)  # fmt: skip

FRESH = {"FeederAPI.Weight": 10.0, "FeederEXC.Weight": 10.0, "Hopper.Level": 10.0}

GUARD = Guard(
    rules=(
        Rule("FeederAPI.Setpoint", 1.2, 3.0, rate=12.0, deadband=0.002, fresh=FRESH),
        Rule("FeederEXC.Setpoint", 12.0, 25.0, rate=90.0, deadband=0.01, fresh=FRESH),
        Rule("Press.FillDepth", 8.0, 12.0, rate=3.0, deadband=0.003, fresh=FRESH),
        Rule("Press.MainGap", 3.3, 4.4, rate=1.0, deadband=0.003, fresh=FRESH),
        Rule("Press.TurretSpeed", 40.0, 95.0, rate=60.0, deadband=0.1, fresh=FRESH),
        Rule("Blender.Speed", 150.0, 350.0, rate=60.0, deadband=1.0, approval=True),
        Rule("Diverter.Command", 0, 1),
        Rule("Line.Remote"),
    ),
    interlocks=(Interlock("Line.Running", "the line is not running"),),
    heartbeat=Heartbeat("Line.Heartbeat", 2.0),
    remote=Remote("Line.Remote", 30.0),
)


class TolerantEKF(EKF):
    """An EKF that uses what is beyond its gate with the weight of a reading on the gate.

    A bridge in a feeder and a shaken balance both put readings beyond the gate: refusing them
    would blind the filter to the one, taking them whole would spoil it by the other. Their
    influence falls with their distance (a redescending M-estimator; Huber and Ronchetti, Robust
    Statistics, Wiley 2009; general knowledge). After ``patience`` of them in a row a reading is
    taken whole.
    """

    def _condition(
        self,
        belief: Gaussian,
        observations: Sequence[Observation],
        expected: Expectation,
        noise: Any,
        used: Any,
    ) -> tuple[Any, Any]:
        residual = np.array([o.value for o in observations]) - expected.values
        prior = expected.cov.diagonal()
        soft = np.maximum(noise, residual**2 / self._threshold - prior)
        noise = np.where(used, noise, soft)
        return super()._condition(belief, observations, expected, noise, np.ones_like(used))


def one_substep(system: Any) -> Transition:
    """A fixed cost per step: the fastest part of the line takes a second, as the step does."""
    return Transition(system, substeps=1)


ESTIMATOR = Estimation(
    TolerantEKF,
    {"augmented": AUGMENTED, "step": 1.0, "stride": 2.0, "patience": 60, "stepper": one_substep},
)
"""An extended Kalman filter with drifting feed factors, densities and sensor errors."""


def model() -> DirectCompressionLine:
    """The line with its commissioned values."""
    return DirectCompressionLine(**COMMISSIONED)


def tablet_line() -> TwinDefinition:
    """The twin of the tablet line."""
    return TwinDefinition(
        name="tablet-line",
        version="1",
        model=model,
        bindings=BINDINGS,
        noise=NOISE,
        estimator=ESTIMATOR,
        controller=Control(
            "galenic.stages.manufacturing.control:line_controller", every=5.0, deadline=2.0
        ),
        guard=GUARD,
        targets={
            "coming": "100 %",
            "press.weight": "250 mg",
            "press.main_force": "7.6 kN",
            "hopper.M": "0.4 kg",
            "excipient.flow": "18 kg/h",
        },
        shown=(
            "content", "press.weight", "press.main_force", "press.hardness", "hopper.M",
            "nir.content", "api.flow", "excipient.flow",
        ),
        limits={
            "content": ("95 %", "105 %"), "press.weight": ("237.5 mg", "262.5 mg"),
            "nir.content": ("9.5 %", "10.5 %"), "hopper.M": ("0.2 kg", "0.65 kg"),
        },
        fold=FoldRules(lateness=900.0, checkpoint=2.0),
        health=HealthRules(
            # A shaken balance or a spectrometer that is away leaves enough to go on with; several
            # sensors at once that do not fit the model do not.
            in_row=30,
            lost_below=0.25,
            critical=("Press.MainForce",),
        ),
        genealogy=GenealogyRules(
            {"Line.Lot": Residence(holdup=0.85, tanks=4.0, dead=0.05)},
            ("api.setpoint", "excipient.setpoint"),
            running="Line.Running",
        ),
        tick=1.0,
        forewarning=refills_ahead,
        horizon=900.0,
        every=15.0,
    )  # fmt: skip
