"""Half an hour of the tablet line: what two feeder refills do to the content of the tablets.

python examples/simulate_line.py [line.png]
"""

import sys

import matplotlib.pyplot as plt

from galenic import Experiment
from galenic.library.line.direct_compression import DirectCompressionLine

REFILLS = (
    Experiment()
    .set("excipient.refilling", 1, at="6 min").set("excipient.refilling", 0, at="6.5 min")
    .set("api.refilling", 1, at="15 min").set("api.refilling", 0, at="15.5 min")
)  # fmt: skip
SHOWN = ("api.flow", "blender.outlet.x", "content", "press.main_force")


def main(picture: str = "line.png") -> None:
    line = DirectCompressionLine()
    run = line.simulate(REFILLS, until="30 min", every="5 s", outputs=SHOWN)

    figure, axes = plt.subplots(len(SHOWN), sharex=True, figsize=(8, 8), layout="constrained")
    for axis, path in zip(axes, SHOWN, strict=True):
        axis.plot(run.times / 60, run[path])
        axis.set_ylabel(f"{path} [{run[path].unit.text}]")
    axes[2].axhspan(95, 105, alpha=0.15)  # release limits of content, % of label
    axes[-1].set_xlabel("time [min]")
    figure.savefig(picture)

    content = run["content"]
    print(f"content {content.min():.2f} to {content.max():.2f} %, written to {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
