"""Signing in."""

from __future__ import annotations

from html import escape

from nicegui import ui

from galenic.app.views.frame import HEAD, html
from galenic.app.views.room import Room

FORM = """<main class="sign-in card" aria-label="Sign in"><h1>{site}</h1>
<form onsubmit="galenic.signIn(this); return false" autocomplete="on">
<label>Name<input name="name" autocomplete="username" required autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password"
required></label>
<span class="wrong" role="alert"></span><button type="submit">Sign in</button></form>
<p class="muted small">On the first start the name and password were printed where the server
was started.</p></main>"""


def sign_in_page(room: Room) -> None:
    """The form; the browser sends it to the API, which sets the cookie."""
    ui.page_title(f"Sign in · {room.site}")
    ui.add_head_html(HEAD)
    ui.colors(primary="var(--accent)")
    html(FORM.format(site=escape(room.site)))
