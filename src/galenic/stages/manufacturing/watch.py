"""What a trial keeps beside the hidden truth: how good the belief and the forecasts were.

Only the score looks at the truth; nothing of it reaches the twin.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from galenic.stages.manufacturing.plant.line import TabletLine
from galenic.stages.manufacturing.plant.metrics import TruthRecord
from galenic.twin.twin import Twin

PERCENT, MG, KG_H = 0.01, 1e-6, 1 / 3600
BELIEVED: dict[str, tuple[str, float]] = {
    "content of tablets": ("feed_frame.x[1]", PERCENT),
    "content after blender": ("chute.x[1]", PERCENT),
    "mass of active feeder": ("api.W", 1.0),
    "mass of excipient feeder": ("excipient.W", 1.0),
    "mass in blender": ("blender.M", 1.0),
    "mass in hopper": ("hopper.M", 1.0),
    "error of NIR": ("nir.bias", PERCENT),
    "tablet weight": ("press.weight", MG),
    "flow of active": ("api.flow", KG_H),
    "flow of excipient": ("excipient.flow", KG_H),
}
TRUTH = {
    "content of tablets": "True.ContentTablet",
    "content after blender": "True.ContentBlend",
    "mass of active feeder": "True.WeightAPI",
    "mass of excipient feeder": "True.WeightEXC",
    "mass in blender": "True.Holdup",
    "mass in hopper": "True.HopperLevel",
    "error of NIR": "True.NirError",
    "tablet weight": "True.TabletWeight",
    "flow of active": "True.FlowAPI",
    "flow of excipient": "True.FlowEXC",
}
AHEAD = (60, 300, 900)
FORETOLD = {"content": ("ContentTablet", PERCENT / 0.10), "press.weight": ("TabletWeight", MG)}
NORMAL_90 = 1.6448536269514722


class Watch:
    """Compares belief and forecasts with the truth while a trial runs.

    Parameters
    ----------
    plant : TabletLine
    twin : Twin or None
    after : float [s]
        Nothing is counted before.
    every, forecasts : float [s]
        How often the belief is compared, and a forecast is made.
    """

    def __init__(
        self,
        plant: TabletLine,
        twin: Twin | None,
        after: float = 300.0,
        every: int = 10,
        forecasts: int = 300,
    ) -> None:
        self.plant = plant
        self.twin = twin
        self.after = after
        self.every = every
        self.forecasts = forecasts
        self._errors: dict[str, list[tuple[float, bool]]] = {name: [] for name in BELIEVED}
        self._bands: list[tuple[int, str, float, float, float]] = []
        self._levels: list[int] = []

    def look(self, second: int) -> None:
        """Note what there is to note at a second of the trial."""
        if self.twin is None:
            return
        self._levels.append(int(self.twin.level))
        if second < self.after:
            return
        if second % self.every == 0:
            self._compare(self.twin)
        if second % self.forecasts == 0:
            self._foretell(self.twin, second)

    def _compare(self, twin: Twin) -> None:
        belief, truth = twin.belief, self.plant.truth()
        names = [path for path, _ in BELIEVED.values()]
        found = twin.estimator.observe(belief, names)
        for name, (path, factor) in BELIEVED.items():
            mean, sd = found[path]
            error = mean - truth[TRUTH[name]] * factor
            self._errors[name].append((error / factor, abs(error) <= NORMAL_90 * sd))

    def _foretell(self, twin: Twin, second: int) -> None:
        forecast = twin.forecast(max(AHEAD), 60.0, tuple(FORETOLD))
        begin = int(forecast.times[0])
        for name in FORETOLD:
            low, high = forecast.band(name, 0.9)
            mean = forecast.mean[:, forecast.column(name)]
            for ahead in AHEAD:
                row = int(np.argmin(np.abs(forecast.times - (begin + ahead * 10**9))))
                self._bands.append(
                    (second + ahead, f"{name} {ahead}", mean[row], low[row], high[row])
                )

    def summary(self, record: TruthRecord) -> dict[str, Any]:
        """Plain numbers; ``record`` is the truth from ``after`` on."""
        if self.twin is None:
            return {}
        belief = {
            name: {
                "rmse": float(np.sqrt(np.mean(np.square([e for e, _ in rows])))),
                "bias": float(np.mean([e for e, _ in rows])),
                "coverage": float(np.mean([inside for _, inside in rows])),
            }
            for name, rows in self._errors.items()
            if rows
        }
        levels = np.array(self._levels)
        return {
            "belief": belief,
            "forecast": self._within(record),
            "share_acting": float(np.mean(levels == 2)) if len(levels) else 0.0,
        }

    def _within(self, record: TruthRecord) -> dict[str, dict[str, float]]:
        found: dict[str, list[tuple[bool, float]]] = {}
        for second, key, mean, low, high in self._bands:
            row = int(second - self.after)
            if row >= len(record):
                continue
            column, factor = FORETOLD[key.rpartition(" ")[0]]
            value = float(record[column][row]) * factor
            error = (mean - value) / factor
            found.setdefault(key, []).append((low <= value <= high, error))
        return {
            key: {
                "inside": float(np.mean([inside for inside, _ in rows])),
                "rmse": float(np.sqrt(np.mean(np.square([error for _, error in rows])))),
                "count": float(len(rows)),
            }
            for key, rows in found.items()
        }
