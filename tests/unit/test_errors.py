"""Errors suggest what was probably meant."""

from __future__ import annotations

import pytest

from galenic.errors import UnknownName


@pytest.mark.parametrize(
    ("name", "known", "first"),
    [
        ("Dryer", ["blender", "dryer"], "dryer"),
        ("press.mainforce", ["Press.MainForce", "Press.MainGap"], "Press.MainForce"),
        ("DRYRE", ["blender", "Dryer"], "Dryer"),
        ("blendr", ["Dryer", "blender"], "blender"),
    ],
)
def test_a_name_in_another_case_is_suggested(name, known, first):
    hint = UnknownName.among("model", name, known).hint

    assert hint.startswith(f"did you mean {first!r}")


def test_names_that_differ_by_case_alone_are_both_suggested():
    assert UnknownName.among("tag", "RUN", ["run", "Run"]).hint == "did you mean 'Run' or 'run'?"


def test_known_names_are_listed_where_none_is_near():
    assert UnknownName.among("tag", "zzz", ["Press", "Feeder"]).hint == "known: Feeder, Press"
