"""The frame around each page: top bar, banners, help, sign-in, states, dialogs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from nicegui import context, ui

from galenic.app.permissions import Caller, sees_all
from galenic.app.session import SignatureNeeded
from galenic.app.views import shown
from galenic.app.views.room import TELLING, Room
from galenic.app.views.theme import SIGNS
from galenic.errors import GalenicError, NotPermitted

PLACES = (
    ("/", "Overview", "o"),
    ("/services", "Services", "s"),
    ("/models", "Models", "m"),
    ("/fleets", "Fleets", "f"),
    ("/goods", "Goods", "g"),
    ("/alarms", "Alarms", "a"),
    ("/records", "Records", "r"),
    ("/data", "Data", "d"),
    ("/settings", "Settings", "e"),
)
PERIOD = 0.4  # seconds between looks for something new to show
LOOK = 10  # so many of them between looks whether the sign-in still holds
STATIC = Path(__file__).parent / "static"


def _address(name: str) -> str:
    """Address of a file of the pages; it changes with the content, so browsers may keep it."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()
    return f"/control-room/{name}?v={digest[:12]}"


HEAD = (
    f'<link rel="stylesheet" href="{_address("theme.css")}">'
    f'<script defer src="{_address("control-room.js")}"></script>'
)
KEYS = (
    ("/", "search"),
    ("g t", "first twin"),
    ("↑ ↓", "move in a list"),
    ("Enter", "open"),
    ("Esc", "close"),
    ("?", "this help"),
)


@dataclass
class Page:
    """One open page of one person.

    ``update`` functions run a few times a second; each gives the changes of live values by key,
    and only what differs from what the browser has is sent.
    """

    room: Room
    who: Caller
    token: str
    sent: dict[str, Any] = field(default_factory=dict)
    updates: list[Callable[[], Mapping[str, Any]]] = field(default_factory=list)
    is_replay: bool = False
    beats: int = 0
    client: Any = field(default_factory=lambda: context.client)

    def live(self, update: Callable[[], Mapping[str, Any]]) -> None:
        """Add a function that gives the present live values."""
        self.updates.append(update)

    def present(self) -> dict[str, Any]:
        """All live values as they are now."""
        found: dict[str, Any] = {}
        for update in self.updates:
            found.update(update())
        return found

    def changed(self) -> dict[str, Any]:
        """What the browser does not have yet."""
        present = self.present()
        fresh = {key: value for key, value in present.items() if self.sent.get(key) != value}
        self.sent.update(fresh)
        return fresh

    def has_ended(self) -> bool:
        """Whether the sign-in has ended; looked at every few seconds."""
        self.beats += 1
        if self.beats % LOOK:
            return False
        return not self.room.people.sessions.is_open(self.token)

    async def call(self, service: str, arguments: Mapping[str, Any], wait: float = TELLING) -> Any:
        """Call a service for this person; its job. Errors are shown and give None."""
        job = await self.start(service, arguments, wait)
        if job is None or not job.ended.is_set():
            return job
        try:
            job.outcome()
        except GalenicError as error:
            complain(error)
            return None
        return job

    async def start(self, service: str, arguments: Mapping[str, Any], wait: float = 1.0) -> Any:
        """The same for a page that shows the job itself: only a refused call gives None."""
        try:
            if self.is_replay:
                raise NotPermitted(
                    f"{service} was not called: this page replays a record",
                    hint="go back to the live page",
                )
            who = self.room.access.of_token(self.token, "page")
            return await self.room.call(service, arguments, who, wait)
        except SignatureNeeded as needed:
            from galenic.app.views.signatures import request_call

            request_call(self, service, arguments, needed)
            return None
        except GalenicError as error:
            complain(error)
            return None


def complain(error: GalenicError) -> None:
    """Say an error where the person looks: what, what was expected, what to try."""
    facts = error.to_dict()
    parts = [facts.get("found", str(error))]
    parts += [f"expected: {facts['expected']}"] if facts.get("expected") else []
    parts += [f"try: {facts['hint']}"] if facts.get("hint") else []
    ui.notify(
        "\n".join(parts),
        type="negative",
        multi_line=True,
        actions=[{"label": "Close", "color": "white"}],
        timeout=0,
        classes="multi-line-notification",
        position="top",
    )


def said(text: str) -> None:
    """Confirm in words what was done."""
    ui.notify(text, position="top")


@contextmanager
def frame(room: Room, who: Caller, title: str, place: str = "", wide: str = "") -> Iterator[Page]:
    """A page with top bar; its content goes inside the ``with`` block."""
    ui.page_title(f"{title} · {room.site}")
    ui.add_head_html(HEAD)
    ui.colors(primary="var(--accent)")
    page = Page(room, who, context.client.request.cookies.get("galenic-sign-in", ""))
    _top_bar(page, place)
    html(_help(room))
    with ui.element("main").classes("page " + wide).props(f'aria-label="{escape(title)}"'):
        yield page
    page.sent.update(page.present())

    def beat() -> None:
        if page.has_ended():
            context.client.run_javascript("location.href = '/sign-in?next=' + "
                                          "encodeURIComponent(location.pathname)")  # fmt: skip
            return
        changes = page.changed()
        line = f"galenic.patch({_json(changes)});" if changes else ""
        context.client.run_javascript(f"{line}galenic.beat()")

    ui.timer(PERIOD, beat)


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False).replace("</", "<\\/")


def html(text: str, tag: str = "div") -> ui.html:
    """HTML that we made; every text in it has been escaped where it was put in."""
    return ui.html(text, sanitize=False, tag=tag)


def _top_bar(page: Page, place: str) -> None:
    room = page.room
    links = "".join(
        f'<a href="{path}" data-key="{key}"'
        f"{' aria-current=page' if _is_here(path, place) else ''}>{word}</a>"
        for path, word, key in room.places(PLACES)
    )
    first = next(iter(room.twins(page.who)), "")
    first_twin = f' data-first-twin="/twin/{escape(first)}"' if first else ""
    html(
        f'<header class="topbar"{first_twin}><span class="site">{escape(room.site)}</span>'
        f'<nav aria-label="Places">{links}</nav>'
        f'<span class="clock wide-only" data-live="plant-clock" title="plant time, in the site\'s '
        f'zone">'
        f"{_clock(room)}</span>"
        f'<span data-live="alarm-count">{_alarm_count(page)}</span>'
        '<button class="icon-button" onclick="galenic.switchTheme()" aria-label="Light or dark '
        'theme">◐</button>'
        '<button class="icon-button wide-only" '
        "onclick=\"document.getElementById('help').showModal()\" "
        'aria-label="Help and keys">?</button>'
        f'<span class="who"><span class="name" title="{escape(", ".join(page.who.roles))}">'
        f"{escape(page.who.name)} </span>"
        '<button class="icon-button" onclick="galenic.signOut()">Sign out</button></span></header>'
        '<div id="contact-lost" class="banner critical" role="alert"><span class="sign critical">'
        "■</span>"
        '<span>Contact with the server is lost since <span id="contact-since"></span>. '
        "What you see is old. This page connects again by itself.</span></div>"
        f'<div data-live="problems">{_problems(page)}</div>'
    )
    page.live(
        lambda: {
            "plant-clock": _clock(room),
            "alarm-count": {"html": _alarm_count(page)},
            "problems": {"html": _problems(page)},
        }
    )


def _is_here(path: str, place: str) -> bool:
    """Whether a place of the top bar is the one that is shown, or the one above it."""
    return place == path or (path != "/" and place.startswith(f"{path}/"))


def _clock(room: Room) -> str:
    now = room.now()
    return f"{shown.clock(now)} {shown.offset(now)}"


def _alarm_count(page: Page) -> str:
    alarms = [alarm for _, alarm in page.room.alarms(page.who)]
    counts = Counter(a["severity"] for a in alarms if a["active"])
    fresh = sum(1 for a in alarms if not a["acknowledged"])
    if not counts:
        words = f"no alarms, {fresh} new" if fresh else "no alarms"
        return f'<a href="/alarms" class="muted" style="text-decoration:none">{words}</a>'
    parts = "".join(
        f'<span class="alarm {word}" title="{counts[word]} {word}"><span class="sign">{sign}</span>'
        f'<span>{counts[word]}<span class="visually-hidden"> {word}</span></span></span>'
        for word, sign in SIGNS.items()
        if counts[word]
    )
    new = f"<span><b>{fresh} new</b></span>" if fresh else ""
    return f'<a href="/alarms" class="alarm-counts" aria-label="Alarms">{parts}{new}</a>'


def _problems(page: Page) -> str:
    """Banners for what is wrong with connections, store, speed and access."""
    room = page.room
    if room.runner is None or not sees_all(page.who):
        return ""
    rows = []
    for name, words in room.runner.problems.items():
        severity = "medium" if name == "speed" else "high"
        lost = name in room.runner.connectors and not room.runner.connectors[name].status.connected
        text = (
            f"no contact with {name}: {words}. It is tried again by itself."
            if lost
            else f"{name}: {words}"
        )
        rows.append(
            f'<div class="banner {severity}" role="status"><span class="sign {severity}">'
            f"{SIGNS[severity]}</span>"
            f"<span>{escape(text)}</span></div>"
        )
    return "".join(rows)


def _help(room: Room) -> str:
    places = [(f"g {key}", word) for _, word, key in room.places(PLACES)]
    rows = "".join(
        f"<tr><td><kbd>{escape(keys)}</kbd></td><td>{escape(what)}</td></tr>"
        for keys, what in (*KEYS[:2], *places, *KEYS[2:])
    )
    return (
        '<dialog id="help" aria-label="Help"><h2>How to read this</h2>'
        f'<p style="margin:8px 0">{legend()}</p><h2>Keys</h2><table class="grid">{rows}</table>'
        '<p style="margin-top:12px"><button class="icon-button" '
        "onclick=\"document.getElementById('help').close()\">Close</button></p></dialog>"
    )


def legend() -> str:
    """The fixed styles of all charts, once."""
    return (
        '<span class="legend">'
        '<span><svg><circle class="key-measured" cx="6" cy="6" r="2"/><circle '
        'class="key-measured" cx="14" cy="4" r="2"/>'
        '<circle class="key-measured" cx="22" cy="7" r="2"/></svg>measured</span>'
        '<span><svg><rect class="key-band" y="1" width="28" height="10"/><path class="key-line" '
        'd="M0 6H28"/></svg>'
        "estimated, 90 %</span>"
        '<span><svg><rect class="key-band" y="1" width="28" height="10"/><path class="key-dash" '
        'd="M0 6H28"/></svg>'
        "predicted, 50 and 90 %</span>"
        '<span><svg><path class="key-step" d="M0 6H28"/></svg>target</span>'
        '<span><svg><rect class="key-out" y="1" width="28" height="10"/></svg>outside of '
        "limits</span></span>"
    )


# states


def empty(title: str, next_step: str) -> None:
    """Nothing here yet, and what to do about it."""
    html(
        f'<div class="state"><strong>{escape(title)}</strong><span>{escape(next_step)}</span></div>'
    )


def failed(error: Mapping[str, Any], reference: str = "") -> None:
    """What went wrong, where, what to try; no traceback."""
    lines = [f"<strong>{escape(str(error.get('found', 'It failed.')))}</strong>"]
    for key, word in (("where", "where"), ("expected", "expected"), ("hint", "try")):
        if error.get(key):
            lines.append(f"<span>{word}: {escape(str(error[key]))}</span>")
    if reference:
        lines.append(f'<span class="small">{escape(reference)}</span>')
    html(f'<div class="state failed" role="alert">{"".join(lines)}</div>')


def alarm_html(alarm: Mapping[str, Any], now: int) -> str:
    """An alarm by shape, word and text."""
    over = "" if alarm["active"] else " over"
    since = shown.age((now - alarm["since"]) / shown.SECOND)
    return (
        f'<span class="alarm {alarm["severity"]}{over}"><span class="sign">'
        f"{SIGNS[alarm['severity']]}</span>"
        f'<span><span class="word">{alarm["severity"]}{" (over)" if over else ""}</span> '
        f"{escape(brief(alarm['text']))} "
        f'<span class="muted small nowrap">since {since}</span></span></span>'
    )


def brief(text: str, most: int = 160) -> str:
    """A text cut at the end of a part of it, as many reasons joined by semicolons.

    Examples
    --------
    >>> brief("a is old; b is old; c is old", 12)
    'a is old and 2 more'
    """
    parts = text.split("; ")
    kept = [parts[0]]
    while len(kept) < len(parts) and len("; ".join([*kept, parts[len(kept)]])) <= most:
        kept.append(parts[len(kept)])
    left = len(parts) - len(kept)
    return "; ".join(kept) + (f" and {left} more" if left else "")


def level_html(word: str, key: str = "") -> str:
    """The level as a badge."""
    live = f' data-live="{escape(key)}"' if key else ""
    return f'<span class="level {escape(word)}"{live}>{escape(word)}</span>'


def health_html(health: Mapping[str, Any]) -> str:
    """Lamp, word and reasons."""
    state, words = health["state"], health.get("words", "")
    reasons = [reason["text"] for reason in health.get("reasons", ())]
    more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    first = reasons[0] if reasons else words
    return (
        f'<span class="health {escape(state)}" title="{escape(words)}"><span class="lamp"></span>'
        f"<span><b>{escape(state)}</b>: {escape(first)}{more}</span></span>"
    )


# dialogs


def button(text: str, action: Callable[..., Any], main: bool = False) -> ui.button:
    """A button that says what it does."""
    made = ui.button(text, on_click=action, color=None)
    made.props("no-caps unelevated dense").style("padding: 5px 14px")
    return made.classes("main" if main else "plain")


def confirm(
    title: str,
    verb: str,
    action: Callable[[str], Awaitable[bool]],
    *,
    explain: str = "",
    content: Callable[[], Any] | None = None,
    reason: str = "",
) -> None:
    """A dialog for something that is recorded: what, why, and a button with the verb on it."""
    # of the page itself: where the button was may be made anew while a person still types
    with context.client.content, ui.dialog() as dialog, ui.card():
        ui.html(f"<h2>{escape(title)}</h2>", sanitize=False)
        if explain:
            html(f'<p class="muted">{escape(explain)}</p>')
        if content is not None:
            content()
        why = ui.input("Reason, for the ledger", value=reason).props("outlined dense autofocus")

        async def act() -> None:
            if not why.value.strip():
                why.props('error error-message="Say why; it stands in the ledger."')
                return
            if await action(why.value.strip()):
                dialog.close()

        why.on("keydown.enter", act)
        with ui.element("div").classes("row").style("justify-content: flex-end"):
            button("Cancel", dialog.close)
            button(verb, act, main=True)
    dialog.on("hide", dialog.delete)
    dialog.open()
