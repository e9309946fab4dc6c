"""An operator signs in, sees the line, raises the level, compares what-if, verifies the ledger.

In a real browser against a server in a process of its own. Skips where there is no Chromium or no
driver for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from tests.unit.connect.epcis import examples as epcis

CHROMIUM = Path("/usr/bin/chromium")
PASSWORD = "correct horse battery"
SERVER = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
import uvicorn
from galenic.app.api import create_app
from galenic.app.session import Session
from galenic.app.views import mount
from galenic.clock import SystemClock
from galenic.connect.memory import MemoryConnector
from galenic.records import open_site
from galenic.records.people import People
from galenic.stages.supply.repository import repository_of
from galenic.twin.alarm.rule import AlarmRule
from galenic.twin.example import TankPlant, tank
from galenic.twin.level import Level
from galenic.twin.project import ConnectionSpec, FleetSpec, Project, Site, TwinSpec
from galenic.twin.runner import Runner
from galenic.twin.workers import InlineWorkers

async def main(folder, port, password):
    clock = SystemClock()
    plant = MemoryConnector(plant=TankPlant(clock.now()), clock=clock, period=1.0, name="plc")
    low = AlarmRule(
        "feed_low", "Tank.Feed", "the hopper runs empty", "the lot is too weak", "refill it",
        respond=300.0, below=1000.0, severity="major",
    )
    definition = replace(tank(), alarms=(low,))
    project = Project(
        Site("First light", folder), (ConnectionSpec("plc", "memory"),),
        (TwinSpec("tank-1", definition, {}, Level.SHADOW),),
        fleets=(FleetSpec("vials", definition, rows={f"v{n}": {} for n in range(60)}),),
    )
    store = open_site(folder, name="First light", clock=clock)
    people = People(store)
    repository_of(store, clock).capture(Path(sys.argv[4]).read_bytes(), "ann")
    people.add("ann", password, ("engineer", "quality"), by="test", reason="test")
    runner = Runner(project, store=store, connectors={"plc": plant}, workers=InlineWorkers())
    await runner.start()
    app = create_app(Session(store, runner), people)
    mount(app)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning")
    await uvicorn.Server(config).serve()
    await runner.stop()
    store.close()

if __name__ == "__main__":  # looks at the records run in processes of their own
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
"""
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1280,800", "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A running control room."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}")
    folder = tmp_path_factory.mktemp("room")
    (folder / "server.py").write_text(SERVER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    events = folder / "events.json"
    told = (
        epcis.commissioned(1, 2),
        epcis.packed(1, 2),
        *(epcis.moved("shipping", n) for n in (3, 4)),
    )
    events.write_bytes(epcis.document(*told))
    line = [sys.executable, "server.py", str(folder / "site"), str(port), PASSWORD, str(events)]
    with subprocess.Popen(line, cwd=folder, env=environment) as server:
        address = f"http://127.0.0.1:{port}"
        try:
            wait(lambda: server.poll() is None and up(address), 60, "the server")
            yield address
        finally:
            server.terminate()


def up(address: str) -> bool:
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(f"{address}/api/health", timeout=2).status == 200
    return False


def wait(question, seconds: float, what: str):
    """The first true answer; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = question()
        if answer:
            return answer
        time.sleep(0.2)
    pytest.fail(f"waited {seconds:g} s for {what}")


class Browser:
    """A page in Chromium, driven over its DevTools WebSocket."""

    def __init__(self, socket_: object) -> None:
        self.socket, self.number = socket_, 0

    def call(self, method: str, **params: object) -> dict:
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=30))
            if message.get("id") == self.number:
                return message.get("result", {})

    def run(self, script: str):
        """The value of a JavaScript expression."""
        given = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return given.get("result", {}).get("value")

    def says(self, text: str, seconds: float = 30) -> None:
        wait(lambda: text in (self.run("document.body.innerText") or ""), seconds, repr(text))

    def click(self, selector: str, text: str = "") -> None:
        """Click the first visible element of ``selector`` that contains ``text``."""
        find = (
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            f".filter(e => e.offsetParent !== null && e.innerText.includes({json.dumps(text)}))"
        )
        wait(lambda: self.run(f"{find}.length"), 30, f"{selector} {text!r}")
        self.run(f"{find}[0].click()")

    def fill(self, selector: str, text: str) -> None:
        """Type into a field."""
        wait(lambda: self.run(f"!!document.querySelector({json.dumps(selector)})"), 30, selector)
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press(self, key: str, times: int = 1) -> None:
        """Press a key."""
        code = {"Tab": 9, "Enter": 13}.get(key, 0)
        text = {"text": "\r"} if key == "Enter" else {}
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                one = text if kind == "keyDown" else {}
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                          windowsVirtualKeyCode=code, **one)  # fmt: skip

    def drag(self, selector: str, to: str) -> None:
        """Drag the middle of one element onto that of another with the mouse."""
        points = []
        for one in (selector, to):
            find = f"document.querySelector({json.dumps(one)}).getBoundingClientRect()"
            middle = f"(r => [r.x + r.width / 2, r.y + Math.min(r.height, 400) / 2])({find})"
            points.append(self.run(middle))
        (x, y), (a, b) = points
        self._mouse("mousePressed", x, y)
        for share in (0.1, 0.5, 1.0):
            self._mouse("mouseMoved", x + share * (a - x), y + share * (b - y))
        self._mouse("mouseReleased", a, b)

    def _mouse(self, kind: str, x: float, y: float) -> None:
        held = {"button": "left", "clickCount": 1, "buttons": 0 if kind == "mouseReleased" else 1}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)

    def goto(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        wait(lambda: self.run("document.readyState") == "complete", 30, url)


@pytest.fixture(scope="module")
def browser(address, tmp_path_factory):
    """A browser that has signed in."""
    sync = pytest.importorskip("websockets.sync.client")
    profile = tmp_path_factory.mktemp("chromium")
    line = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as chromium:
        try:
            port_file = profile / "DevToolsActivePort"
            wait(lambda: port_file.exists() and port_file.read_text().count("\n"), 30, "Chromium")
            port = port_file.read_text().split("\n")[0]
            pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10))
            target = next(page for page in pages if page["type"] == "page")
            with sync.connect(target["webSocketDebuggerUrl"], max_size=None) as connection:
                made = Browser(connection)
                made.goto(f"{address}/twin/tank-1")
                made.fill("input[name=name]", "ann")
                made.fill("input[name=password]", PASSWORD)
                made.click("button[type=submit]")
                made.says("tank-1")
                yield made
        finally:
            chromium.terminate()


def reason(browser: Browser, why: str) -> None:
    browser.fill("input[aria-label='Reason, for the ledger']", why)


@pytest.mark.slow
def test_the_operator_sees_live_values_and_first_paint_is_fast(browser, address):
    browser.goto(f"{address}/twin/tank-1")
    browser.says("in step with the data")
    wait(
        lambda: browser.run("document.querySelectorAll('.nicegui-echart svg path').length") > 10,
        30,
        "trends",
    )

    paint = browser.run("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    first = browser.run("document.querySelector('[data-live=plant-clock]').innerText")
    wait(
        lambda: browser.run("document.querySelector('[data-live=plant-clock]').innerText") != first,
        10,
        "the clock",
    )

    assert paint < 4000  # 2 s on a machine of its own; this one shares its cores with other tests


@pytest.mark.slow
def test_the_level_is_changed_with_a_reason_that_the_ledger_keeps(browser, address):
    browser.goto(f"{address}/twin/tank-1")
    browser.click("[data-live='head:level']")
    browser.click(".q-radio", "TWIN")
    reason(browser, "trial of the morning")
    browser.click("button", "Change the level")
    browser.says("is now at level twin")

    browser.goto(f"{address}/records?kind=level")
    browser.says("trial of the morning")
    assert "ann" in browser.run("document.body.innerText")


@pytest.mark.slow
def test_the_verify_button_says_intact(browser, address):
    browser.goto(f"{address}/records")
    browser.click("button", "Verify")

    browser.says("intact")


@pytest.mark.slow
def test_an_alarm_is_acknowledged_and_shelved_and_stands_in_the_history(browser, address):
    browser.goto(f"{address}/alarms")
    browser.says("Tank.Feed below 1000")
    browser.says("refill it")
    browser.click("button[aria-label='Acknowledge feed_low']")
    browser.click(".q-dialog button", "Acknowledge")
    browser.says("acknowledged by ann")
    browser.click("button[aria-label='Details of feed_low']")
    browser.says("the lot is too weak")
    browser.click(".q-dialog button", "Close")
    wait(lambda: browser.run("!document.querySelector('.q-dialog')"), 10, "the dialog to close")
    browser.click("button[aria-label='Shelve feed_low']")
    browser.click(".q-radio", "15 min")
    reason(browser, "the hopper is changed")
    browser.click(".q-dialog button", "Shelve")
    browser.says("by ann: the hopper is changed")

    browser.goto(f"{address}/alarms/history?alarm=feed_low")
    browser.says("the hopper is changed")
    browser.goto(f"{address}/alarms/performance")
    browser.says("alarms per operator and day")
    wait(lambda: browser.run("document.querySelectorAll('.nicegui-echart svg path').length") > 10,
         30, "the pictures")  # fmt: skip


@pytest.mark.slow
def test_the_keyboard_leads_to_every_place(browser, address):
    for key, place in (("a", "/alarms"), ("d", "/data"), ("o", "/")):
        for one in ("g", key):
            browser.call("Input.dispatchKeyEvent", type="keyDown", key=one, text=one)
            browser.call("Input.dispatchKeyEvent", type="keyUp", key=one)
        wait(lambda place=place: browser.run("location.pathname") == place, 15, place)
        wait(lambda: browser.run("document.readyState") == "complete", 15, "the page")


CHARTED = "document.querySelectorAll('button[data-show][aria-pressed=true]').length"


def drawn(browser: Browser) -> None:
    """The page is there, and answers: charts come over its connection."""
    wait(
        lambda: browser.run("document.querySelectorAll('.nicegui-echart svg path').length") > 10,
        30,
        "trends",
    )


def charted(browser: Browser, count: int) -> None:
    wait(lambda: browser.run(CHARTED) == count, 30, f"{count} quantities shown")


@pytest.mark.slow
def test_a_quantity_comes_into_the_trends_by_drag_and_by_enter_and_leaves_by_its_button(
    browser, address
):
    browser.goto(f"{address}/twin/tank-1")
    drawn(browser)
    shown = browser.run(CHARTED)
    name = browser.run("document.querySelector('button[data-show]').dataset.show")
    browser.run(f"document.querySelector('button[data-show={json.dumps(name)}]').click()")
    charted(browser, shown - 1)

    browser.drag(f"[data-quantity={json.dumps(name)}]", "[data-takes-quantity]")
    charted(browser, shown)

    browser.run(f"document.querySelector('button[data-show={json.dumps(name)}]').focus()")
    browser.press("Enter")
    charted(browser, shown - 1)


@pytest.mark.slow
def test_the_chart_and_its_data_are_downloaded_from_one_menu(browser, address, tmp_path):
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.goto(f"{address}/twin/tank-1")
    drawn(browser)
    heads = {"png": b"\x89PNG", "pdf": b"%PDF", "csv": b"time UTC", "parquet": b"PAR1"}
    for item, form in (("PNG", "png"), ("PDF", "pdf"), ("CSV", "csv"), ("Parquet", "parquet")):
        browser.click("button[aria-haspopup=menu]", "Download")
        browser.click(".q-item", item)
        file = tmp_path / f"tank-1-trends.{form}"
        wait(file.exists, 30, file.name)
        wait(lambda: browser.run("!document.querySelector('.q-menu .q-item')"), 10, "the menu")

        assert file.read_bytes().startswith(heads[form])


@pytest.mark.slow
def test_what_was_recorded_is_played_again_and_is_marked_as_a_replay(browser, address):
    browser.goto(f"{address}/twin/tank-1")
    browser.click("button", "Replay")
    browser.click("button", "the last 5 min")
    browser.says("REPLAY")
    clock = "document.querySelector('[data-live=\"replay:clock\"]').innerText"
    wait(lambda: browser.run("location.search.includes('replay=')"), 30, "the address")
    first = browser.run(clock)
    browser.click("[data-play]")

    wait(lambda: browser.run(clock) != first or "Play" in browser.run(
        "document.querySelector('[data-play]').innerText"), 60, "the replay")  # fmt: skip
    assert "Change the level" not in browser.run("document.body.innerText")
    browser.click("a", "Back to live")
    browser.says("newest data")


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_on_the_pages_can_be_read_reached_and_named(browser, address, theme):
    """Contrast of WCAG 2.1 AA as drawn; nothing that only a mouse could use; names for all."""
    browser.run(f"localStorage.setItem('galenic-theme', '{theme}')")
    found = {}
    for path in ("/", "/twin/tank-1", "/services", "/alarms", "/alarms/history", "/fleets",
                 "/alarms/performance", "/records", "/data", "/settings", "/requests",
                 "/services/data/plan_import",
                 "/goods", "/goods?text=1", f"/goods?thing={epcis.PALLET}"):  # fmt: skip
        browser.goto(address + path)
        wait(lambda: browser.run("document.querySelector('main h1') !== null"), 30, path)
        wait(lambda: browser.run("document.getAnimations().length === 0"), 30, "the colours")
        found[path] = browser.run((Path(__file__).parent / "readable.js").read_text())

    assert found == {path: {"poor": {}, "unreachable": {}, "nameless": []} for path in found}


@pytest.mark.slow
def test_the_focus_of_the_keyboard_can_be_seen(browser, address):
    browser.goto(f"{address}/twin/tank-1")
    browser.says("newest data")
    seen = """(() => { for (let e = document.activeElement; e; e = e.parentElement) {
      const s = getComputedStyle(e);
      if (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) return true;
      if (e.matches('.q-field--focused, .indicator')) return true; }
      return document.activeElement === document.body; })()"""
    for _ in range(25):
        browser.press("Tab")

        assert browser.run(seen), browser.run("document.activeElement.outerHTML.slice(0, 200)")
