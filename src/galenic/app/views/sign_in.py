"""Signing in, by password or at the provider; and changing a password that has to be changed."""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode

from nicegui import context, ui

from galenic.app.views.frame import HEAD, html
from galenic.app.views.room import Room

PAGE = """<main class="sign-in card" aria-label="Sign in"><h1>{site}</h1>{elsewhere}{own}
<span class="wrong" role="alert">{problem}</span></main>"""
ELSEWHERE = (
    """<p><a class="button main" href="/api/oidc/start?{query}">Sign in with {provider}</a></p>"""
)
FORM = """<form onsubmit="galenic.signIn(this); return false" autocomplete="on">
<label>Name<input name="name" autocomplete="username" required {focus}></label>
<label>Password<input name="password" type="password" autocomplete="current-password"
required></label>
<label class="more" hidden>Why, for an account for emergencies<input name="reason"></label>
<label class="fresh" hidden>New password<input name="fresh" type="password"
autocomplete="new-password"></label>
<button type="submit">Sign in</button></form>
<p class="muted small">On the first start the name and password were printed where the server
was started.</p>"""


def sign_in_page(room: Room) -> None:
    """The form; the browser sends it to the API, which sets the cookie."""
    ui.page_title(f"Sign in · {room.site}")
    ui.add_head_html(HEAD)
    ui.colors(primary="var(--accent)")
    given = context.client.request.query_params
    own, elsewhere = FORM.format(focus="autofocus"), ""
    if room.provider is not None:
        query = urlencode({"next": given.get("next", "/")})
        name = room.provider.partition("://")[2].partition("/")[0]
        elsewhere = ELSEWHERE.format(query=escape(query, quote=True), provider=escape(name))
        own = "<details><summary>With a password</summary>" + FORM.format(focus="") + "</details>"
    problem = escape(given.get("problem", "")[:200])
    html(PAGE.format(site=escape(room.site), elsewhere=elsewhere, own=own, problem=problem))
