"""Advice on a dose is accepted or refused by a signature on the result that was kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Any

from nicegui import context, ui

from galenic.app.views.frame import Page, button, html
from galenic.app.views.signatures import ask_for_proof, lines
from galenic.records.signatures import Proof

MEANING = "responsibility"  # who asked for advice may answer for it, not approve it


def decide(page: Page, twin: str, job: Any, result: Mapping[str, Any]) -> None:
    """Accept and Refuse with the signatures so far; nothing where no dose is advised."""
    desk, regimen = page.room.desk, result["values"].get("regimen")
    if regimen is None:
        return
    with ui.element("section").classes("card no-print"):
        html("<h2>Your decision</h2>")
        if desk is None or not job.result_hash:
            html('<p class="muted">No records are kept here, so advice cannot be signed.</p>')
            return
        html(
            f"<p><b>{escape(str(regimen['value']))}</b> for {escape(twin)}. A signature stands on "
            "this advice in the ledger; no order is made and no dose recorded by it.</p>"
        )
        with ui.element("div").classes("row"):
            button("Accept", lambda: ask("Accept", "accepted: "), main=True)
            button("Refuse", lambda: ask("Refuse", "refused: "))
        place = ui.element("div")

    def show() -> None:
        place.clear()
        with place:
            html(lines(desk.shown("artefact", job.result_hash)["signatures"]))

    def ask(verb: str, prefix: str) -> None:
        client, record = context.client, desk.shown("artefact", job.result_hash)

        def act(proof: Proof) -> str:
            who = page.room.access.of_token(page.token, "page")
            said = replace(proof, reason=f"{prefix}{proof.reason}" if proof.reason else "")
            desk.sign(who, "artefact", record["id"], record["version"], said)
            client.safe_invoke(show)
            return f"{prefix.rstrip(': ')} by signature"

        explain = f"{regimen['value']} for {twin}"
        ask_for_proof(page, f"{verb} this advice", explain, [MEANING], act, verb)

    show()
