"""Alarms: what is wrong, how bad, since when, what now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import alarm_details, frame, shown
from galenic.app.views.frame import Page, button, html
from galenic.app.views.theme import SIGNS
from galenic.twin.alarm import state as states

Row = tuple[str, dict[str, Any]]

QUIET = (states.SHELVED, states.SUPPRESSED, states.OUT_OF_SERVICE)
SECTIONS: tuple[tuple[str, Callable[[Mapping[str, Any]], bool]], ...] = (
    ("Standing", lambda a: bool(a["active"])),
    ("Over, to be acknowledged or reset", lambda a: not a["active"] and a["state"] not in QUIET),
    ("Shelved, suppressed, out of service", lambda a: a["state"] in QUIET),
)
ORDERS: dict[str, Callable[[Row], Any]] = {
    "priority": lambda r: (list(SIGNS).index(r[1]["severity"]), -r[1]["since"]),
    "newest": lambda r: -r[1]["since"],
    "oldest": lambda r: r[1]["since"],
    "twin": lambda r: (r[0], list(SIGNS).index(r[1]["severity"])),
}
MOST = 200
LONGEST = 260  # characters of what an alarm says
PLACES = (
    ("/alarms", "Now"),
    ("/alarms/history", "History"),
    ("/alarms/performance", "Performance"),
)


def tabs(here: str) -> None:
    """The three pages on alarms."""
    links = "".join(
        f'<a href="{path}"{" aria-current=page" if path == here else ""}>{word}</a>'
        for path, word in PLACES
    )
    html(f'<nav class="subnav no-print" aria-label="Pages on alarms">{links}</nav>')


def alarms_page(page: Page, twin: str = "", priority: str = "", words: str = "") -> None:
    """All alarms that are not normal, the worst first, each with what can be done about it."""
    html("<h1>Alarms</h1>")
    tabs("/alarms")
    AlarmList(page, twin, priority, words)


class AlarmList:
    """The alarms of all twins that a person may see, by filters and an order."""

    def __init__(self, page: Page, twin: str, priority: str, words: str) -> None:
        self.page = page
        self.drawn: Any = None
        self.rows: list[Row] = []
        self.newest: dict[tuple[str, str], dict[str, Any]] = {}
        self._filters(twin, priority, words)
        self.counts = html("").props("role=status")
        self.place = ui.element("div").classes("page").style("padding: 0")
        self.show()
        ui.timer(1.0, self.show)
        page.live(self._ages)

    def _filters(self, twin: str, priority: str, words: str) -> None:
        with ui.element("div").classes("row search no-print"):
            kinds = {"": "all priorities", **{word: word for word in SIGNS}}
            self.priority = ui.select(
                kinds, value=priority if priority in kinds else "", label="priority"
            )
            ids = self.page.room.twins(self.page.who)[:MOST]
            names = {"": "all twins", **{id: id for id in ids}}
            self.twin = ui.select(names, value=twin if twin in names else "", label="twin")
            self.order = ui.select(list(ORDERS), value="priority", label="order")
            self.words = ui.input("search words", value=words).props("clearable debounce=300")
            for box in (self.priority, self.twin, self.order, self.words):
                box.props("outlined dense options-dense").style("min-width: 150px")
                box.on_value_change(self.again)
            self.all = button("Acknowledge all shown", self.acknowledge_all)

    def again(self) -> None:
        """Draw by the filters as they are now."""
        self.drawn = None
        self.show()

    def _wanted(self, row: Row) -> bool:
        id, alarm = row
        words = str(self.words.value or "").lower().split()
        text = f"{id} {alarm['key']} {alarm['text']} {alarm['subject']} {alarm['group']}".lower()
        return (
            (not self.priority.value or alarm["severity"] == self.priority.value)
            and (not self.twin.value or id == self.twin.value)
            and all(word in text for word in words)
        )

    def show(self) -> None:
        """Draw what has changed."""
        found = [row for row in self.page.room.alarms(self.page.who) if self._wanted(row)]
        self.newest = {(id, alarm["key"]): alarm for id, alarm in found}
        key = [
            (id, a["key"], a["state"], a["active"], a["holds"], a["severity"], a["until"])
            for id, a in found
        ]
        if key == self.drawn:
            return
        self.drawn = key
        self.rows = sorted(found, key=ORDERS[str(self.order.value)])
        waiting = self._unacknowledged()
        self.all.set_enabled(bool(waiting))
        self.all.set_text(f"Acknowledge all shown ({len(waiting)})")
        self.counts.set_content(_counts([alarm for _, alarm in self.rows]))
        self.place.clear()
        with self.place:
            if not self.rows:
                frame.empty("No alarms.", "What happened before is in the history.")
            for title, belongs in SECTIONS:
                part = [row for row in self.rows if belongs(row[1])]
                if part:
                    self._section(title, part)

    def _section(self, title: str, rows: list[Row]) -> None:
        with ui.element("section").classes("card").style("gap: 0"):
            html(f'<h2>{title} <span class="muted small">{len(rows)}</span></h2>')
            for id, alarm in rows[:MOST]:
                self._row(id, alarm)
            if len(rows) > MOST:
                html(f'<p class="muted small">and {len(rows) - MOST} more; filter to see them</p>')

    def _row(self, id: str, alarm: dict[str, Any]) -> None:
        fresh = " fresh" if alarm["state"] in states.TO_ACKNOWLEDGE else ""
        css = f"alarm-row {alarm['severity']}{fresh}"
        with ui.element("article").classes(f"row spread {css}"):
            html(_row_html(self.page, id, alarm)).style("min-width: 0")
            with ui.element("div").classes("row nowrap").style("flex-wrap: nowrap"):
                may = self.page.who.may("operator", id)
                for verb, ask in alarm_details.answers(self.page, id, alarm)[:1] if may else []:
                    button(verb, ask).props(f'aria-label="{escape(verb)} {escape(alarm["key"])}"')
                more = button("Details", lambda: self.details(id, alarm))
                more.props(f'data-row aria-label="Details of {escape(alarm["key"])}"')

    def details(self, id: str, alarm: dict[str, Any]) -> None:
        """Everything about an alarm as it is now."""
        alarm_details.show(self.page, id, self.newest.get((id, alarm["key"]), alarm))

    def _ages(self) -> dict[str, Any]:
        now = self.page.room.now()
        found = {}
        for (id, key), alarm in self.newest.items():
            found[f"since:{id}:{key}"] = shown.age((now - alarm["since"]) / shown.SECOND)
            found[f"says:{id}:{key}"] = frame.brief(alarm["text"], LONGEST)
        return found

    def _unacknowledged(self) -> list[Row]:
        return [
            (id, alarm)
            for id, alarm in self.rows
            if alarm["state"] in states.TO_ACKNOWLEDGE and self.page.who.may("operator", id)
        ]

    def acknowledge_all(self) -> None:
        """Say that all shown were seen."""
        rows = self._unacknowledged()

        async def act(reason: str) -> bool:
            for id in dict.fromkeys(id for id, _ in rows):
                keys = [alarm["key"] for of, alarm in rows if of == id]
                given = {"twin": id, "keys": keys, "reason": reason}
                if await self.page.call("twins.acknowledge_all", given) is None:
                    return False
            return True

        names = ", ".join(alarm["key"] for _, alarm in rows[:8])
        more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
        title = f"Acknowledge {len(rows)} alarm{'s' * (len(rows) != 1)}"
        frame.confirm(title, title, act, reason="seen", explain=names + more)


def _counts(alarms: list[dict[str, Any]]) -> str:
    """How many there are of each priority, by shape, number and word."""
    active = Counter(a["severity"] for a in alarms if a["active"])
    parts = [
        f'<span class="alarm {word}"><span class="sign">{sign}</span><span><b>{active[word]}</b> '
        f"{word}</span></span>"
        for word, sign in SIGNS.items()
        if word != "journal" or active[word]
    ]
    return f'<div class="row" style="gap: 20px">{"".join(parts)}</div>'


def _row_html(page: Page, id: str, alarm: dict[str, Any]) -> str:
    severity = alarm["severity"]
    over = "" if alarm["active"] else " over"
    since = shown.age((page.room.now() - alarm["since"]) / shown.SECOND)
    named = [name for name in (alarm["key"], alarm["subject"]) if name not in ("", id)]
    subject = "".join(f" · {escape(name)}" for name in dict.fromkeys(named))
    action = f'<div class="small">▸ {escape(alarm["action"])}</div>' if alarm["action"] else ""
    return (
        f'<span class="alarm {severity}{over}"><span class="sign">{SIGNS[severity]}</span><span>'
        f'<span class="word">{severity}</span> '
        f'<span data-live="says:{escape(id)}:{escape(alarm["key"])}">'
        f"{escape(frame.brief(alarm['text'], LONGEST))}</span></span>"
        f'</span>{action if alarm["active"] else ""}<div class="muted small">'
        f'<span class="state-word">{escape(alarm_details.state_words(alarm))}</span> · '
        f'<a href="/twin/{escape(id)}">{escape(id)}</a>{subject} · since '
        f'<span data-live="since:{escape(id)}:{escape(alarm["key"])}">{since}</span> '
        f"({shown.clock(alarm['since'])})</div>"
    )
