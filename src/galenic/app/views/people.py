"""People and tokens on the page of settings; administrators change them, with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import frame, shown
from galenic.app.views.frame import Page, button, html
from galenic.app.views.tables import Html, grid
from galenic.errors import DataError, GalenicError, NotPermitted
from galenic.records.grants import Scope
from galenic.records.people import made_password


class Keeping:
    """The cards of people and tokens.

    Parameters
    ----------
    page : Page
    """

    def __init__(self, page: Page) -> None:
        self.page, self.people = page, page.room.people
        self.is_administrator = page.who.may("administrator")
        with ui.element("section").classes("card"):
            self.persons = ui.element("div")
        with ui.element("section").classes("card"):
            self.tokens = ui.element("div")
        self.show()

    def show(self) -> None:
        """Draw both anew."""
        self.persons.clear()
        with self.persons:
            self._show_people()
        self.tokens.clear()
        with self.tokens:
            self._show_tokens()

    def _show_people(self) -> None:
        html("<h2>People</h2>")
        locked = self.people.attempts.locked()
        rows = [
            [
                p.name,
                p.full_name,
                ", ".join(p.roles),
                _state(p, locked),
                _kind(p),
                len(self.people.sessions.all(p.name)) if self.is_administrator else "",
                shown.stamp(p.created),
            ]
            for p in self.people.all()
        ]
        html(grid(["name", "printed name", "roles", "state", "", "sign-ins", "since"], rows, (5,)))
        if not self.is_administrator:
            html('<p class="muted small">Administrators change people.</p>')
            return
        with ui.element("div").classes("row no-print"):
            button("Add a person", self.add, main=True)
            names = [p.name for p in self.people.all()]
            chosen = ui.select(names, label="person").props("outlined dense options-dense")
            chosen.style("width: 180px")
            for verb, act in (
                ("Roles", self.roles), ("New password", self.password), ("Unlock", self.unlock),
                ("Sign out", self.sign_out), ("Close or open", self.toggle),
            ):  # fmt: skip
                button(verb, lambda act=act: act(chosen.value) if chosen.value else None)

    def _show_tokens(self) -> None:
        html(
            '<h2>API tokens</h2><p class="muted small">For programs. A token may do what its owner '
            "may, within its scope; its secret is shown once.</p>"
        )
        owner = "" if self.is_administrator else self.page.who.name
        found = self.people.tokens.all(owner)
        rows = [
            [
                Html(f"<code>{escape(t.id)}</code>"),
                t.owner,
                t.label,
                ", ".join((t.scope.access, *t.scope.services, *t.scope.twins)),
                t.state(self.people.now),
                shown.stamp(t.expires),
                shown.stamp(t.used) if t.used else "never",
            ]
            for t in found
        ]
        heads = ["id", "owner", "for", "scope", "state", "until", "last used"]
        html(grid(heads, rows) if rows else '<p class="muted">none</p>')
        with ui.element("div").classes("row no-print"):
            button("Make a token", self.make_token, main=True)
            valid = [t.id for t in found if t.state(self.people.now) == "valid"]
            if valid:
                chosen = ui.select(valid, label="token").props("outlined dense options-dense")
                chosen.style("width: 220px")
                button("Revoke", lambda: self.revoke(chosen.value) if chosen.value else None)

    async def _do(self, act: Callable[[Any], Any]) -> Any:
        """Do something as this person, checked as on every surface; errors are shown."""
        try:
            who = self.page.room.access.of_token(self.page.token, "page")
            made = await asyncio.to_thread(act, who)
        except GalenicError as error:
            frame.complain(error)
            return None
        self.show()
        return True if made is None else made

    def _administer(self, who: Any) -> None:
        session = self.page.room.session
        session.require(who, "administrator", "rest.people", effect="act")

    def add(self) -> None:
        """A new person: names, roles, kind."""
        fields: dict[str, Any] = {}

        def content() -> None:
            fields["name"] = ui.input("User name").props("outlined dense")
            fields["full_name"] = ui.input("Printed name, as on signatures").props("outlined dense")
            fields["roles"] = ui.input("Roles, as operator@line-1, quality")
            fields["roles"].props("outlined dense")
            fields["service"] = ui.checkbox("an account for programs, with tokens alone")
            fields["glass"] = ui.checkbox("a break-glass account")

        async def act(reason: str) -> bool:
            word = None if fields["service"].value else made_password()

            def make(who: Any) -> None:
                self._administer(who)
                self.people.add(
                    fields["name"].value, word, _listed(fields["roles"].value), by=who.name,
                    reason=reason, full_name=fields["full_name"].value,
                    service=fields["service"].value, break_glass=fields["glass"].value,
                    must_change=word is not None and not fields["glass"].value,
                )  # fmt: skip

            done = await self._do(make)
            if done and word:
                once("The first password", word)
            return bool(done)

        frame.confirm("Add a person", "Add", act, content=content)

    def _change(self, name: str, verb: str, act: Callable[[Any, str], Any], **more: Any) -> None:
        async def confirmed(reason: str) -> bool:
            def do(who: Any) -> Any:
                self._administer(who)
                return act(who, reason)

            return bool(await self._do(do))

        frame.confirm(f"{verb}: {name}", verb, confirmed, **more)

    def roles(self, name: str) -> None:
        """Other roles."""
        box: dict[str, Any] = {}

        def content() -> None:
            given = ", ".join(self.people.get(name).roles)
            box["roles"] = ui.input("Roles", value=given).props("outlined dense")

        def act(who: Any, reason: str) -> None:
            if name == who.name:
                raise NotPermitted("nobody changes their own roles", expected="a second person")
            roles = _listed(box["roles"].value)
            self.people.change(name, by=who.name, reason=reason, roles=roles)

        self._change(name, "Change the roles", act, content=content)

    def password(self, name: str) -> None:
        """A new password, to be changed at the next sign-in."""
        word = made_password()

        def act(who: Any, reason: str) -> None:
            person = self.people.get(name)
            if person.service or person.subject:
                raise DataError(f"{name!r} has no password here")
            self.people.change(
                name, by=who.name, reason=reason, password=word,
                must_change=not person.break_glass,
            )  # fmt: skip
            self.page.client.safe_invoke(lambda: once(f"The new password of {name}", word))

        self._change(name, "Make a new password", act)

    def unlock(self, name: str) -> None:
        """After too many wrong passwords."""
        self._change(
            name, "Unlock", lambda who, why: self.people.attempts.unlock(name, who.name, why)
        )

    def sign_out(self, name: str) -> None:
        """End all sign-ins."""
        self._change(
            name,
            "Sign out everywhere",
            lambda who, why: self.people.sign_out_everywhere(name, by=who.name, reason=why) + 1,
        )

    def toggle(self, name: str) -> None:
        """Close an account, or open it again."""
        is_active = self.people.get(name).active

        def act(who: Any, reason: str) -> None:
            if name == who.name:
                raise NotPermitted("nobody closes their own account", expected="a second person")
            self.people.change(name, by=who.name, reason=reason, active=not is_active)

        self._change(name, "Close the account" if is_active else "Open the account", act)

    def make_token(self) -> None:
        """A token for the person, or for an account for programs."""
        fields: dict[str, Any] = {}
        accounts = [p.name for p in self.people.all() if p.service and self.is_administrator]

        def content() -> None:
            owners = [self.page.who.name, *accounts]
            fields["owner"] = ui.select(owners, value=owners[0], label="owner")
            fields["services"] = ui.input("Services, as twins.*, rest.history; all if empty")
            fields["twins"] = ui.input("Twins, as line-*; all if empty")
            fields["days"] = ui.number("Days", value=90, min=1)
            fields["act"] = ui.checkbox("may also change something")
            for name in ("owner", "services", "twins", "days"):
                fields[name].props("outlined dense options-dense")

        async def act(reason: str) -> bool:
            def make(who: Any) -> str:
                if not who.session:
                    raise NotPermitted("a token makes no tokens", hint="sign in")
                owner = fields["owner"].value
                if owner != who.name:
                    self._administer(who)
                access = "act" if fields["act"].value else "read"
                services, twins = (_listed(fields[n].value) for n in ("services", "twins"))
                scope = Scope(tuple(services), tuple(twins), access)
                days = float(fields["days"].value or 0)
                return str(self.people.tokens.make(owner, reason, scope, days, by=who.name)[1])

            secret = await self._do(make)
            if secret:
                once("The token", secret)
            return bool(secret)

        frame.confirm(
            "Make a token", "Make", act, content=content, explain="The reason is what it is for."
        )

    def revoke(self, id: str) -> None:
        """End a token."""

        async def act(reason: str) -> bool:
            def end(who: Any) -> None:
                if self.people.tokens.get(id).owner != who.name:
                    self._administer(who)
                self.people.tokens.revoke(id, by=who.name, reason=reason)

            return bool(await self._do(end))

        frame.confirm(f"Revoke the token {id}", "Revoke", act)


def once(title: str, secret: str) -> None:
    """Show a secret, this once."""
    with ui.dialog() as dialog, ui.card():
        html(
            f"<h2>{escape(title)}</h2><p>It is shown this once.</p>"
            f'<p><code style="font-size: 16px; user-select: all">{escape(secret)}</code></p>'
        )
        button("Close", dialog.close, main=True)
    dialog.on("hide", dialog.delete)
    dialog.open()


def _listed(text: str) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _state(person: Any, locked: dict[str, int]) -> Any:
    if person.name in locked:
        return Html('<span class="alarm high"><span class="sign high">▲</span> locked</span>')
    return "active" if person.active else "closed"


def _kind(person: Any) -> str:
    marks = {
        "break glass": person.break_glass,
        "for programs": person.service,
        "OpenID Connect": person.subject,
        "must change the password": person.must_change,
    }
    return ", ".join(word for word, is_set in marks.items() if is_set)
