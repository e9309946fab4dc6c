"""Forms made from the signatures of services: one field per argument, by its widget."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from nicegui import events, ui

from galenic.app.views import shown
from galenic.app.views.frame import html
from galenic.app.views.room import Room

Getter = Callable[[], Any]
NOTHING = object()


class Form:
    """The fields of one service.

    Parameters
    ----------
    fields : list of dict
        As ``ServiceEntry.form`` gives them.
    room : Room
        For the names of models and twins.
    given : mapping, optional
        Values that fields start with.
    """

    def __init__(
        self, fields: list[dict[str, Any]], room: Room, given: Mapping[str, Any] | None = None
    ) -> None:
        self.room = room
        self.getters: dict[str, Getter] = {}
        for one in fields:
            start = (given or {}).get(one["name"], one["default"])
            maker: Callable[..., Getter] = WIDGETS.get(one["widget"], _text)
            self.getters[one["name"]] = maker(self, one, start)

    def values(self) -> dict[str, Any]:
        """What was filled in; empty fields are left out."""
        found = {name: getter() for name, getter in self.getters.items()}
        return {name: value for name, value in found.items() if value is not NOTHING}


def _label(one: Mapping[str, Any]) -> str:
    return str(one["label"]) + ("" if one["required"] else " (optional)")


def _hint(one: Mapping[str, Any]) -> str:
    limits = [
        f"at least {one['min']:g}" if one.get("min") is not None else "",
        f"at most {one['max']:g}" if one.get("max") is not None else "",
    ]
    return "; ".join(part for part in (one["help"].rstrip("."), *limits) if part)


def _dressed(element: Any, one: Mapping[str, Any]) -> Any:
    hint = _hint(one).replace('"', "'")
    return element.props(f'outlined dense hint="{hint}" aria-label="{one["label"]}"').style(
        "width: 100%"
    )


def _text(form: Form, one: Mapping[str, Any], start: Any) -> Getter:
    box = _dressed(ui.input(_label(one), value="" if start is None else str(start)), one)
    return lambda: box.value.strip() or NOTHING if isinstance(box.value, str) else NOTHING


def _number(form: Form, one: Mapping[str, Any], start: Any) -> Getter:
    box = _dressed(ui.input(_label(one), value=_plain(start)), one)
    unit = one.get("unit", "1")
    box.props(f'suffix="{"" if unit == "1" else unit}" inputmode=decimal')
    return lambda: _as_number(box.value)


def _plain(start: Any) -> str:
    """What a field starts with, as text; from an address it is text already."""
    return "" if start is None else start if isinstance(start, str) else f"{start:g}"


def _as_number(text: str) -> Any:
    """A number where it is one; else the text, as "5 L", for the kind to judge."""
    text = (text or "").strip().replace(",", ".")
    try:
        return float(text) if text else NOTHING
    except ValueError:
        return text


def _integer(form: Form, one: Mapping[str, Any], start: Any) -> Getter:
    first = _as_number(_plain(start))
    first = first if isinstance(first, float) else None
    box = _dressed(ui.number(_label(one), value=first, precision=0), one)
    return lambda: NOTHING if box.value is None else int(box.value)


def _duration(form: Form, one: Mapping[str, Any], start: Any) -> Getter:
    text = f"{start:g} s" if isinstance(start, int | float) else start or ""
    box = _dressed(ui.input(_label(one), value=text, placeholder="8 h, 20 min, 1:30"), one)
    return lambda: box.value.strip() or NOTHING


def _moment(form: Form, one: Mapping[str, Any], start: Any) -> Getter:
    from galenic.app.views import shown

    now = shown.stamp(form.room.now()).replace(" ", "T")
    box = _dressed(ui.input(_label(one), value=start or "", placeholder=f"as {now}"), one)
    return lambda: box.value.strip() or NOTHING


def _flag(form: Form, one: Mapping[str, Any], start: Any) -> Getter:
    box = ui.checkbox(one["label"], value=start in (True, "true", "yes", "1")).tooltip(_hint(one))
    return lambda: bool(box.value)


def _choice(form: Form, one: Mapping[str, Any], start: Any) -> Getter:
    options = list(one["options"])
    box = _dressed(
        ui.select(options, value=start if start in options else options[0], label=_label(one)), one
    )
    return lambda: box.value


def _named(names: Callable[[Room], list[str]]) -> Callable[..., Getter]:
    def make(form: Form, one: Mapping[str, Any], start: Any) -> Getter:
        options = names(form.room)
        first = start if start in options else (options[0] if options and one["required"] else None)
        box = ui.select(
            options, value=first, label=_label(one), with_input=True, clearable=not one["required"]
        )
        _dressed(box, one)
        return lambda: box.value or NOTHING

    return make


def _models(room: Room) -> list[str]:
    from galenic import plugins

    return sorted(plugins.models())


def _joined(start: Any) -> str:
    """Several values as lines; in an address they are divided by semicolons."""
    if isinstance(start, str):
        return "\n".join(part.strip() for part in start.split(";"))
    if isinstance(start, Mapping):
        return "\n".join(f"{key} = {value}" for key, value in start.items())
    return "\n".join(start or ())


def _lines(form: Form, one: Mapping[str, Any], start: Any) -> Getter:
    box = _dressed(ui.textarea(_label(one), value=_joined(start), placeholder="one per line"), one)
    box.props("autogrow")
    return lambda: [line.strip() for line in box.value.splitlines() if line.strip()] or NOTHING


def _values(form: Form, one: Mapping[str, Any], start: Any) -> Getter:
    text = _joined(start)
    box = _dressed(
        ui.textarea(_label(one), value=text, placeholder="one per line, as first.V = 5 L"), one
    )
    box.props("autogrow")

    def get() -> Any:
        rows = [line.partition("=") for line in box.value.splitlines() if line.strip()]
        return {key.strip(): value.strip() for key, _, value in rows} or NOTHING

    return get


def _table(form: Form, one: Mapping[str, Any], start: Any) -> Getter:
    names = ",".join(c["name"] for c in one["columns"])
    units = ", ".join(f"{c['name']} [{c['unit']}]" for c in one["columns"])
    box = _dressed(ui.textarea(_label(one), placeholder=f"{names}\n(CSV; columns {units})"), one)
    box.props("autogrow")
    return lambda: box.value if box.value and box.value.strip() else NOTHING


PICK = (
    '<button type="button" class="icon-button" onclick="this.closest(\'.file-field\')'
    ".querySelector('input[type=file]').click()\">Choose {label}</button>"
)


def _file(form: Form, one: Mapping[str, Any], start: Any) -> Getter:
    held: dict[str, Any] = {}

    async def take(event: events.UploadEventArguments) -> None:
        data = await event.file.read()
        name = event.file.name
        held["file"] = {"name": name, "content": base64.b64encode(data).decode()}
        chosen.set_content(f"<b>{escape(name)}</b>, {shown.number(len(data))} bytes")
        box.reset()

    with ui.element("div").classes("file-field"):
        label = escape(_label(one))
        with ui.element("div").classes("row"):
            html(PICK.format(label=label))
            chosen = html('<span class="muted">nothing chosen</span>').props("role=status")
        box = ui.upload(on_upload=take, auto_upload=True).props("flat")
        html(escape(_hint(one))).classes("muted small")
    return lambda: held.get("file", NOTHING)


WIDGETS: dict[str, Callable[..., Getter]] = {
    "number": _number,
    "integer": _integer,
    "duration": _duration,
    "moment": _moment,
    "checkbox": _flag,
    "select": _choice,
    "model": _named(_models),
    "twin": _named(Room.twins),
    "list": _lines,
    "values": _values,
    "table": _table,
    "file": _file,
}
