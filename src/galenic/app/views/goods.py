"""Goods: where a serial number is now, what happened to it, in what it is, what it was made of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from galenic.app.views import frame, shown
from galenic.app.views.frame import Page, html
from galenic.app.views.tables import Html, grid
from galenic.connect.epcis.identity import event_hash
from galenic.connect.epcis.keys import canonical, spoken
from galenic.connect.epcis.query import Query, Recorded
from galenic.connect.epcis.state import Making, State, Thing, lot_and_expiry
from galenic.connect.epcis.uom import said_as
from galenic.stages.supply.repository import Repository, repository_of
from galenic.stages.supply.story import Story

FOUND, EVENTS, CONTENTS, RECENT = 100, 200, 200, 20
HISTORY = ("time", "step", "what", "disposition", "read point", "place", "")
NEWEST = Query.of({"orderBy": ["recordTime"], "eventCountLimit": [str(RECENT)]})
NOTHING = "—"


async def goods_page(page: Page, thing: str = "", text: str = "") -> None:
    """Search, and one thing."""
    html("<h1>Goods</h1>")
    store = page.room.store
    if store is None:
        frame.empty("This server has no records.", "Start it with a project.")
        return
    repository = repository_of(store, page.room.session.clock)
    count = await asyncio.to_thread(len, repository)
    if not count:
        frame.empty(
            "No event of goods was captured yet.",
            "Send EPCIS documents to /epcis/capture, or use the service supply capture.",
        )
        return
    html(_search(text or (thing and _last(thing)))).classes("no-print")
    if thing:
        _show(page, await asyncio.to_thread(Told.of, repository, thing))
    elif text.strip():
        found = await asyncio.to_thread(repository.find, text, FOUND + 1)
        html(_found(text, found)).classes("card")
    else:
        newest = await asyncio.to_thread(repository.page, NEWEST, RECENT)
        head = f"<h2>Newest events</h2><p class='muted small'>{count} on record</p>"
        html(head + _recent(newest[0])).classes("card")


def _last(thing: str) -> str:
    return canonical(thing).rpartition("/")[2]


def _search(text: str) -> str:
    return (
        '<form class="find search" action="/goods" role="search">'
        "<label>Serial, lot, GTIN, SSCC or EPC"
        f'<input name="text" type="search" value="{escape(text)}" autocomplete="off" '
        'spellcheck="false"></label><button class="main">Find</button>'
        '<span class="muted small">the beginning is enough</span></form>'
    )


def link(name: str, words: str = "") -> Html:
    """A thing by its name in words, leading to its page."""
    shown_as = escape(words or spoken(name))
    return Html(f'<a data-row href="/goods?thing={quote(name, safe="")}">{shown_as}</a>')


def _found(text: str, found: list[tuple[str, int]]) -> str:
    if not found:
        return (
            f'<div class="state"><strong>Nothing begins with {escape(text)}.</strong><span>Try '
            "the number alone, as printed: serial, lot, GTIN with 13 or 14 digits, or SSCC."
            "</span></div>"
        )
    rows = [(link(name), Html(f'<span class="muted small wrap">{escape(name)}</span>'), count)
            for name, count in found[:FOUND]]  # fmt: skip
    more = f'<p class="muted small">The first {FOUND}; type more of it.</p>'
    table = grid(("thing or class", "EPC", "events"), rows, (2,), "tall")
    return "<h2>Found</h2>" + table + (more if len(found) > FOUND else "")


def _recent(events: Iterable[Recorded]) -> str:
    rows = []
    for one in events:
        named = _named(one.event)
        first = link(canonical(named[0])) if named else NOTHING
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        rows.append((_time(one.event.time), _word(one.event.bizStep), Html(f"{first}{more}"),
                     _word(one.event.disposition), _place(one.event.bizLocation)))  # fmt: skip
    return grid(("time", "step", "what", "disposition", "place"), rows)


def _named(event: Any) -> list[str]:
    """What an event is about, outermost first."""
    parent = getattr(event, "parentID", None)
    named = [parent] if parent else []
    for name in ("epcList", "childEPCs", "outputEPCList", "inputEPCList"):
        named += getattr(event, name, None) or ()
    for name in ("quantityList", "outputQuantityList", "inputQuantityList", "childQuantityList"):
        named += [one.epcClass for one in getattr(event, name, None) or ()]
    return named


@dataclass(frozen=True)
class Told:
    """What the events tell of one thing."""

    name: str
    story: Story
    lineage: State
    wrong: set[str]
    like: list[tuple[str, int]]

    @classmethod
    def of(cls, repository: Repository, thing: str) -> Told:
        """From the records."""
        name = canonical(thing)
        story = repository.story(name)
        like = [] if story.events else repository.find(_last(name)[:4], 20)
        return cls(name, story, repository.lineage(name), repository.index.wrong(), like)

    @property
    def state(self) -> State:
        return self.story.state

    @property
    def thing(self) -> Thing | None:
        return self.state.things.get(self.name)


def _show(page: Page, told: Told) -> None:
    if not told.story.events:
        frame.empty(f"No event names {spoken(told.name)}.", f"Looked for {told.name}.")
        if told.like:
            html(_found("", told.like)).classes("card")
        return
    html(f'<h2 class="wrap">{escape(spoken(told.name))}</h2>'
         f'<p class="muted small wrap">{escape(told.name)}</p>')  # fmt: skip
    findings = [f for f in told.state.findings if f.epc == told.name]
    for finding in findings[::-1][:5]:
        html(
            '<div class="banner medium" role="status"><span class="sign medium">●</span><span>'
            f"Contradiction: {escape(finding.text)} ({shown.stamp(finding.time)})</span></div>"
        )
    thing = told.thing
    if thing is not None:
        html(_now(told.state, thing, page.room.now())).classes("card facts-card")
        if thing.parent or thing.children or thing.contents or thing.attached or thing.attached_to:
            html(_tree(told.state, thing)).classes("card")
    more = (
        f'<p class="muted small">The newest {EVENTS}.</p>'
        if len(told.story.events) > EVENTS
        else ""
    )
    html(f"<h2>History</h2>{_history(told)}{more}").classes("card")
    for title, makings in (
        ("Made of", told.lineage.origins(told.name)),
        ("Made into", told.lineage.uses(told.name)),
    ):
        if makings:
            html(f"<h2>{title}</h2>{_makings(makings)}").classes("card")


def _now(state: State, thing: Thing, now: int) -> str:
    lot, expiry = lot_and_expiry(state, thing.epc)
    place = state.location(thing.epc)
    outermost = state.things[[thing.epc, *state.around(thing.epc)][-1]]
    ended = (
        f"ended {shown.stamp(thing.ended)}: {words(thing.how)}" if thing.ended is not None else ""
    )
    condition = ", ".join(map(words, sorted(thing.conditions)))
    facts = {
        "where": spoken(place) if place else "on the way" if outermost.shipped else "not known",
        "in": link(thing.parent) if thing.parent else "",
        "disposition": words(thing.disposition), "last step": words(thing.step),
        "condition": condition, "lot": lot, "expires": expiry,
        "commissioned": shown.stamp(thing.began) if thing.began is not None else "",
        "last seen": f"{shown.stamp(thing.seen)}, "
                     f"{shown.age(max(0, now - thing.seen) / shown.SECOND)} ago",
        "read point": spoken(thing.read_point) if thing.read_point else "",
        "documents": ", ".join(map(spoken, thing.transactions)),
    }  # fmt: skip
    state_words = f"<p><b>{escape(ended)}</b></p>" if ended else ""
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{value if isinstance(value, Html) else escape(value)}</dd></div>"
        for name, value in facts.items()
        if value
    )
    return f'<h2>Now</h2>{state_words}<dl class="facts-list">{cells}</dl>'


def _tree(state: State, thing: Thing) -> str:
    """What it is in, outermost first, and what is in it."""
    chain = state.around(thing.epc)
    lines = [f"<li>{link(one)}<ul>" for one in chain[::-1]]
    inner = [f"<li>{link(child)}</li>" for child in list(thing.children)[:CONTENTS]]
    if len(thing.children) > CONTENTS:
        inner.append(f'<li class="muted">and {len(thing.children) - CONTENTS} more</li>')
    inner += [
        f"<li>{_amount(amount, thing.units[kind])} of {link(kind)}</li>"
        for kind, amount in thing.contents.items()
        if amount
    ]
    inner += [f'<li>{link(one)} <span class="muted small">attached</span></li>'
              for one in thing.attached]  # fmt: skip
    on = f"<p>attached to {link(thing.attached_to)}</p>" if thing.attached_to else ""
    contents = f'<ul class="inner">{"".join(inner)}</ul>' if inner else ""
    here = f"<li><b>{escape(spoken(thing.epc))}</b>{contents}</li>"
    count = (
        f'<span class="muted small">{len(thing.children)} in it</span>' if thing.children else ""
    )
    tree = "".join(lines) + here + "</ul></li>" * len(chain)
    return f'<h2>Packed {count}</h2>{on}<ul class="tree">{tree}</ul>'


def _history(told: Told) -> str:
    rows = []
    for one, outer in told.story.events[: -EVENTS - 1 : -1]:
        event = one.event
        note = ""
        if event.errorDeclaration is not None:
            note = f"declares an event wrong: {words(event.errorDeclaration.reason or 'an error')}"
        elif one.id in told.wrong or (told.wrong and event_hash(event) in told.wrong):
            note = "declared wrong, counts no longer"
        address = f"/epcis/events/{quote(one.id, safe='')}"
        facts = Html(
            (f'<span class="state-word">{escape(note)}</span> ' if note else "")
            + f'<a class="small" href="{address}" aria-label="The event as recorded">event</a>'
        )
        rows.append((_time(event.time), _word(event.bizStep), _what(event, told.name, outer),
                     _word(event.disposition), _place(event.readPoint),
                     _place(event.bizLocation), facts))  # fmt: skip
    return grid(HISTORY, rows, css="tall")


def _what(event: Any, name: str, outer: str) -> Html:
    """What an event did to a thing, with the others that it names."""
    action, parent = getattr(event, "action", ""), getattr(event, "parentID", None)
    others = [one for one in map(canonical, _named(event)) if one != name]
    if outer:
        return Html(f"was in {link(outer)}")
    if parent and canonical(parent) != name:
        verb = {"ADD": "put into", "DELETE": "taken out of"}.get(action, "seen in")
        return Html(f"{verb} {link(canonical(parent))}")
    if parent:
        verb = {"ADD": "took in", "DELETE": "gave out"}.get(action, "seen with")
        return Html(f"{verb} {_several(others)}" if others else f"{verb} all that was in it")
    if event.type == "TransformationEvent":
        return Html(f"made with {_several(others)}" if others else "made")
    verb = {"ADD": "began", "DELETE": "ended"}.get(action, "seen")
    return Html(f"{verb} with {_several(others)}" if others else verb)


def _several(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{link(names[0])}{more}"


def _makings(makings: Iterable[Making]) -> str:
    rows = [
        (_time(one.time), _amounts(one.inputs, one.units), _amounts(one.outputs, one.units))
        for one in makings
    ]
    return grid(("time", "of", "came"), rows, css="tall")


def _amounts(amounts: Mapping[str, float], units: Mapping[str, str]) -> Html:
    parts = [
        f"{_amount(amount, units[name])} of {link(name)}" if name in units else link(name)
        for name, amount in amounts.items()
    ]
    return Html("<br>".join(parts) or NOTHING)


def _amount(amount: float, code: str) -> str:
    return f'{shown.number(amount)} <span class="unit">{escape(said_as(code))}</span>'


def _time(time: int) -> Html:
    return Html(f'<span class="nowrap">{escape(shown.stamp(time))}</span>')


def words(text: str) -> str:
    """A word of the business vocabulary as people say it; the end of somebody's own URI."""
    return text.rpartition("/")[2].rpartition(":")[2].replace("_", " ")


def _word(text: str | None) -> str:
    return words(text) if text else NOTHING


def _place(place: Any) -> str:
    return spoken(place.id) if place is not None else NOTHING
