"""Every page behind the sign-in, over a real session with a live simulated tank."""

from __future__ import annotations

import asyncio
import base64
import html
import re
from dataclasses import replace

import httpx
import numpy as np
import pytest
import pytest_asyncio
from tests.unit.connect.epcis import examples as epcis

from galenic.app.api import create_app
from galenic.app.permissions import Caller
from galenic.app.session import Session
from galenic.app.views import mount, shown
from galenic.app.views.frame import PLACES
from galenic.clock import SECOND, to_iso
from galenic.connect.memory import MemoryConnector
from galenic.records import open_site
from galenic.records.grants import Scope
from galenic.records.people import People
from galenic.signals import Sample, Tick
from galenic.stages.clinical.twin import patient
from galenic.stages.supply.repository import repository_of
from galenic.twin.alarm.rule import AlarmRule, AlarmRules
from galenic.twin.example import TankPlant, tank
from galenic.twin.level import Level
from galenic.twin.pace import PlantClock
from galenic.twin.project import ConnectionSpec, FleetSpec, Project, Site, TwinSpec
from galenic.twin.runner import Runner
from galenic.twin.workers import InlineWorkers

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOT = "urn:epc:class:lgtin:4012345.011111.L1"
T0 = 1_800_000_000 * SECOND
SPEED = 5.0
NAME, PASSWORD = "ann", "a long enough password"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("site")


def alarmed():
    """A tank whose alarm is unlike those of the tank beside it."""
    rule = AlarmRule("strong", "Tank.Out", "too strong", "lost", "lower it", 600.0, above=2.0)
    return replace(tank(), alarms=(rule,), alarming=AlarmRules(settle=0.0))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(folder):
    """A signed-in browser of a site with one twin; module wide, as NiceGUI has one app."""
    import argon2

    clock = PlantClock(SPEED, T0)
    spec = TwinSpec("tank-1", tank(), {}, Level.SHADOW)
    bed = TwinSpec("bed-7", patient(), {"CLcr": "34 mL/min", "weight": "62 kg"}, Level.SHADOW)
    fleet = FleetSpec("vials", alarmed(), rows={"v1": {}, "v2": {}})
    project = Project(
        Site("Test <site>", folder),
        (ConnectionSpec("plc", "memory"),),
        (spec, bed),
        fleets=(fleet,),
    )
    store = open_site(folder, name="Test", clock=clock)
    people = People(store, hasher=argon2.PasswordHasher(1, 8, 1))
    people.add(NAME, PASSWORD, ("engineer", "quality"), by="test", reason="test")
    plant = MemoryConnector(plant=TankPlant(T0), clock=clock, period=1.0, name="plc")
    runner = Runner(
        project,
        store=store,
        clock=clock,
        connectors={"plc": plant},
        workers=InlineWorkers(),
        speed=SPEED,
    )
    await runner.start()
    session = Session(store, runner)
    app = create_app(session, people)
    mount(app)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await clock.sleep_until(T0 + 10 * SECOND)
            await _first_estimates(runner)
            client.plant, client.runner, client.session = plant, runner, session
            client.people = people
            yield client
    await runner.stop()
    session.close()
    store.close()


async def _first_estimates(runner) -> None:
    """Wait until the pages have heard of the twin, however busy the machine is."""
    subscription = runner.live.subscribe()
    async for message in subscription:
        if message["type"] == "twin":
            break
    subscription.close()
    await asyncio.sleep(0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(web):
    """A function that gives the text of a page, signed in."""
    answer = await web.post("/api/sign-in", json={"name": NAME, "password": PASSWORD})
    assert answer.status_code == 200

    async def get(path: str) -> str:
        answer = await web.get(path)
        assert answer.status_code == 200, path
        return said(answer.text)

    return get


def said(text: str) -> str:
    """What a page says: its elements travel as JSON inside of the HTML."""
    return html.unescape(text).replace('\\"', '"')


async def test_without_sign_in_every_page_leads_to_it(web):
    """First of the module: nobody has signed in yet."""
    for path, *_ in (*PLACES, ("/twin/tank-1",)):
        answer = await web.get(path)

        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?next=")


async def test_the_sign_in_page_names_the_site_and_escapes_it(web):
    text = (await web.get("/sign-in")).text

    assert "Test <site>" not in text.replace("Test \\u003csite\\u003e", "")
    assert "autocomplete" in text


@pytest.mark.parametrize(("path", "title"), [(p, t) for p, t, _ in PLACES])
async def test_every_place_says_its_name(page, path, title):
    assert f"<h1>{title}</h1>" in await page(path)


async def test_no_page_loads_anything_from_elsewhere(web, page):
    for path, *_ in (*PLACES, ("/twin/tank-1",)):
        text = (await web.get(path)).text
        outside = set(re.findall(r"""(?:src|href)=["'](https?://[^"']+)""", text))

        assert outside == set(), path


async def test_the_overview_shows_level_health_and_a_key_figure_with_its_uncertainty(page):
    text = await page("/")

    assert 'class="level shadow"' in text
    assert "<b>good</b>" in text
    assert "±" in text


async def test_the_twin_page_has_the_values_first_and_the_charts_after_the_first_paint(page):
    text = await page("/twin/tank-1")

    assert "data-takes-quantity" in text
    assert "head:health" in text
    assert "in step with the data" in text
    assert "echart.js" not in text


@pytest.mark.parametrize("tab", ["What-if", "Estimates", "Control", "Model", "Records"])
async def test_each_tab_can_be_linked_to(page, tab):
    text = await page(f"/twin/tank-1?tab={tab}")

    assert "went wrong" not in text
    assert {"What-if": "Compare", "Estimates": "Innovations", "Control": "Last proposal",
            "Model": "model identity", "Records": "search words"}[tab] in text  # fmt: skip


def subjects(seed: int) -> bytes:
    """Six subjects after 300 mg by mouth, in NONMEM's style."""
    rng = np.random.default_rng(seed)
    rows = ["ID,TIME,AMT,DV,EVID,MDV"]
    for n in range(1, 7):
        ka, CL, V = 1.5 * np.exp(0.5 * rng.normal()), 2.8 * np.exp(0.25 * rng.normal()), 32.0
        rows.append(f"{n},0,300,,1,1")
        for t in (0.5, 1, 2, 5, 9, 24):
            k = CL / V
            c = 300 * ka / (V * (ka - k)) * (np.exp(-k * t) - np.exp(-ka * t))
            rows.append(f"{n},{t},,{c + 0.3 * rng.normal():.3f},0,0")
    return "\n".join(rows).encode()


@pytest.fixture(scope="module")
def fits(web):
    """The jobs of three fits: two models of the same data, and one of other data."""
    who = Caller(NAME, ("engineer",), "rest")
    made = []
    for seed, vary in ((1, ["absorption.ka=0.6", "body.CL"]), (1, ["body.CL"]), (2, ["body.CL"])):
        given = {
            "model": "oral-one-compartment", "dose_to": "absorption.depot", "output": "body.C",
            "vary": vary, "additive": 0.5, "proportional": 0.0, "simulations": 0,
            "data": {"name": f"<set {seed}>.csv",
                     "content": base64.b64encode(subjects(seed)).decode()},
        }  # fmt: skip
        job = web.session.call("clinical.population_fit", given, who, wait=120)
        job.outcome()
        made.append(job.id)
    return made


async def test_a_fit_is_reported_with_its_estimates_and_pictures(page, fits):
    text = await page("/fits")
    assert text.count('href="/fits/') >= 3
    assert "&lt;set 1&gt;.csv" in text or "<set 1>.csv" not in text

    text = await page(f"/fits/{fits[0]}")

    for words in ("Estimates", "absorption.ka", "RSE [%]", "Shrinkage", "condition number",
                  "against individual predictions", "random effect of body.CL"):  # fmt: skip
        assert words in text, words


async def test_fits_stand_side_by_side_with_the_likelihoods_of_equal_data(page, fits):
    text = await page(f"/fits/compare?of={fits[0]},{fits[1]}")

    assert "A: estimate (RSE)" in text
    assert "B: estimate (RSE)" in text
    assert "least" in text
    assert "cannot be compared" not in text


async def test_fits_of_other_data_are_told_apart(page, fits):
    assert "cannot be compared" in await page(f"/fits/compare?of={fits[0]},{fits[2]}")


@pytest.mark.parametrize(
    ("path", "words"),
    [("/fits/compare?of=", "Name 2 to 6 fits"), ("/fits/compare?of=a,b", "there is no job"),
     ("/fits/nothing", "there is no job")],
)  # fmt: skip
async def test_fits_that_are_not_there_are_said_so(page, path, words):
    assert words in await page(path)


async def test_a_computed_result_keeps_its_address_after_a_restart(web, fits):
    kept = web.session.store.get("job", fits[0])

    assert kept["state"] == "done"
    assert web.session.store.artefact(kept["result"]).media_type == "application/json"


async def test_an_unknown_twin_is_an_error_with_close_names(page):
    text = await page("/twin/tank-2")

    assert "state failed" in text
    assert "tank-1" in text


async def test_every_service_has_a_form_with_all_its_arguments(page, web):
    for entry in web.session.services().values():
        text = await page(f"/services/{entry.stage}/{entry.name}")

        assert "state failed" not in text
        for field in entry.form()["fields"]:
            assert field["label"] in text, f"{entry.full_name}: {field['name']}"


async def test_a_form_is_filled_in_from_its_address(page):
    assert '"5 min"' in await page("/services/twins/forecast?horizon=5%20min")

    text = await page(
        "/services/models/simulate?values=a%20%3D%201;b%20%3D%202&outputs=x;y&doses=t"
    )
    assert "a = 1" in text
    assert "state failed" not in text


async def test_a_job_has_a_permanent_page_with_plots_and_provenance(page, web):
    answer = await web.post("/api/services/twins/forecast", json={"twin": "tank-1"})
    for _ in range(100):
        if answer.status_code == 200:
            break
        assert answer.status_code == 202, answer.text
        await asyncio.sleep(0.1)
        answer = await web.get(answer.headers["Location"])
    text = await page(f"/jobs/{answer.json()['id']}")

    assert "Where it comes from" in text
    assert "nicegui-echart" in text or "echart" in text
    assert "Download JSON" in text


async def test_a_failed_job_says_what_where_and_what_to_try(page, web):
    given = {"twin": "tank-1", "quantity": "contnt", "to": "3", "reason": "r"}
    await web.post("/api/services/twins/target", json=given)
    failed = next(job for job in web.session.jobs() if job.state == "failed")
    text = await page(f"/jobs/{failed.id}")

    assert "state failed" in text
    assert "Traceback" not in text


async def test_the_data_page_shows_age_quality_and_counters_of_each_tag(page, web):
    text = await page("/data")

    for tag in web.runner.twin("tank-1").channels:
        assert tag in text
    assert "received" in text
    assert "connected" in text


async def test_a_lost_connection_is_a_banner_on_every_page(page, web):
    web.plant.lose("the cable was pulled")
    await asyncio.sleep(0.3)
    try:
        text = await page("/")
    finally:
        web.plant.restore()

    assert "banner" in text
    assert "the cable was pulled" in text


async def test_scripts_in_names_reasons_and_comments_are_text(page, web):
    """Whatever people and programs write: it is shown, and does nothing."""
    script = "<script>document.title='owned'</script>"
    people = web.people
    people.add("mallory", None, ["viewer"], by=NAME, reason=script, full_name=script, service=True)
    people.tokens.make("mallory", script, Scope(), 1, by=NAME)
    note = {"twin": "tank-1", "text": script}
    assert (await web.post("/api/services/twins/note", json=note)).status_code == 200
    signed = {"meaning": "review", "reason": script, "name": NAME, "password": PASSWORD}
    body = {**signed, "type": "entry", "id": "1"}
    assert (await web.post("/api/signatures", json=body)).status_code == 200
    for path in ("/settings", "/records", "/records?kind=signature", "/twin/tank-1?tab=Records"):
        text = await page(path)

        assert script not in text
        assert html.escape(script) in text or path.startswith("/twin")


async def test_a_result_and_a_definition_show_their_signatures(page, web):
    job = await asyncio.to_thread(
        web.session.call, "models.catalogue", {}, Caller("bob", ("engineer",))
    )
    signed = {"meaning": "approval", "reason": "complete", "name": NAME, "password": PASSWORD}
    body = {**signed, "type": "artefact", "id": job.result_hash}
    assert (await web.post("/api/signatures", json=body)).status_code == 200
    seen = (await web.get("/api/signatures?type=definition&id=tank-1")).json()
    body = {**signed, "type": "definition", "id": "tank-1", "version": seen["version"]}
    assert (await web.post("/api/signatures", json=body)).status_code == 200

    for path in (f"/jobs/{job.id}", "/twin/tank-1?tab=Model"):
        text = await page(path)
        assert "complete" in text and "approval" in text, path


async def test_settings_show_people_and_no_secrets(page):
    text = await page("/settings")

    assert NAME in text
    assert "argon2" not in text


async def test_goods_are_no_place_before_the_first_event(page):
    assert 'href="/goods"' not in await page("/")
    assert "No event of goods was captured yet" in await page("/goods")


async def test_a_thing_says_where_it_is_in_what_and_what_happened_to_it(page, web):
    made = {
        "type": "TransformationEvent", **epcis.at(0), "outputEPCList": [epcis.ITEM.format(1)],
        "inputQuantityList": [{"epcClass": LOT, "quantity": 2.5, "uom": "KGM"}],
    }  # fmt: skip
    late = {**epcis.moved("storing", 9, epcis.DEPOT, "urn:x:<b>"), "disposition": "in_transit"}
    repository_of(web.session.store, web.session.clock).capture(
        epcis.document(made, epcis.packed(1, 2), epcis.moved("shipping", 2),
                       epcis.moved("receiving", 3, epcis.DEPOT), late), "ann",
    )  # fmt: skip

    text = await page(f"/goods?thing={epcis.ITEM.format(1)}")
    for words in ("GTIN 04012345111224, serial 1", "location 4012345000023", "receiving",
                  "put into", "SSCC 040123450000003338", "lot L1"):  # fmt: skip
        assert words in text, words
    assert re.search(r'2\.5.{0,30}"unit">kg', text)
    assert 'href="/goods"' in text
    found = await page("/goods?text=2")
    assert "serial 2" in found
    assert "serial 1<" not in found
    assert "Nothing begins with" in await page("/goods?text=zzz")
    assert "No event names" in await page("/goods?thing=urn:x:none")
    assert "urn:x:<b>" not in (await web.get("/goods")).text


async def test_an_instance_shows_its_own_measurements_and_those_alone(page, web):
    now = web.runner.clock.now()
    await web.runner.submit(Sample("Tank.Out", 2.75, "", now, now), "vials:v1")
    first, second = await page("/twin/vials:v1"), await page("/twin/vials:v2")

    assert "2.75" in first
    assert "2.75" not in second
    assert "no data" in second  # the same tags of tank-1, beside it, have data all the time
    assert "2.75" not in await page("/twin/tank-1")


async def test_the_history_of_alarms_has_instances_of_fleets(page, web):
    for _ in range(3):
        now = web.runner.clock.now()
        await web.runner.submit(Sample("Tank.Out", 2.75, "", now, now), "vials:v1")
        await web.runner.submit(Tick(web.runner.clock.now()), "vials:v1")

    assert "vials:v1" in await page("/alarms/history?alarm=strong")
    assert "strong" in await page("/alarms/performance")


async def test_the_overview_has_fleets(page):
    assert "/fleets?fleet=vials" in await page("/")


async def test_a_file_of_a_form_is_chosen_by_a_named_button(page):
    text = await page("/services/data/plan_import")

    assert "Choose mapping" in text
    assert "or name a database" in text


async def test_a_replay_begins_with_the_record_where_more_is_asked_for(page, web):
    start = to_iso(T0 - 600 * SECOND)
    stop = to_iso(web.runner.clock.now())

    text = await page(f"/twin/tank-1?replay={start}/{stop}")

    assert "REPLAY" in text
    assert shown.stamp(T0 - 600 * SECOND) not in text


async def test_a_patient_has_a_page_of_doses_levels_and_advice(page):
    text = await page("/twin/bed-7")

    for words in ("Decision support, not a prescription.", "Advise a dose", "Dose [mg]"):
        assert words in text, words
    assert "Advise a dose" not in await page("/twin/tank-1")
