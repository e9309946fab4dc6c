"""Services: a list to search, and for each a form made from its signature."""

from __future__ import annotations

import asyncio
from html import escape
from typing import Any

from nicegui import context, ui

from galenic.app.views import frame, shown
from galenic.app.views.forms import Form
from galenic.app.views.frame import Page, button, html
from galenic.app.views.results import watch_job
from galenic.app.views.tables import Html, grid

EFFECTS = {"read": "looks", "compute": "computes", "act": "changes something"}


def services_page(page: Page, search: str = "") -> None:
    """Every service by stage, filtered by words; the last jobs."""
    html("<h1>Services</h1>")
    box = (
        ui.input(placeholder="search by stage or word", value=search)
        .props('outlined dense clearable aria-label="Search services"')
        .classes("search")
        .style("max-width: 420px")
    )
    if search is not None:
        box.props("autofocus")
    place = ui.element("div").classes("columns")
    entries = [entry.summary() for entry in page.room.session.services().values()]

    def show() -> None:
        place.clear()
        words = (box.value or "").lower().split()
        found = [
            e for e in entries if all(w in " ".join(map(str, e.values())).lower() for w in words)
        ]
        with place:
            for stage in sorted({e["stage"] for e in found}):
                with ui.element("section").classes("card span-6"):
                    html(
                        f"<h2>{escape(stage)}</h2>"
                        + _list([e for e in found if e["stage"] == stage], page)
                    )
            if not found:
                with ui.element("div").classes("span-12"):
                    frame.empty(
                        "No service has these words.",
                        "Try fewer words, or a stage as twins or models.",
                    )

    box.on_value_change(show)
    show()
    _last_jobs(page)


def _list(entries: list[dict[str, Any]], page: Page) -> str:
    rows = [
        [
            Html(f'<a data-row href="/services/{e["stage"]}/{e["name"]}">{escape(e["title"])}</a>'),
            e["description"].partition(". ")[0],
            "" if may(page, e["role"]) else f"needs {e['role']}",
        ]
        for e in entries
    ]
    return grid(["service", "what it does", ""], rows)


def may(page: Page, role: str) -> bool:
    """Whether this person has ``role``, for some twin at least."""
    return page.who.may_somewhere(role)


def _last_jobs(page: Page) -> None:
    with ui.element("section").classes("card"):
        html("<h2>Last calls</h2>")
        html('<p class="small"><a href="/fits">Population fits, to read and to compare</a></p>')
        jobs = [job.record() for job in page.room.session.jobs(page.who)][:20]
        if not jobs:
            html('<p class="muted">No service has been called since the server started.</p>')
            return
        rows = [
            [
                Html(f'<a data-row href="/jobs/{job["id"]}">{escape(job["service"])}</a>'),
                job["who"],
                shown.stamp(job["created"]),
                job["state"],
            ]
            for job in jobs
        ]
        html(grid(["service", "who", "when", "state"], rows))


def service_page(page: Page, stage: str, name: str) -> None:
    """The form of one service, filled in from the address; below it the result."""
    given = dict(context.client.request.query_params)
    entry = page.room.session.service(f"{stage}.{name}")
    facts = entry.form()
    html(
        f'<p class="small"><a href="/services">Services</a> / {escape(stage)}</p><h1>'
        f"{escape(entry.title)}</h1>"
    )
    html(
        f'<p class="muted">{escape(entry.description)} '
        f"<span class=small>({EFFECTS[entry.effect]}; role {escape(entry.role)}; "
        f"also <code>galenic {escape(stage)} {escape(name.replace('_', '-'))}</code> and "
        f"<code>POST /api/services/{escape(stage)}/{escape(name)}</code>)</span></p>"
    )
    with ui.element("div").classes("card").style("max-width: 720px"):
        form = Form(facts["fields"], page.room, given)
        if not facts["fields"]:
            html('<p class="muted">It takes no arguments.</p>')

        async def call() -> None:
            go.disable()
            try:
                job = await page.start(entry.full_name, form.values())
            finally:
                go.enable()
            if job is not None:
                result.clear()
                watch_job(
                    page,
                    job.id,
                    result,
                    await asyncio.to_thread(page.room.session.job, job.id, page.who),
                )

        allowed = may(page, entry.role)
        with ui.element("div").classes("row"):
            go = button(entry.title, call, main=True)
        if not allowed:
            go.disable()
            html(
                f'<p class="muted">This needs the role {escape(entry.role)}. Ask an '
                f"administrator.</p>"
            )
    result = ui.element("div").classes("page").style("padding: 0")
