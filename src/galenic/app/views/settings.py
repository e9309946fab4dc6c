"""Settings: people and tokens, connections, and what this server runs on."""

from __future__ import annotations

from nicegui import ui

import galenic
from galenic.app.permissions import sees_all
from galenic.app.views import shown
from galenic.app.views.frame import Page, html
from galenic.app.views.people import Keeping
from galenic.app.views.tables import grid


def settings_page(page: Page) -> None:
    """Who may do what, and how this site is set up."""
    html(
        '<h1>Settings</h1><p class="muted">Connections and twins are changed in the project '
        "file.</p>"
    )
    room = page.room
    if sees_all(page.who):
        Keeping(page)
    if room.runner is not None and sees_all(page.who):
        project = room.runner.project
        with ui.element("section").classes("card"):
            html("<h2>Connections</h2>")
            hidden = ("password", "key", "certificate")
            rows = [
                [
                    c.name,
                    c.kind,
                    ", ".join(f"{k} = {v}" for k, v in c.options.items() if k not in hidden),
                ]
                for c in project.connections
            ]
            html(grid(["name", "kind", "settings"], rows) if rows else '<p class="muted">none</p>')
        with ui.element("section").classes("card"):
            html("<h2>Twins</h2>")
            rows = [
                [
                    t.id,
                    t.definition.name,
                    t.definition.version,
                    ", ".join(f"{k} = {v}" for k, v in t.values.items()),
                ]
                for t in project.twins
            ]
            html(
                grid(["id", "definition", "version", "own values"], rows)
                if rows
                else '<p class="muted">none</p>'
            )
    with ui.element("section").classes("card"):
        html("<h2>Server</h2>")
        rows = [
            ["version", galenic.__version__],
            ["site", room.site],
            ["zone", shown.offset(room.now())],
            ["API", "described at /docs"],
        ]
        html(grid(["what", "value"], rows))
