"""Signatures on their records, the dialog to sign, and calls that wait for signatures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from nicegui import context, ui

from galenic.app.session import SignatureNeeded
from galenic.app.signing import Desk
from galenic.app.views import frame, shown
from galenic.app.views.frame import Page, button, html
from galenic.app.views.tables import Html, grid
from galenic.errors import GalenicError
from galenic.records.policy import MEANINGS
from galenic.records.signatures import Proof

MEANS = {
    "authorship": "I made this",
    "review": "I have checked this",
    "approval": "this may be used",
    "responsibility": "I answer for this",
}
Act = Callable[[Proof], Any]


def ask_for_proof(
    page: Page, title: str, explain: str, meanings: Sequence[str], act: Act, verb: str = "Sign"
) -> None:
    """The signing dialog: meaning, reason, and the proof of who signs.

    ``act`` gets the proof in a thread; what it raises is said and the dialog stays.
    """
    person, session = page.room.people.signed_in(page.token)
    is_first = session.signing <= page.room.people.now
    with context.client.content, ui.dialog() as dialog, ui.card().classes("sign-dialog"):
        html(f'<h2>{escape(title)}</h2><p class="muted">{escape(explain)}</p>')
        words = {meaning: f"{meaning}: {MEANS[meaning]}" for meaning in meanings}
        meaning = ui.radio(words, value=meanings[0]).props("dense")
        reason = ui.input("Reason, part of the signature").props("outlined dense autofocus")
        name = password = None
        if session.method == "oidc":
            html(_elsewhere(session.fresh > page.room.people.now))
        else:
            if is_first:
                name = ui.input("Your user name").props("outlined dense autocomplete=username")
            password = ui.input("Your password", password=True)
            password.props("outlined dense autocomplete=current-password")
        html(
            f'<p class="muted small">Signed as {escape(person.full_name)} '
            f"({escape(person.name)}), with date and time.</p>"
        )

        async def go() -> None:
            proof = Proof(
                meaning.value, reason.value.strip(), page.token,
                password.value if password else "", name.value.strip() if name else "",
            )  # fmt: skip
            if password:
                password.value = ""
            try:
                made = await asyncio.to_thread(act, proof)
            except GalenicError as error:
                frame.complain(error)
                return
            dialog.close()
            frame.said(made if isinstance(made, str) else "signed")

        with ui.element("div").classes("row").style("justify-content: flex-end"):
            button("Cancel", dialog.close)
            button(verb, go, main=True)
    dialog.on("hide", dialog.delete)
    dialog.open()


def _elsewhere(is_fresh: bool) -> str:
    if is_fresh:
        return '<p class="small">You have authenticated anew at your provider.</p>'
    return (
        '<p class="small"><a href="/api/oidc/start?purpose=signature&next=/records" '
        'target="_blank">Authenticate anew at your provider</a>, then sign.</p>'
    )


def _desk(page: Page) -> Desk:
    """Where this site signs."""
    assert page.room.desk is not None
    return page.room.desk


def signatures_of(page: Page, type: str, id: str, title: str = "Signatures") -> None:
    """A card with the signatures of a record, and the button to give one."""
    if page.room.desk is None:
        return
    with ui.element("section").classes("card"):
        place = ui.element("div")

    def show() -> None:
        place.clear()
        try:
            record = _desk(page).shown(type, id)
        except GalenicError as error:
            with place:
                html(f'<h2>{title}</h2><p class="muted">{escape(error.found)}</p>')
            return
        with place:
            html(f"<h2>{title}</h2>{lines(record['signatures'])}")
            with ui.element("div").classes("row no-print"):
                button("Sign", lambda: _sign(page, record, show))

    show()


def lines(signatures: Sequence[Mapping[str, Any]]) -> str:
    """Signatures as a table: who, what for, when, why, how."""
    if not signatures:
        return '<p class="muted">Nobody has signed this.</p>'
    rows = [
        [
            one["meaning"],
            Html(f"{escape(one['printed'])} <span class=muted>({escape(one['signer'])})</span>"),
            Html(
                f'<span class="nowrap" title="{escape(one["time"])}">'
                f"{escape(one['time'][:19].replace('T', ' '))} UTC "
                f"<span class=muted>(local {escape(one['offset'])})</span></span>"
            ),
            one["reason"],
            one["method"],
            "" if one.get("holds", True) else "of an earlier version",
        ]
        for one in signatures
    ]
    return grid(["meaning", "who", "when", "why", "proved by", ""], rows)


def _sign(page: Page, record: Mapping[str, Any], then: Callable[[], None]) -> None:
    desk, client = _desk(page), context.client

    def act(proof: Proof) -> str:
        who = page.room.access.of_token(page.token, "page")
        made = desk.sign(who, record["type"], record["id"], record["version"], proof)
        client.safe_invoke(then)
        return f"signed: {made.meaning}"

    explain = f"{record['type']} {record['id'][:40]}, version {record['version'][:16]}"
    if record["text"]:
        explain += f": {record['text']}"
    ask_for_proof(page, "Sign", explain, list(MEANINGS), act)


def request_call(
    page: Page, service: str, arguments: Mapping[str, Any], needed: SignatureNeeded
) -> None:
    """Ask for a call that needs signatures, with the first of them."""
    desk, meanings = _desk(page), needed.rule.meanings

    def act(proof: Proof) -> str:
        who = page.room.access.of_token(page.token, "page")
        made, job = desk.ask(who, service, arguments, proof)
        if job is not None:
            return "signed and done"
        return f"signed; it waits for {', '.join(made['lacking'])}: see Requests"

    said = ", ".join(f"{key} = {value}" for key, value in arguments.items())
    explain = f"{service} with {said}. It needs {', '.join(meanings)}, all by different people."
    ask_for_proof(page, "This needs signatures", explain, meanings[:1], act, "Sign and ask")


def requests_page(page: Page) -> None:
    """Calls that wait for signatures, and those that had them."""
    html(
        '<h1>Requests</h1><p class="muted">Calls that need signatures. With the last one a call is '
        "performed, in the name of who asked.</p>"
    )
    desk = page.room.desk
    if desk is None:
        frame.empty("This server has no records.", "Start it with a project.")
        return
    place = ui.element("div").classes("page").style("padding: 0")

    def show() -> None:
        place.clear()
        found = desk.requests()
        waiting = [one for one in found if one["state"] == "open"]
        with place:
            if not waiting:
                frame.empty(
                    "Nothing waits for a signature.",
                    "What has ended is below."
                    if found
                    else "A call that needs one is asked for where it is made, with its reason.",
                )
            for one in waiting:
                _waiting(page, one, show)
            ended = [one for one in found if one["state"] != "open"]
            if ended:
                with ui.element("section").classes("card"):
                    html("<h2>Ended</h2>" + _ended(ended))

    show()


def _waiting(page: Page, request: Mapping[str, Any], show: Callable[[], None]) -> None:
    content, client, desk = request["content"], context.client, _desk(page)

    def sign() -> None:
        def act(proof: Proof) -> str:
            who = page.room.access.of_token(page.token, "page")
            _, job = desk.sign_request(who, request["id"], request["version"], proof)
            client.safe_invoke(show)
            if job is None:
                return "signed"
            if not job.live:
                job.outcome()
            return "signed, and performed"

        explain = f"{content['service']}, asked for by {content['author']}"
        ask_for_proof(page, "Sign a request", explain, request["lacking"], act)

    async def close(reason: str) -> bool:
        who = page.room.access.of_token(page.token, "page")
        try:
            await asyncio.to_thread(desk.close, who, request["id"], reason)
        except GalenicError as error:
            frame.complain(error)
            return False
        show()
        return True

    with ui.element("section").classes("card"):
        rows = [[key, value] for key, value in content["arguments"].items()]
        html(
            f"<h2>{escape(content['service'])} <span class='muted small'>asked for by "
            f"{escape(content['author'])}, ends {shown.stamp(request['expires'])}</span></h2>"
            + grid(["argument", "value"], rows)
            + lines(request["signatures"])
            + f"<p>Lacks: <b>{escape(', '.join(request['lacking']))}</b></p>"
        )
        own = content["author"] == page.who.name
        verb = "Take back" if own else "Reject"
        with ui.element("div").classes("row"):
            button(verb, lambda: frame.confirm(f"{verb} {content['service']}", verb, close))
            if not own:
                button("Sign", sign, main=True)


def _ended(requests: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            one["content"]["service"],
            one["content"]["author"],
            shown.stamp(one["created"]),
            one["state"],
            Html(f'<a href="/jobs/{escape(one["job"])}">result</a>' if one["job"] else ""),
            "; ".join(signed["text"] for signed in one["signatures"]),
        ]
        for one in requests[:100]
    ]
    return grid(["service", "asked for by", "when", "state", "", "signatures"], rows)
