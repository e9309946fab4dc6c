"""A model as people read it: description, equations, quantities with units and sources."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.permissions import sees_all
from galenic.app.views import shown
from galenic.app.views.facts import Facts
from galenic.app.views.frame import Page, html
from galenic.app.views.signatures import signatures_of
from galenic.app.views.tables import Html, grid

KINDS = (
    ("parameters", "Parameters"),
    ("inputs", "Inputs"),
    ("states", "States"),
    ("outputs", "Outputs"),
    ("algebraics", "Algebraic quantities"),
)


PROGRAM = ("getattr(", " for ", "[1:]", "lambda ")
"""What no reader of formulas knows: an equation that says this is shown as it is written."""


async def model_tab(page: Page, facts: Facts) -> None:
    """The model of a twin, with the values that this twin has."""
    from galenic.modeling.describe import Card

    card = await asyncio.to_thread(lambda: Card.of(facts.twin.system).to_dict())
    html(
        f'<p class="muted">Definition {escape(facts.title)} version '
        f"{escape(facts.twin.definition.version)}, "
        f"model identity <code>{card['identity'][:16]}…</code></p>"
    )
    if sees_all(page.who):
        signatures_of(page, "definition", facts.id, "Signatures of the definition")
    show_card(card)


def show_card(card: Mapping[str, Any]) -> None:
    """Equations first, then quantities."""
    if card["description"]:
        html(
            f'<pre class="facts" style="font-family: inherit; font-size: 14px">'
            f"{escape(card['description'])}</pre>"
        )
    if card["equations"]:
        with ui.element("section").classes("card"):
            html("<h2>Equations</h2>")
            html("".join(equation(one) for one in card["equations"]))
    for kind, title in KINDS:
        if card[kind]:
            with ui.element("section").classes("card"):
                html(
                    f"<h2>{title} <span class='muted small'>{len(card[kind])}</span></h2>"
                    + quantities(card[kind])
                )
    if card.get("conserved"):
        names = ", ".join(f"{b['name']} [{b['unit']}]" for b in card["conserved"])
        html(f'<p class="muted">Conserved and checked: {escape(names)}</p>')


def equation(one: Mapping[str, str]) -> str:
    """An equation as MathML, with its source line; as text where LaTeX cannot be drawn."""
    is_program = any(word in one["text"] for word in PROGRAM)
    drawn = mathml(one["latex"]) if one["latex"] and not is_program else ""
    body = drawn or f"<code>{escape(one['text'])}</code>"
    return (
        f'<div class="equation"><span title="{escape(one["text"])}">{body}</span>'
        f'<span class="muted small">{escape(one["where"])}</span></div>'
    )


def mathml(latex: str) -> str:
    r"""LaTeX as MathML, which browsers draw by themselves; empty where it is not understood.

    Examples
    --------
    >>> mathml(r"\frac{a}{b}")[:5]
    '<math'
    """
    from latex2mathml.converter import convert
    from latex2mathml.exceptions import InvalidStyleForGenfracError, MissingEndError

    try:
        return str(convert(_named_functions(latex), display="block"))
    except (ValueError, IndexError, KeyError, InvalidStyleForGenfracError, MissingEndError):
        return ""


def _named_functions(latex: str) -> str:
    r"""Names of functions as text: the converter would set them as products of letters.

    Examples
    --------
    >>> _named_functions(r"\operatorname{feed\_factor}(W)")
    '\\text{feed_factor}(W)'
    """
    return re.sub(
        r"\\operatorname\{((?:[^{}\\]|\\_)*)\}",
        lambda found: r"\text{" + found[1].replace(r"\_", "_") + "}",
        latex,
    )


def quantities(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of quantities."""
    has_spread = any(row["spread"] is not None for row in rows)
    has_source = any(row["source"] for row in rows)
    heads = ["name", "value", "meaning", "from", "to"]
    heads += ["spread"] if has_spread else []
    heads += ["source"] if has_source else []
    made = []
    for row in rows:
        value = (
            Html(shown.value_html(shown.number(row["value"]), row["unit"]))
            if row["value"] is not None
            else Html(f'<span class="unit">{escape(row["unit"])}</span>')
        )
        line: list[Any] = [
            row["path"],
            value,
            row["meaning"],
            _limit(row["lower"]),
            _limit(row["upper"]),
        ]
        line += [_limit(row["spread"])] if has_spread else []
        line += [row["source"]] if has_source else []
        made.append(line)
    return grid(heads, made, (1, 3, 4, 5) if has_spread else (1, 3, 4), "tall")


def _limit(value: float | None) -> str:
    return "" if value is None else shown.number(value)
