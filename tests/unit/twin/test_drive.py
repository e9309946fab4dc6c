"""A twin and a plant in one process."""

from __future__ import annotations

import pytest

from galenic.clock import SECOND
from galenic.signals import Write
from galenic.twin.drive import Drive
from galenic.twin.example import TankPlant, tank
from galenic.twin.level import Level
from galenic.twin.twin import Twin

T0 = 1_800_000_000 * SECOND


def drive(level=Level.SHADOW) -> Drive:
    return Drive(Twin(tank(), "tank-1", start=T0, level=level), TankPlant(T0))


def test_the_twin_brings_the_tank_to_its_target():
    study = drive()
    study.run(T0 + 30 * SECOND)
    study.engage()

    study.run(T0 + 150 * SECOND)

    assert study.plant.content[1] == pytest.approx(2.0, abs=0.1)
    assert study.twin.level is Level.TWIN


def test_in_shadow_nothing_is_written():
    effects = drive().run(T0 + 60 * SECOND)

    assert not [effect for effect in effects if isinstance(effect, Write)]


def test_two_runs_with_one_seed_are_the_same():
    ends = []
    for _ in range(2):
        study = drive()
        study.run(T0 + 20 * SECOND)
        study.engage()
        study.run(T0 + 60 * SECOND)
        ends.append(study.twin.snapshot())

    assert ends[0] == ends[1]
