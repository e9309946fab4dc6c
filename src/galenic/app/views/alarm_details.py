"""One alarm: what it means, what to do, and how a person answers it."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from nicegui import context, ui

from galenic.app.views import frame, shown
from galenic.app.views.frame import Page, button, html
from galenic.app.views.tables import Html, grid
from galenic.app.views.theme import SIGNS
from galenic.twin.alarm import state as states

Answer = tuple[str, Callable[[], None]]
SPANS = {15: "15 min", 60: "1 h", 240: "4 h", 480: "8 h"}


def state_words(alarm: dict[str, Any]) -> str:
    """The state of an alarm with who and until when."""
    words = str(alarm["state"])
    if alarm["state"] == states.SHELVED:
        words += f" until {shown.clock(alarm['until'])} by {alarm['by']}: {alarm['why']}"
    elif alarm["state"] == states.OUT_OF_SERVICE:
        words += f" by {alarm['by']}: {alarm['why']}"
    elif alarm["who"]:
        words += f" by {alarm['who']}"
    if not alarm["active"] and alarm["holds"]:
        words += ", its condition holds"
    return words


def answers(page: Page, id: str, alarm: dict[str, Any]) -> list[Answer]:
    """What a person may do about an alarm in its state; the most likely first."""
    state, found = alarm["state"], []
    if state in states.TO_ACKNOWLEDGE:
        found.append(("Acknowledge", "twins.acknowledge", "operator"))
    if state == states.LATCHED_ACKNOWLEDGED:
        found.append(("Reset", "twins.reset_alarm", "operator"))
    if state == states.SHELVED:
        found.append(("Unshelve", "twins.unshelve", "operator"))
    if state == states.OUT_OF_SERVICE:
        found.append(("Return to service", "twins.in_service", "engineer"))
    elif state != states.SHELVED:
        found.append(("Shelve", "twins.shelve", "operator"))
    if state != states.OUT_OF_SERVICE:
        found.append(("Take out of service", "twins.out_of_service", "engineer"))
    return [
        (verb, _asks(page, id, alarm, verb, service))
        for verb, service, role in found
        if page.who.may(role, id)
    ]


def _asks(
    page: Page, id: str, alarm: dict[str, Any], verb: str, service: str
) -> Callable[[], None]:
    """A function that asks for a reason and then does it."""

    def ask() -> None:
        given: dict[str, Any] = {"twin": id, "key": alarm["key"]}

        def spans() -> None:
            html("For how long").classes("muted small")
            chosen = ui.radio(SPANS, value=60).props("inline dense")
            given["minutes"] = 60
            chosen.on_value_change(lambda event: given.update(minutes=event.value))

        async def act(reason: str) -> bool:
            asked = {**given, "reason": reason}
            if "minutes" in asked:
                asked["minutes"] = f"{asked['minutes']} min"
            return await page.call(service, asked) is not None

        shelves = service == "twins.shelve"
        frame.confirm(
            f"{verb}: {alarm['key']}",
            verb,
            act,
            explain=alarm["text"],
            content=spans if shelves else None,
            reason="seen" if service == "twins.acknowledge" else "",
        )

    return ask


def show(page: Page, id: str, alarm: dict[str, Any]) -> None:
    """A dialog with everything that is known of an alarm, and all answers."""
    with context.client.content, ui.dialog() as dialog, ui.card().classes("alarm-details"):
        severity = alarm["severity"]
        html(
            f'<h2><span class="alarm {severity}"><span class="sign">{SIGNS[severity]}</span>'
            f"<span>{escape(alarm['text'])}</span></span></h2>"
        )
        html(grid(("", ""), _facts(id, alarm), css="plain"))
        with ui.element("div").classes("row"):
            for verb, ask in answers(page, id, alarm):

                def close_and(ask: Callable[[], None] = ask) -> None:
                    dialog.close()
                    ask()

                button(verb, close_and)
        with ui.element("div").classes("row").style("justify-content: flex-end"):
            button("Close", dialog.close, main=True).props("autofocus")
    dialog.on("hide", dialog.delete)
    dialog.open()


def _facts(id: str, alarm: dict[str, Any]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [
        ("what to do", Html(f"<b>{escape(alarm['action'])}</b>")),
        ("time to respond", shown.age(alarm["respond"]) if alarm["respond"] else ""),
        ("if nobody acts", alarm["consequence"]),
        ("cause", alarm["cause"]),
        ("priority", alarm["severity"]),
        ("state", state_words(alarm)),
        ("since", shown.stamp(alarm["since"])),
        ("class", alarm["group"]),
    ]
    if alarm["probability"] is not None:
        rows.append(("probability", f"{alarm['probability']:.0%}"))
    if alarm["model"]:
        rows.append(("model", alarm["model"]))
    key, twin = escape(alarm["key"]), escape(id)
    links = (
        f'<a href="/twin/{twin}">trends of {twin}</a> · '
        f'<a href="/alarms/history?twin={twin}&alarm={key}">history of this alarm</a>'
    )
    return [*[row for row in rows if row[1]], ("see", Html(links))]
