"""How large a feed error may be, and how long, before a blender lets it through.

A pulse in the feed leaves the blender smeared by the residence time distribution. The funnel plot
shows, for each duration, the height that just reaches the limit of 5 % behind the blender: above
the curve tablets are diverted.

python examples/funnel_plot.py [funnel.png]
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

from galenic.library.powder.residence import TanksInSeries

LIMIT = 5.0  # % of label, behind the blender
PULSE, HEIGHT = 30.0, 50.0  # a feed error: s, % of label
BLENDERS = {
    "60 s, 3 tanks": TanksInSeries(tau=60.0, n=3),
    "120 s, 3 tanks": TanksInSeries(tau=120.0, n=3),
    "60 s, 1 tank": TanksInSeries(tau=60.0, n=1),
}
DURATIONS = np.geomspace(2.0, 600.0, 60)  # s


def main(picture: str = "funnel.png") -> None:
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    for name, blender in BLENDERS.items():
        peaks = np.array([blender.pulse_peak(duration)[0] for duration in DURATIONS])
        axes.plot(DURATIONS, LIMIT / peaks, label=name)
        first, last = blender.window(PULSE, LIMIT / HEIGHT)
        best = LIMIT / blender.pulse_peak(PULSE)[0]
        print(f"{name:15} {best:4.1f} % passes; of {HEIGHT:g} % divert {first:.0f}-{last:.0f} s")
    axes.axhline(LIMIT, linestyle=":", color="grey")
    axes.set(xscale="log", yscale="log", xlabel="duration of the feed error [s]")
    axes.set_ylabel("largest feed error that passes [% of label]")
    axes.legend(title="mean residence time")
    figure.savefig(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
