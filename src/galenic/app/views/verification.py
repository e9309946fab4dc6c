"""The verify button: progress, cancel, and the entry or file that is broken, by name."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Iterator
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import frame, shown
from galenic.app.views.aside import Aside
from galenic.app.views.frame import Page, button, html
from galenic.app.views.tables import Html, grid
from galenic.errors import DataError
from galenic.records import Head

LOOK = 0.3


def verified(store: Any, head: str) -> Iterator[dict[str, Any]]:
    """How far a verification is, then its report; for a process of its own."""
    against, here = _head(head), store.head()
    whole = {"entries": here.index + 1, "rows": here.offset}
    said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    looked = dict.fromkeys(whole, 0)

    def report(part: str, count: int) -> None:
        if part in looked:
            looked[part] = count
            share = sum(looked.values()) / max(1, sum(whole.values()))
            said.put({"share": min(1.0, share), "now": f"{part} up to {count}"})

    def work() -> None:
        try:
            found = store.verify(against, report)
            said.put({"report": found.to_dict(), "text": found.text})
        except BaseException as error:
            said.put({"error": error})

    yield {"share": 0.0, "now": f"{whole['entries']} entries and {whole['rows']} rows"}
    threading.Thread(target=work, daemon=True).start()
    while True:
        message = said.get()
        if "error" in message:
            raise message["error"]
        yield message
        if "report" in message:
            return


def _head(text: str) -> Head | None:
    try:
        return Head.from_text(text) if text else None
    except ValueError as error:
        raise DataError(
            f"{text!r} is not a head",
            expected="index:hash:offset:journal, as Copy the head gives it",
        ) from error


class Verification:
    """The part of the page with the newest entry and the button."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.store = page.room.store
        self.heard: dict[str, Any] = {}
        with ui.element("section").classes("card"):
            with ui.element("div").classes("row spread"):
                html(self._newest()).props('data-live="ledger:head"')
                with ui.element("div").classes("row"):
                    button("Copy the head", lambda: ui.clipboard.write(self.store.head().text))
                    self.against = (
                        ui.input("head kept elsewhere (optional)")
                        .props('outlined dense clearable aria-label="Head kept elsewhere"')
                        .style("width: 250px")
                    )
                    self.go = button("Verify", self.start, main=True)
            self.place = ui.element("div").props("role=status")
        page.live(lambda: {"ledger:head": {"html": self._newest()}})

    def _newest(self) -> str:
        head = self.store.head()
        return (
            f"<span>Entry {head.index} is the newest, hash <code>{head.hash[:16]}…</code> "
            '<span class="muted small">Keep the head elsewhere: a later verification can be '
            "held against it.</span></span>"
        )

    def start(self) -> None:
        """Begin to recompute."""
        head = (self.against.value or "").strip()
        try:
            _head(head)
        except DataError as error:
            frame.complain(error)
            return
        self.go.disable()
        self.heard, began = {"now": "the records", "share": 0.0}, time.monotonic()
        folder = str(self.store.folder)
        aside = Aside(verified, folder, (head,), self.heard.update, self._ended)
        self.page.client.on_delete(aside.stop)
        self.place.clear()
        with self.place:
            words = ui.label("")
            bar = ui.linear_progress(0.0, show_value=False).props('aria-label="Verification"')
            stop = button("Cancel", lambda: asyncio.to_thread(aside.stop))
            timer = ui.timer(LOOK, lambda: look())

        def look() -> None:
            bar.value, seconds = self.heard["share"], time.monotonic() - began
            words.text = f"Recomputing {self.heard['now']}, {bar.value:.0%} after {seconds:.0f} s"
            if "ended" in self.heard:
                timer.cancel()
                stop.disable()
                self._show()

    def _ended(self, error: dict[str, str] | None) -> None:
        self.heard["error"] = error
        self.heard["ended"] = True

    def _show(self) -> None:
        """The verdict first, then each problem with the entry that names it."""
        self.go.enable()
        self.place.clear()
        with self.place:
            report = self.heard.get("report")
            if report is None:
                error = self.heard.get("error") or {}
                frame.failed({**error, "found": f"Not verified: {error.get('found', 'no report')}"})
                return
            if report["ok"]:
                html(f'<p><b>✓ intact</b></p><pre class="facts">{escape(self.heard["text"])}</pre>')
                return
            first = report["problems"][0]
            frame.failed(
                {
                    "found": f"Not intact: {first['part']}: {first['place']}: {first['reason']}",
                    "hint": "compare with a copy of the site's folder; the rest still stands",
                },
                f"found {shown.stamp(self.page.room.now())}",
            )
            html(
                grid(["part", "where", "what is wrong", "entry"], map(_problem, report["problems"]))
            )


def _problem(problem: dict[str, Any]) -> list[Any]:
    index = problem["index"]
    link = "" if index is None else Html(f'<a href="/records?entry={index}">entry {index}</a>')
    return [problem["part"], problem["place"], problem["reason"], link]
