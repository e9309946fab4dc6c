"""Commands about access: sign-in, people, tokens. They go through the site's running server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galenic.app.cli.derive import JSON, chosen, model_options
from galenic.errors import ConnectionLost
from galenic.twin.arguments import ArgumentError

if TYPE_CHECKING:
    from galenic.app.client import Client

PROJECT = model_options()[1]
PASSWORD = "GALENIC_PASSWORD"


@contextmanager
def running(options: dict[str, Any]) -> Iterator[tuple[Client, Path, bool]]:
    """A client of the running server, the site's folder, and whether JSON is wanted."""
    from galenic.app.cli.site import site_folder
    from galenic.app.client import Client

    choices = chosen(options)
    if not choices.get("project"):
        raise ArgumentError("which site is meant?", expected="--project PROJECT.toml, or a folder")
    folder = site_folder(choices["project"])
    client = Client.running(folder)
    if client is None:
        raise ConnectionLost(
            "no server runs on this site", where=str(folder), hint="start it: galenic run"
        )
    with client:
        yield client, folder, bool(choices["json"])


def ask_password(text: str = "Password") -> str:
    """The password: typed, or from the environment where no person sits."""
    return os.environ.get(PASSWORD) or str(click.prompt(text, hide_input=True, err=True))


def told(document: Any, as_json: bool, lines: Sequence[str]) -> int:
    """Show a document as JSON, or lines for people."""
    from galenic.app.cli.terminal import show_json

    if as_json:
        show_json(document)
    else:
        for line in lines:
            click.echo(line)
    return 0


def grid(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Rows as a table."""
    from galenic.app.cli.terminal import show
    from galenic.twin.result import Column, Result, Table

    columns = [Column(name, [str(row[name]) for row in rows]) for name in names]
    show(Result("", tables=[Table("", tuple(columns))] if rows else []))


def sign_in() -> click.Command:
    """The command ``galenic sign-in``."""

    def callback(name: str, reason: str, **options: Any) -> int:
        from galenic.app.client import keep_token

        with running(options) as (client, folder, as_json):
            body = {"name": name, "password": ask_password(), "reason": reason}
            token = client.post("/api/sign-in", body)["token"]
            keep_token(folder, token)
            words = f"signed in as {name}; galenic sign-out ends it"
            return told({"name": name}, as_json, [words])

    return click.Command(
        "sign-in",
        params=[
            click.Argument(["name"]),
            click.Option(["--reason"], default="", help="Why; a break-glass account needs it."),
            PROJECT,
            JSON,
        ],
        callback=callback,
        help="Sign in at a running site; commands that follow act as this person. The password is "
        f"asked for, or read from the environment variable {PASSWORD}.",
    )


def sign_out() -> click.Command:
    """The command ``galenic sign-out``."""

    def callback(everywhere: bool, **options: Any) -> int:
        from galenic.app.client import token_file

        with running(options) as (client, folder, as_json):
            document = client.post("/api/sign-out-everywhere" if everywhere else "/api/sign-out")
            token_file(folder).unlink(missing_ok=True)
            return told(document, as_json, ["signed out"])

    return click.Command(
        "sign-out",
        params=[
            click.Option(["--everywhere"], is_flag=True, help="End all sign-ins of this person."),
            PROJECT,
            JSON,
        ],
        callback=callback,
        help="End the sign-in of this command line.",
    )


def people() -> click.Command:
    """The command ``galenic people``."""

    def callback(name: str | None, **options: Any) -> int:
        given = {key: options.pop(key) for key in PEOPLE}
        with running(options) as (client, _, as_json):
            if name is None:
                found = client.get("/api/people")
                if not as_json:
                    grid([_shown(one) for one in found], SHOWN)
                return told(found, as_json, [])
            answer = _change(client, name, given)
            password = answer.get("password")
            lines = [f"{name}: done"] + ([f"password, shown once: {password}"] if password else [])
            return told(answer, as_json, lines)

    return click.Command(
        "people",
        params=[
            click.Argument(["name"], required=False),
            click.Option(["--add"], is_flag=True, help="Make this user."),
            click.Option(["--full-name"], default=None, help="Printed name, as on signatures."),
            click.Option(["--role", "roles"], multiple=True, help="ROLE or ROLE@TWIN; repeatable."),
            click.Option(["--service"], is_flag=True, help="An account for programs."),
            click.Option(["--break-glass"], is_flag=True, help="An account for emergencies."),
            click.Option(["--new-password"], is_flag=True, help="Make a new password."),
            click.Option(["--close"], is_flag=True, help="The person may no longer sign in."),
            click.Option(["--open"], is_flag=True, help="The person may sign in again."),
            click.Option(["--unlock"], is_flag=True, help="After too many wrong passwords."),
            click.Option(["--sign-out"], is_flag=True, help="End all sign-ins of the person."),
            click.Option(["--reason"], default="", help="Why, for the ledger."),
            PROJECT,
            JSON,
        ],
        callback=callback,
        help="List people, or add, change, unlock or sign out one.",
    )


PEOPLE = ("add", "full_name", "roles", "service", "break_glass", "new_password", "close", "open",
          "unlock", "sign_out", "reason")  # fmt: skip
SHOWN = ("name", "full name", "roles", "state", "sign-ins")


def _shown(person: Mapping[str, Any]) -> dict[str, Any]:
    state = "locked" if person["locked"] else "active" if person["active"] else "closed"
    return {
        "name": person["name"],
        "full name": person["full_name"],
        "roles": ", ".join(person["roles"]),
        "state": state,
        "sign-ins": person["sessions"],
    }


def _change(client: Client, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    from urllib.parse import quote

    reason, place = given["reason"], f"/api/people/{quote(name, safe='')}"
    if given["add"]:
        body = {key: given[key] for key in ("roles", "service", "break_glass", "reason")}
        made: dict[str, Any] = client.post(
            "/api/people", body | {"name": name, "full_name": given["full_name"] or ""}
        )
        return made
    for what in ("unlock", "sign_out"):
        if given[what]:
            done: dict[str, Any] = client.post(
                f"{place}/{what.replace('_', '-')}", {"reason": reason}
            )
            return done
    body = {"reason": reason, "new_password": given["new_password"]}
    body |= {"roles": list(given["roles"])} if given["roles"] else {}
    body |= {"full_name": given["full_name"]} if given["full_name"] is not None else {}
    body |= {"active": given["open"]} if given["open"] or given["close"] else {}
    changed: dict[str, Any] = client.post(f"{place}/change", body)
    return changed


def tokens() -> click.Command:
    """The command ``galenic tokens``."""

    def callback(label: str | None, revoke: str | None, everybody: bool, **options: Any) -> int:
        given = {key: options.pop(key) for key in ("days", "services", "twins", "act", "owner")}
        reason = options.pop("reason")
        with running(options) as (client, _, as_json):
            if revoke:
                answer = client.post(f"/api/tokens/{revoke}/revoke", {"reason": reason})
                return told(answer, as_json, [f"revoked: {revoke}"])
            if label is None:
                found = client.get("/api/tokens", everybody=everybody)
                if not as_json:
                    grid([_token(one) for one in found], TOKEN)
                return told(found, as_json, [])
            body = {"label": label, "days": given["days"], "owner": given["owner"]}
            body |= {"access": "act" if given["act"] else "read"}
            body |= {key: list(given[key]) for key in ("services", "twins")}
            answer = client.post("/api/tokens", body)
            lines = [f"token {answer['token']['id']}, shown once:", answer["secret"]]
            return told(answer, as_json, lines)

    return click.Command(
        "tokens",
        params=[
            click.Argument(["label"], required=False),
            click.Option(["--days"], type=float, default=90.0, help="How long it holds."),
            click.Option(["--service", "services"], multiple=True, help="Services, as twins.*"),
            click.Option(["--twin", "twins"], multiple=True, help="Ids of twins, as line-*"),
            click.Option(["--act"], is_flag=True, help="It may also change something."),
            click.Option(["--owner"], default="", help="An account for programs."),
            click.Option(["--revoke"], metavar="ID", help="End a token."),
            click.Option(["--everybody"], is_flag=True, help="List the tokens of all."),
            click.Option(["--reason"], default="", help="Why it is revoked."),
            PROJECT,
            JSON,
        ],
        callback=callback,
        help="List API tokens, make one with a LABEL that says what for, or revoke one.",
    )


TOKEN = ("id", "owner", "for", "scope", "state")


def _token(token: Mapping[str, Any]) -> dict[str, Any]:
    scope = token["scope"]
    parts = [scope["access"], *scope["services"], *scope["twins"]]
    named = {"id": token["id"], "owner": token["owner"], "for": token["label"]}
    return named | {"scope": ", ".join(parts), "state": token["state"]}
