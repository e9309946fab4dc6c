"""Commands about signatures: sign a record, show its signatures, ask for a call that needs them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from galenic.app.cli.access import PROJECT, ask_password, running, told
from galenic.app.cli.derive import JSON
from galenic.twin.arguments import ArgumentError

if TYPE_CHECKING:
    from galenic.app.client import Client

NAME = "GALENIC_NAME"
TYPES = ("entry", "artefact", "definition", "request")
MEANINGS = ("authorship", "review", "approval", "responsibility")


def proof(client: Client, meaning: str, reason: str) -> dict[str, str]:
    """What a signer gives: name and password at first, the password alone soon after."""
    (session, *_) = client.get("/api/sessions")[::-1] or [{"signing": 0}]
    given = {"meaning": meaning, "reason": reason}
    if session["signing"] <= time.time_ns():
        given["name"] = os.environ.get(NAME) or click.prompt("Name of the signer", err=True)
    return given | {"password": ask_password("Password, to sign")}


def lines_of(record: Mapping[str, Any]) -> list[str]:
    """A record and its signatures in words."""
    lines = [f"{record['type']} {record['id']}, version {record['version'][:16]}: {record['text']}"]
    for one in record["signatures"]:
        holds = "" if one.get("holds", True) else " (of an earlier version)"
        lines.append(f"  {one['text']}{holds}")
    lines += [f"  lacks: {meaning}" for meaning in record.get("lacking", ())]
    return lines if len(lines) > 1 else [*lines, "  not signed"]


def common(meaning: bool = True) -> list[click.Parameter]:
    """Options of all of them."""
    how = click.Option(
        ["--as", "meaning"], type=click.Choice(MEANINGS), help="What the signature means."
    )
    why = click.Option(["--reason"], default="", help="Why; it stands in the signature.")
    return [*([how, why] if meaning else []), PROJECT, JSON]


def sign() -> click.Command:
    """The command ``galenic sign``."""

    def callback(type: str, id: str, meaning: str | None, reason: str, **options: Any) -> int:
        with running(options) as (client, _, as_json):
            record = client.get("/api/signatures", type=type, id=id)
            if not as_json:
                for line in lines_of(record):
                    click.echo(line, err=True)
            body = proof(client, meaning or "review", reason)
            body |= {"type": type, "id": id, "version": record["version"]}
            made = client.post("/api/signatures", body)
            return told(made, as_json, [f"signed: {made['text']}"])

    return click.Command(
        "sign",
        params=[
            click.Argument(["type"], type=click.Choice(TYPES)),
            click.Argument(["id"]),
            *common(),
        ],
        callback=callback,
        help="Sign a record: a ledger entry by its index, an artefact by its hash, the definition "
        "of a twin by the twin's id, a request.",
    )


def signatures() -> click.Command:
    """The command ``galenic signatures``."""

    def callback(type: str, id: str, **options: Any) -> int:
        with running(options) as (client, _, as_json):
            record = client.get("/api/signatures", type=type, id=id)
            return told(record, as_json, lines_of(record))

    return click.Command(
        "signatures",
        params=[
            click.Argument(["type"], type=click.Choice(TYPES)),
            click.Argument(["id"]),
            *common(False),
        ],
        callback=callback,
        help="Show a record with its signatures, and whether they hold for its present version.",
    )


def request() -> click.Command:
    """The command ``galenic request``."""

    def callback(
        service: str, given: Sequence[str], meaning: str | None, reason: str, **options: Any
    ) -> int:
        with running(options) as (client, _, as_json):
            body = {"service": service, "arguments": _arguments(service, given)}
            body["signature"] = proof(client, meaning or "authorship", reason)
            made = client.post("/api/requests", body)
            return told(made, as_json, [f"request {made['id']}: {made['state']}", *lines_of(made)])

    return click.Command(
        "request",
        params=[
            click.Argument(["service"]),
            click.Argument(["given"], nargs=-1, metavar="[NAME=VALUE]..."),
            *common(),
        ],
        callback=callback,
        help="Ask for a call that needs signatures, as twins.level twin=line-1 to=twin "
        "reason=ready, with the first of them.",
    )


def _arguments(service: str, given: Sequence[str]) -> dict[str, Any]:
    from galenic.app.index import entry

    known = {argument.name: argument for argument in entry(service).arguments}
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise ArgumentError(
                f"{text!r} is no argument of {service}", expected=f"{' or '.join(known)}, =, value"
            )
        found[name] = known[name].kind.parse(value)
    return found


def requests() -> click.Command:
    """The command ``galenic requests``."""

    def callback(
        id: str | None, close: bool, meaning: str | None, reason: str, **options: Any
    ) -> int:
        with running(options) as (client, _, as_json):
            if id is None:
                found = client.get("/api/requests")
                lines = [line for one in found for line in _listed(one)]
                return told(found, as_json, lines or ["no requests"])
            if close:
                shown = client.post(f"/api/requests/{id}/close", {"reason": reason})
            elif meaning:
                seen = client.get(f"/api/requests/{id}")["version"]
                body = proof(client, meaning, reason) | {"version": seen}
                shown = client.post(f"/api/requests/{id}/sign", body)
            else:
                shown = client.get(f"/api/requests/{id}")
            return told(shown, as_json, _listed(shown))

    return click.Command(
        "requests",
        params=[
            click.Argument(["id"], required=False),
            click.Option(["--close"], is_flag=True, help="Take it back, or reject it."),
            *common(),
        ],
        callback=callback,
        help="List the calls that wait for signatures, or sign or close one of them.",
    )


def _listed(one: Mapping[str, Any]) -> list[str]:
    said = ", ".join(f"{key} = {value}" for key, value in one["content"]["arguments"].items())
    return [f"{one['state']}: {said}", *lines_of(one)]
