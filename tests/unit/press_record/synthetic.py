"""A press simulated apart from the product: plain steps of its own, seeded, with known truth."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

A, STIFFNESS, SET = 0.92, 0.8, 5.5
NOISE, DRIFT, PLAY = 0.05, 4e-3, 0.01
COLUMNS = (
    "timestamp;campaign;batch;code;tbl_speed;fom;main_comp;tbl_fill;SREL;pre_comp;produced;waste;"
    "cyl_main;cyl_pre;stiffness;ejection"
)
START = datetime(2020, 1, 1, tzinfo=UTC)


def force(fill, gap, stiffness=STIFFNESS):
    reduction = max(1 - gap / fill, 0.0)
    return stiffness * reduction / (A - reduction)


def press(plan, seed=0, batch="1", start=0, noise=NOISE, step=10.0):
    """Lines of a record: ``plan`` is a list of (rows, runs); readings freeze while it stands.

    The loop moves the depth by what the last reading was off, in steps of 0.01 mm; the reading
    lags the depth by 4 s; stiffness drifts, and the drive has some play.
    """
    rng = np.random.default_rng(seed)
    gap, pre_gap, stiffness = 1.0, 1.5, STIFFNESS
    fill = filled = gap / (1 - A * SET / (stiffness + SET))
    shown = [5.5, 2.0, 150, 3.5]
    lines = []
    for rows, runs in plan:
        for _ in range(rows):
            if runs:
                stiffness *= np.exp(DRIFT * rng.standard_normal())
                filled += (fill - filled) * (1 - np.exp(-step / 4.0))
                main = force(filled, gap, stiffness) + noise * rng.standard_normal()
                pre = force(filled, pre_gap, stiffness) + 0.02 * rng.standard_normal()
                shown = [round(main, 1), round(pre, 1), int(rng.normal(150, 5)),
                         round(rng.normal(3.5, 0.4), 1)]  # fmt: skip
            stamp = START + timedelta(seconds=step * (start + len(lines)))
            speed = 120 if runs else 0
            lines.append(
                f"{stamp:%Y-%m-%d %H:%M:%S};1;{batch};6;{speed};30;{shown[0]:.1f};{fill:.2f};"
                f"{shown[3]};{shown[1]:.1f};0;0;{gap};{pre_gap};2;{shown[2]}"
            )
            if runs:
                aim = fill * (1 - 0.15 * np.log(shown[0] / SET))
                fill = round(aim + PLAY * rng.standard_normal(), 2)
    return lines


def write(path: Path, *parts: list[str]) -> Path:
    path.write_text("\n".join([COLUMNS, *(line for part in parts for line in part)]) + "\n")
    return path
