"""A replay shows what the live page showed, nothing later, and cannot write."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
import pytest_asyncio

from galenic.app.views import frame
from galenic.app.views.playback import PastTwin, Playback
from galenic.app.views.replay_view import address, read_stretch
from galenic.app.views.replaying import Recording, Stretch, messages, record, unpacked
from galenic.clock import SECOND
from galenic.connect.memory import MemoryConnector
from galenic.errors import DataError
from galenic.records import open_site
from galenic.twin.example import TankPlant, tank
from galenic.twin.level import Level
from galenic.twin.pace import PlantClock
from galenic.twin.project import ConnectionSpec, Project, Site, TwinSpec
from galenic.twin.runner import Runner
from galenic.twin.workers import InlineWorkers

pytestmark = pytest.mark.asyncio(loop_scope="module")

T0 = 1_800_000_000 * SECOND
SPEED = 10.0
SPEC = TwinSpec("tank-1", tank(), {}, Level.SHADOW)
START, ENOUGH = T0 + 10 * SECOND, 5  # messages about the twin that a busy machine must get out


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory):
    """Half a minute of a live twin: its records, and what its feed said."""
    folder = tmp_path_factory.mktemp("site")
    clock = PlantClock(SPEED, T0)
    store = open_site(folder, name="Test", clock=clock)
    plant = MemoryConnector(plant=TankPlant(T0), clock=clock, period=1.0, name="plc")
    project = Project(Site("Test", folder), (ConnectionSpec("plc", "memory"),), (SPEC,))
    runner = Runner(
        project,
        store=store,
        clock=clock,
        connectors={"plc": plant},
        workers=InlineWorkers(),
        speed=SPEED,
    )
    said: list[dict] = []

    async def listen(subscription) -> None:
        async for message in subscription:
            said.append(message)

    await runner.start()
    listening = asyncio.create_task(listen(runner.live.subscribe()))
    await clock.sleep_until(T0 + 30 * SECOND)
    while len([time for time in twins(said) if time >= START]) <= ENOUGH:
        await clock.sleep_until(clock.now() + SECOND)
    await runner.stop()
    await listening
    stop = max(START + 15 * SECOND, *twins(said)) // 1000 * 1000  # addresses have microseconds
    stretch = Stretch("tank-1", START, stop)
    yield SimpleNamespace(
        store=store, said=said, folder=folder, twin=runner.twins["tank-1"], stretch=stretch
    )
    store.close()


@pytest.fixture
def stretch(site) -> Stretch:
    return site.stretch


@pytest.fixture
def recording(site, stretch) -> Recording:
    made = Recording(stretch)
    for message in messages(site.store, SPEC, stretch):
        made.take(message)
    made.end()
    return made


@pytest.fixture
def playback(site, recording) -> Playback:
    made = Playback(recording, site.store, list(site.twin.channels))
    made.recall()
    return made


def twins(rows) -> dict[int, dict]:
    return {row["time"]: row for row in rows if row["type"] == "twin"}


async def test_the_estimates_are_bit_for_bit_those_that_were_shown_live(site, recording):
    live = twins(site.said)
    again = twins(unpacked(message) for message in recording.messages)
    both = live.keys() & again.keys()

    assert len(both) >= ENOUGH
    # live, what came between the tick and the message is in it already
    equal = [time for time in both if again[time]["folded"] == live[time]["folded"]]
    assert equal
    assert all(again[time]["folded"] <= live[time]["folded"] for time in both)
    for time in equal:
        assert again[time]["estimates"] == live[time]["estimates"]


async def test_what_was_measured_comes_in_the_order_in_which_it_came(site, recording, stretch):
    rows = [message for message in recording.messages if message["type"] == "samples"]

    assert rows
    assert all(stretch.start <= row["at"] <= stretch.stop for row in rows)
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)


async def test_the_page_never_knows_what_came_later(playback, stretch):
    for second in (0, 4, 9):
        playback.seek(stretch.start + second * SECOND)
        feed = playback.feed
        times = [point[0] for series in feed.measured.values() for point in series]
        times += [point[0] for series in feed.estimated.values() for point in series]

        assert max(times, default=0) <= playback.now()


async def test_going_back_shows_the_same_as_having_played_until_there(
    site, recording, playback, stretch
):
    place = stretch.start + 5 * SECOND
    other = Playback(recording, site.store, list(site.twin.channels))
    other.recall()
    other.seek(place)

    playback.seek(stretch.stop)
    playback.seek(place)

    assert playback.feed.tags == other.feed.tags
    assert playback.feed.estimated == other.feed.estimated
    assert playback.feed.twins == other.feed.twins


async def test_playing_goes_at_the_speed_asked_and_stops_at_the_end(playback, stretch):
    playback.go(5.0)
    playback.play()
    for wall in range(2):
        playback.advance(1.0, float(wall))

    assert playback.cursor == stretch.start + 10 * SECOND
    playback.advance(1000.0, 3.0)
    assert (playback.cursor, playback.playing) == (stretch.stop, False)
    assert playback.words == "end of the stretch"


async def test_a_step_stands_still_at_the_next_place(playback, stretch):
    playback.play()
    playback.step(SECOND)

    assert (playback.cursor - stretch.start, playback.playing) == (SECOND, False)
    playback.step(-5 * SECOND)
    assert playback.cursor == stretch.start


async def test_a_speed_that_cannot_be_held_is_said(recording, stretch):
    slow = Recording(stretch, recording.messages[:1], ready=stretch.start, way=1.0)
    playback = Playback(slow, None, [])
    playback.go(60.0)
    playback.play()
    for wall in range(4):  # the recording gets on by a second per second
        slow.ready = stretch.start + wall * SECOND
        playback.advance(1.0, float(wall))

    assert playback.held == pytest.approx(1.0)
    assert playback.words == "asked for 60×, holding 1×: the stretch is still being made"


async def test_a_replay_can_neither_take_events_nor_call_services(site, playback):
    past = PastTwin(site.twin, playback)
    page = frame.Page(SimpleNamespace(), SimpleNamespace(), "", client=None, is_replay=True)
    complaints: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame, "complain", complaints.append)
        assert await page.call("twins.setpoint", {"twin": "tank-1"}) is None

    assert not hasattr(past, "accept")
    assert "replays a record" in str(complaints[0])


async def test_a_replay_in_its_own_process_leaves_the_records_as_they_are(site, recording, stretch):
    head = site.store.head()
    made = Recording(stretch)
    aside = record(str(site.folder), SPEC, made)

    await asyncio.to_thread(aside.wait, 60)

    assert made.error is None
    assert made.ready == stretch.stop
    assert [m["at"] for m in made.messages] == [m["at"] for m in recording.messages]
    assert site.store.head() == head


async def test_before_the_record_begins_it_says_when_it_does(site):
    early = Stretch("tank-1", T0 - 3600 * SECOND, T0 - 3500 * SECOND)

    with pytest.raises(DataError, match="nothing is recorded of tank-1"):
        list(messages(site.store, SPEC, early))


async def test_without_the_definition_the_measurements_are_still_shown(site, stretch):
    playback = Playback(Recording(stretch), site.store, list(site.twin.channels))
    playback.measured_only()
    playback.seek(stretch.stop)

    assert playback.feed.measured
    assert not playback.feed.estimated


async def test_an_address_names_the_stretch_and_a_wrong_one_says_what_is_expected(stretch):
    assert read_stretch("tank-1", address(stretch).partition("replay=")[2]) == stretch
    for wrong in (
        "yesterday",
        "2026-11-23T08:00:00Z/",
        "2026-11-23T08:00:00Z/2026-11-22T08:00:00Z",
    ):
        with pytest.raises(DataError):
            read_stretch("tank-1", wrong)
