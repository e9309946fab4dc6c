"""A patient followed by drug levels: the same house as the tablet line, from every side.

The story is that of reference case V11a: vancomycin, CLcr 34 mL/min, 62 kg, 1900 mg over 1 h at 0
and 1750 mg at 22.2 h, levels 14.8 mg/L at 12 h and 22.5 mg/L at 37.5 h. The second dose is told
late.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import runpy
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from galenic.app.cli import main
from galenic.app.server import Options, serve
from galenic.app.views.patient_tab import timeline
from galenic.clock import SECOND, SystemClock, to_iso
from galenic.signals import Action, Command, Record, Sample
from galenic.stages.clinical.twin import patient
from galenic.twin import look
from galenic.twin.level import Level
from galenic.twin.project import read_project
from galenic.twin.runner import Runner
from galenic.twin.twin import Twin

HOUR = 3600 * SECOND
PROJECT = Path(__file__).parents[2] / "examples" / "patient.toml"
VALUES = {"CLcr": "34 mL/min", "weight": "62 kg"}
CL, V1, V2 = 1.7209, 59.78, 41.56  # Monolix prints 1.72, 59.8, 41.6


def new(start=0) -> Twin:
    return Twin(patient(), "bed-7", VALUES, start=start, level=Level.SHADOW)


def dose(amount, hours, *, told=None, **more):
    at = round(hours * HOUR)
    return Action("dose", amount, "mg", at, round((told or hours) * HOUR), "dose", 3600.0, **more)


def level(hours, value):
    at = round(hours * HOUR)
    return Sample("Level.Vancomycin", value, "mg/L", at, at)


STORY = [dose(1900.0, 0.001), level(12, 14.8), dose(1750.0, 22.2), level(37.5, 22.5)]


def told(events) -> Twin:
    twin = new()
    for event in events:
        twin.accept(event)
    return twin


def clearance(twin) -> float:
    seen = twin.estimator.observe(twin.belief, ["individual.CL"])
    return seen["individual.CL"][0] * 3.6e6


# --- the twin alone --------------------------------------------------------------------------


def test_a_late_dose_ends_in_the_belief_of_arrival_in_order():
    in_order = told(STORY)
    twin = told([STORY[0], STORY[1], STORY[3]])
    without = twin.belief
    assert abs(clearance(twin) / CL - 1) > 0.1  # the second level is not explained

    twin.accept(replace(STORY[2], received_time=40 * HOUR, who="night nurse", reason="charted"))

    assert twin.belief.identity == in_order.belief.identity != without.identity
    assert clearance(twin) == pytest.approx(CL, abs=1e-3)


def test_any_order_of_arrival_ends_in_the_same_belief():
    orders = list(itertools.permutations(STORY))[::3]

    beliefs = {told(events).belief.identity for events in orders}

    assert len(beliefs) == 1


def test_an_amended_dose_counts_as_it_was():
    wrong = dose(1000.0, 22.2, source_key="dose-2")
    right = dose(1750.0, 22.2, told=41, source_key="dose-2a", amends="dose-2", who="Ann")
    twin = told([STORY[0], STORY[1], wrong, STORY[3]])

    effects = twin.accept(right)

    assert twin.belief.identity == told(STORY).belief.identity
    assert [e.what for e in effects if isinstance(e, Record)] == ["action"]


def test_a_withdrawn_dose_never_was():
    extra = dose(1000.0, 30.0, source_key="mistake")
    gone = Action("dose", None, "mg", 30 * HOUR, 41 * HOUR, "dose", amends="mistake", who="Ann")

    assert told([*STORY, extra, gone]).belief.identity == told(STORY).belief.identity


def test_kidneys_that_fail_change_what_comes_and_not_what_was():
    creatinine = Sample("Patient.CLcr", 15.0, "mL/min", 38 * HOUR, 38 * HOUR)
    twin, failing = told(STORY), told([*STORY, creatinine])

    own = [look.estimates(t, ["individual.CL"], 39 * HOUR) for t in (twin, failing)]

    slower = own[1]["individual.CL"]["value"] / own[0]["individual.CL"]["value"]
    assert slower == pytest.approx((15 / 34) ** 0.8, rel=1e-6)
    assert failing.belief.mean("CL") == pytest.approx(twin.belief.mean("CL"), rel=1e-9)


def test_a_change_of_the_model_carries_the_patient_over():
    """After it the next level is judged as if nothing had happened, up to linearisation."""
    twin, same = told(STORY), told(STORY)
    later = level(50, 12.0)

    twin.evolve(values={"dialysis": 0.0}, who="Ann", reason="reviewed")
    before = look.at_now(twin, 50 * HOUR), look.at_now(same, 50 * HOUR)
    for each in (twin, same):
        each.accept(later)

    assert before[0].centre == pytest.approx(before[1].centre, rel=1e-9)
    assert before[0].spread == pytest.approx(before[1].spread, rel=1e-6)
    assert not twin.fold.state.monitor.failures
    assert clearance(twin) == pytest.approx(clearance(same), rel=0.02)
    assert abs(clearance(same) / CL - 1) > 0.05


def test_a_patients_twin_never_acts():
    twin = told(STORY)

    effects = twin.accept(Command("level", 40 * HOUR, "Ann", "try", {"level": "twin"}))

    assert twin.level is Level.SHADOW
    assert [e.what for e in effects if isinstance(e, Record)] == ["refused"]
    assert not any(channel.binding.writable for channel in twin.channels.values())


def test_implausible_levels_and_doses_in_a_wrong_unit_are_refused():
    twin = told(STORY)
    before = twin.belief.identity

    twin.accept(level(39, 2250.0))
    effects = twin.accept(replace(dose(1.0, 39.5), unit="mL"))

    assert twin.belief.identity == before
    assert "mg" in next(e for e in effects if isinstance(e, Record)).detail["expected"]


# --- the ward: server, command line, REST -----------------------------------------------------


class Ward:
    """The example project, served; its command line and its REST interface."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        text = PROJECT.read_text().replace("8091", str(port))
        self.path = folder / "patient.toml"
        self.path.write_text(text)
        self.site = folder / "patient-site"
        self.start = SystemClock().now() - 48 * HOUR
        self.loop = asyncio.new_event_loop()
        self.up = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.stop = asyncio.Event()
        project = read_project(self.path)
        ready = lambda facts: self.up.set()  # noqa: E731
        self.loop.run_until_complete(serve(project, Options(), ready, self.stop))
        self.loop.close()

    def __enter__(self) -> Ward:
        self.thread.start()
        assert self.up.wait(60)
        return self

    def close(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stop.set)
            self.thread.join(60)

    def __exit__(self, *error: object) -> None:
        self.close()

    def at(self, hours: float) -> str:
        return to_iso(self.start + round(hours * HOUR))

    def cli(self, *line: str) -> dict:
        """The document that a command prints; it goes through the server while that is up."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            main([*line, "--project", str(self.path), "--json"])
        return json.loads(out.getvalue())

    def rest(self, method: str, path: str, **options) -> httpx.Response:
        facts = json.loads((self.site / "server.json").read_text())
        headers = {"Authorization": f"Bearer {facts['token']}"}
        address = f"{facts['address']}/api/{path}"
        return httpx.request(method, address, headers=headers, timeout=30, **options)

    def service(self, name: str, **arguments) -> dict:
        """The job of a service called over REST, once it has ended."""
        answer = self.rest("POST", f"services/{name}", json=arguments)
        while answer.status_code == 202 or answer.json().get("state") == "running":
            time.sleep(0.1)
            answer = self.rest("GET", f"jobs/{answer.json()['id']}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def dose(self, amount, hours, *more) -> dict:
        line = ["twins", "action", "bed-7", "dose", "mg", "charted", "--value", str(amount)]
        return self.cli(*line, "--time", self.at(hours), "--duration", "1 h", *more)


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """The story told over command line and REST, the second dose late and first wrongly."""
    with Ward(tmp_path_factory.mktemp("ward")) as ward:
        ward.dose(1900, 0)
        ward.cli("twins", "enter", "Level.Vancomycin", "14.8", "mg/L", "--time", ward.at(12))
        body = {"tag": "Level.Vancomycin", "value": 22.5, "unit": "mg/L", "time": ward.at(37.5)}
        assert ward.rest("POST", "services/twins/enter", json=body).status_code == 200
        ward.before = ward.cli("twins", "estimates", "bed-7")
        made = ward.dose(175, 22.2)
        ward.dose(1750, 22.2, "--amends", made["values"]["key"]["value"])
        ward.after = ward.cli("twins", "estimates", "bed-7")
        ward.advice = ward.cli("clinical", "advise-dose", "--twin", "bed-7")
        ward.over_rest = ward.service("clinical/advise_dose", twin="bed-7")
        ward.form = ward.rest("GET", "services/clinical/advise_dose").json()
        ward.levels = ward.cli(
            "clinical", "forecast-levels", "--twin", "bed-7", "--horizon", "24 h",
            "--planned", "time,amount,duration\n0,750,2",
        )  # fmt: skip
        ward.course = ward.cli("clinical", "patient-course", "bed-7")
        ward.refused = ward.rest(
            "POST", "services/clinical/advise_dose", json={"twin": "bed-7", "at": ward.at(1)}
        )
        ward.entries = ward.rest("GET", "ledger", params={"limit": 1000}).json()["entries"]
        ward.belief = ward.rest("GET", "twins/bed-7/belief").json()
        ward.close()
        yield ward


def test_the_ward_estimates_the_patient_as_monolix_does(ward):
    before, after = (e["values"]["individual.CL"] for e in (ward.before, ward.after))

    assert after["value"] == pytest.approx(CL, abs=1e-3)
    assert after["lower"] < CL < after["upper"]
    assert abs(before["value"] / CL - 1) > 0.1
    assert ward.after["values"]["individual.V1"]["value"] == pytest.approx(V1, abs=0.02)
    assert ward.after["values"]["V2"]["value"] == pytest.approx(V2, abs=0.02)


def test_advice_is_the_same_on_the_command_line_and_over_rest(ward):
    rest = ward.over_rest["result"]

    assert ward.advice["ok"]
    assert rest["text"].startswith("Decision support, not a prescription.")
    assert rest["values"]["regimen"] == ward.advice["values"]["regimen"]
    # Both look from their own now, seconds apart.
    ours, theirs = (v["AUC24"]["value"] for v in (ward.advice["values"], rest["values"]))
    assert ours == pytest.approx(theirs, rel=0.05)
    assert 400 < ours < 600


def test_advice_has_a_ranked_table_and_a_plot_in_three_styles(ward):
    (table,) = ward.advice["tables"]
    columns = {c["name"]: c["data"] for c in table["columns"]}
    (plot,) = ward.advice["plots"]
    series = {s["name"]: s for s in plot["y"]}

    assert len(columns["regimen"]) > 3
    assert max(columns["on target"]) - columns["on target"][0] < 2 * max(columns["+/-"])
    styles = {name: s["style"] for name, s in series.items()}
    assert styles == {"level": "measured", "estimated": "estimated", "predicted": "predicted"}
    assert sorted(v for v in series["level"]["data"] if v) == [14.8, 22.5]
    assert len(plot["x"]["data"]) == len(series["predicted"]["lower"])


def test_the_course_tells_what_was_given_measured_and_known(ward):
    tables = {
        table["title"]: {c["name"]: c["data"] for c in table["columns"]}
        for table in ward.course["tables"]
    }

    assert ward.course["text"].startswith("Decision support, not a prescription.")
    assert tables["doses"]["amount"] == pytest.approx([1900, 1750])
    assert tables["doses"]["infusion"] == [1, 1]
    assert tables["doses"]["time"][1] - tables["doses"]["time"][0] == pytest.approx(22.2)
    assert tables["levels"]["measured"] == pytest.approx([14.8, 22.5])
    known = dict(zip(tables["covariates"]["covariate"], tables["covariates"]["value"], strict=True))
    assert known == pytest.approx({"CLcr": 34, "weight": 62, "dialysis": 0})
    assert ward.course["values"]["CL"]["value"] == pytest.approx(CL, abs=1e-3)


def test_levels_are_drawn_with_their_error_and_the_target_beside_them(ward):
    """The error is 3.4 mg/L + 22.7 % (Goti 2018); 400 to 600 mg h/L a day are 16.7 to 25 mg/L."""
    tables = {table["title"]: table for table in ward.course["tables"]}
    levels = {c["name"]: c["data"] for c in tables["levels"]["columns"]}

    drawn = timeline(ward.course["plots"][0], tables)

    sd = [3.4 + 0.227 * fitted for fitted in levels["fitted"]]
    assert levels["error"] == pytest.approx(sd, rel=1e-6)
    errors = next(series for series in drawn["series"] if series["name"] == "_error")
    ends = [value for _, value in errors["data"] if value is not None]
    assert [b - a for a, b in zip(ends[::2], ends[1::2], strict=True)] == pytest.approx(
        [2 * s for s in sd], rel=1e-6
    )
    target = next(series for series in drawn["series"] if "markArea" in series)
    assert "AUC24 400 to 600 mg*h/L" in target["name"]
    assert [end["yAxis"] for end in target["markArea"]["data"][0]] == pytest.approx(
        [400 / 24, 600 / 24]
    )


def test_the_timeline_has_doses_on_its_axis_and_a_line_at_now(ward):
    plot = ward.course["plots"][0]
    tables = {table["title"]: table for table in ward.course["tables"]}
    doses = tables["doses"]

    drawn = timeline(plot, tables)

    given = next(series for series in drawn["series"] if series["name"] == "dose")
    assert [point["name"] for point in given["data"]] == ["1900 mg over 1 h", "1750 mg over 1 h"]
    assert given["data"][0]["value"][0] == pytest.approx(doses["columns"][0]["data"][0])
    assert given["markLine"]["data"] == [{"xAxis": 0.0}]
    assert drawn["xAxis"]["name"] == "time from now [h]"


def test_planned_doses_are_forecast(ward):
    columns = {c["name"]: c["data"] for c in ward.levels["tables"][0]["columns"]}

    assert columns["ahead"][-1] == 24
    peak = max(columns["level"])
    assert columns["level"].index(peak) == columns["ahead"].index(2.0)
    assert all(a <= b for a, b in zip(columns["5 %"], columns["95 %"], strict=True))


def test_every_argument_of_the_advice_has_a_field_with_its_unit(ward):
    fields = {f["name"]: f for f in ward.form["fields"]}

    assert fields["twin"]["widget"] == "twin"
    assert fields["auc_low"]["unit"] == "mg*h/L"
    assert fields["doses"]["columns"][1] == {"name": "amount", "unit": "mg"}


def test_advice_for_a_time_before_the_newest_level_is_refused(ward):
    assert ward.refused.status_code == 422
    assert "newest dose or level" in ward.refused.text


def test_doses_levels_and_advice_stand_in_the_ledger(ward):
    actions = [e for e in ward.entries if e["kind"] == "action"]
    advice = [e for e in ward.entries if e["subject"] == "clinical.advise_dose"]

    assert [e["detail"]["value"] for e in actions] == [1900, 175, 1750]
    assert actions[-1]["detail"]["amends"]
    done = [e for e in advice if e["detail"]["outcome"] == "done"]
    assert {e["detail"]["via"] for e in done} <= {"cli", "rest"}
    assert all(e["who"] and e["detail"]["result"] for e in done)
    assert done[0]["detail"]["arguments"]["twin"] == "bed-7"


def test_verify_and_replay_agree_with_what_was_recorded(ward):
    verified, replayed = (ward_command(ward, name) for name in ("verify", "replay"))

    assert verified["ok"]
    (twin,) = replayed["twins"] if "twins" in replayed else replayed
    assert twin["ok"], twin
    assert twin["head"] == twin["recorded_head"]
    assert twin["belief"] == twin["recorded_belief"] != ""


def ward_command(ward, name):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main([name, str(ward.path), "--json"])
    return json.loads(out.getvalue())


LABORATORY = """
[[connection]]
name = "lab"
kind = "files"
folder = "lab"
period = 0.05
mapping = {time = "drawn", columns = {vancomycin = {tag = "Lab.Vancomycin", unit = "mg/L"}}}

[[twin.binding]]
tag = "Lab.Vancomycin"
quantity = "C"
unit = "mg/L"
connection = "lab"
resolution = 0.1
plausible = [0, 150]
"""


async def test_levels_come_from_the_laboratorys_files_too(tmp_path):
    """Files and entries by hand are two tags of one quantity."""
    path = tmp_path / "patient.toml"
    path.write_text(PROJECT.read_text() + LABORATORY)
    (tmp_path / "lab").mkdir()
    runner = Runner(read_project(path))
    start = runner.clock.now() - 48 * HOUR

    def stamp(hours):
        return to_iso(start + round(hours * HOUR))

    await runner.start()
    for event in (STORY[0], STORY[2]):
        at = start + event.source_time
        await runner.submit(replace(event, source_time=at, received_time=runner.clock.now()))
    await runner.enter("Level.Vancomycin", 14.8, "mg/L", start + 12 * HOUR)
    (tmp_path / "lab" / "monday.csv").write_text(f"drawn,vancomycin\n{stamp(37.5)},22.5\n")
    for _ in range(200):
        if (await runner.ask("bed-7", lambda twin: twin.belief.notes["levels"])) == 2:
            break
        await asyncio.sleep(0.05)
    clear = await runner.ask("bed-7", clearance)
    await runner.stop()

    assert clear == pytest.approx(CL, abs=1e-3)


def test_the_example_ends_in_a_picture(tmp_path, capsys):
    script = runpy.run_path(str(PROJECT.with_name("patient.py")))

    script["main"](str(tmp_path / "patient.png"))

    out = capsys.readouterr().out
    assert "with the dose that was late: CL 1.72" in out
    assert (tmp_path / "patient.png").read_bytes().startswith(b"\x89PNG")
