"""Colours of both themes against WCAG 2.1 AA: 4.5:1 for text (1.4.3), 3:1 for graphics (1.4.11).

All colours stand in ``static/theme.css``; the pairs here say what is written or drawn on what.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from galenic.app.views import mount
from galenic.app.views.theme import SEVERAL

CSS = Path(mount.__code__.co_filename).with_name("static") / "theme.css"
SURFACES = ("ground", "card", "sunken")
SEVERITIES = ("critical", "high", "medium", "low")
TEXT = [
    *((ink, on) for ink in ("text", "muted", "faint", "accent") for on in SURFACES),
    *(("text", f"{severity}-ground") for severity in SEVERITIES[:3]),
    *((severity, on) for severity in SEVERITIES for on in ("ground", "card")),
    ("critical", "critical-ground"),
    ("high", "high-ground"),
    ("medium", "medium-ground"),
    ("on-accent", "accent"),
    ("card", "text"),
    ("card", "critical"),
    ("text", "accent-faint"),
    ("text", "alternative-soft"),
    ("faint", "accent-faint"),
]
GRAPHICS = [
    *((ink, on) for ink in ("strong-line", "focus", "good") for on in SURFACES),
    *((severity, on) for severity in SEVERITIES for on in SURFACES),
    *((ink, "card") for ink in ("measured", "setpoint", "alternative", "range", *SEVERAL)),
    *(("text", on) for on in ("bar", "bar-normal", "accent-soft")),
    ("accent", "accent-soft"),
    ("accent", "bar-normal"),
    ("range", "sunken"),
    ("range", "bar"),
]


def colours(theme: str) -> dict[str, tuple[float, ...]]:
    """Red, green, blue and opacity of each colour of a theme, 0 to 1."""
    text = CSS.read_text()
    blocks = re.findall(r"(:root|body\.body--dark) \{(.*?)\n\}", text, re.S)
    wanted = (":root",) if theme == "light" else (":root", "body.body--dark")
    found: dict[str, tuple[float, ...]] = {}
    for name, block in blocks:
        if name in wanted:
            for key, value in re.findall(r"--([\w-]+): #([0-9a-f]{6,8});", block):
                parts = tuple(int(value[i : i + 2], 16) / 255 for i in range(0, len(value), 2))
                found[key] = parts if len(parts) == 4 else (*parts, 1.0)
    return found


def over(top: tuple[float, ...], ground: tuple[float, ...]) -> tuple[float, ...]:
    """A colour, maybe translucent, on an opaque one."""
    share = top[3]
    return tuple(share * a + (1 - share) * b for a, b in zip(top, ground, strict=True))[:3]


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], two: tuple[float, ...]) -> float:
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def measured(theme: str, ink: str, on: str) -> float:
    """Contrast of a colour on another one, both on a card where they are translucent."""
    known = colours(theme)
    ground = (*over(known[on], known["card"]), 1.0)
    return contrast(over(known[ink], ground), ground)


def test_the_measure_agrees_with_the_values_that_wcag_gives():
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21.0)
    grey = (0x77 / 255,) * 3
    assert contrast(grey, (1, 1, 1)) == pytest.approx(4.48, abs=0.005)  # just fails on white


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(theme):
    poor = {pair: round(measured(theme, *pair), 2) for pair in TEXT if measured(theme, *pair) < 4.5}

    assert poor == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_signs_lines_and_borders_can_be_seen(theme):
    poor = {
        pair: round(measured(theme, *pair), 2) for pair in GRAPHICS if measured(theme, *pair) < 3.0
    }

    assert poor == {}


@pytest.mark.parametrize(
    "name", ["theme.py", "trends.py", "flowsheet.py", "results.py", "frame.py"]
)
def test_no_page_has_a_colour_of_its_own(name):
    """The pairs above are complete only if the theme is the one place of colours."""
    text = (CSS.parents[1] / name).read_text()

    assert re.findall(r"[\"': ]#[0-9a-fA-F]{3,8}\b|rgba?\(", text) == []


def test_nothing_that_says_something_is_faded_below_what_can_be_read():
    """Opacity lowers contrast; only the page of a lost server is faded, which says so in words."""
    rules = re.findall(r"([^{}]+)\{[^{}]*opacity: (0?\.\d+)", CSS.read_text())

    assert [rule.strip().split("\n")[-1] for rule, _ in rules] == ["body.contact-lost .page"]
