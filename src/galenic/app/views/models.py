"""Models: the catalogue, and the card of each."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import frame
from galenic.app.views.frame import Page, button, html
from galenic.app.views.model_tab import show_card
from galenic.app.views.tables import Html, grid


def models_page(page: Page, search: str = "") -> None:
    """All models with a filter."""
    from galenic import plugins

    html("<h1>Models</h1>")
    box = (
        ui.input(placeholder="filter by word", value=search)
        .props('outlined dense clearable aria-label="Search models"')
        .classes("search")
        .style("max-width: 420px")
    )
    place = ui.element("div").classes("card")
    entries = [plugins.models()[name] for name in sorted(plugins.models())]

    def show() -> None:
        words = (box.value or "").lower().split()
        found = [
            e for e in entries if all(w in f"{e.name} {e.title} {e.origin}".lower() for w in words)
        ]
        place.clear()
        with place:
            if not found:
                frame.empty(
                    "No model has these words." if entries else "There are no models yet.",
                    "Offer your own with --models file.py, or install a package that brings some.",
                )
                return
            rows = [
                [
                    Html(f'<a data-row href="/models/{escape(e.name)}">{escape(e.name)}</a>'),
                    e.title,
                    e.origin,
                    Html(
                        f'<a href="/services/models/simulate?model={escape(e.name)}">simulate</a>'
                    ),
                ]
                for e in found
            ]
            html(grid(["model", "what it is", "from", ""], rows))

    box.on_value_change(show)
    show()


async def model_page(page: Page, name: str) -> None:
    """The card of one model."""
    html(f'<p class="small"><a href="/models">Models</a> / {escape(name)}</p>')
    place = ui.element("div").classes("page").style("padding: 0")
    with place:
        html('<div class="state"><span>Reading the model…</span></div>')

    async def load() -> None:
        job = await page.call("models.card", {"model": name})
        place.clear()
        with place:
            if job is None or job.result is None:
                frame.empty(
                    "The card could not be made.", "Run galenic check on the model; it says why."
                )
                return
            card: dict[str, Any] = json.loads(job.result.artefacts[0].data)
            with ui.element("div").classes("row spread"):
                html(f"<h1>{escape(card['title'] or name)}</h1>")
                button("Simulate now", lambda: simulate(page, name), main=True)
            show_card(card)

    ui.timer(0.05, load, once=True)


async def simulate(page: Page, name: str) -> None:
    """The default experiment of a model; then to its result."""
    job = await page.start("models.simulate", {"model": name})
    if job is not None:
        ui.navigate.to(f"/jobs/{job.id}")
