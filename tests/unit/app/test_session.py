"""Every call goes through one door: checked, permitted, recorded, and cancellable."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from galenic.app.jobs import ServiceFailed
from galenic.app.permissions import Caller, local_caller
from galenic.app.session import Session
from galenic.errors import DataError, NotPermitted, UnknownName
from galenic.records import open_site
from galenic.records.jobs import Jobs
from galenic.twin.arguments import ArgumentError
from galenic.twin.run import Cancelled

ADA = Caller("Ada", ("engineer",))
EVE = Caller("Eve", ("viewer",), "rest")


@pytest.fixture
def store(tmp_path):
    store = open_site(tmp_path / "site", name="test")
    yield store
    store.close()


@pytest.fixture
def inline(demo, store):
    session = Session(store, services=demo)
    yield session
    session.close()


@pytest.fixture(scope="module")
def pooled(demo, tmp_path_factory):
    store = open_site(tmp_path_factory.mktemp("pooled") / "site", name="test")
    session = Session(store, services=demo, workers=2)
    yield session
    session.close()
    store.close()


def entries(store):
    return [entry for entry in store.ledger_read(kinds=["service"])]


def test_a_call_is_checked_run_and_entered_in_the_ledger(inline, store):
    job = inline.call("demo.add", {"first": "2 kg"}, ADA)

    assert job.outcome()["sum"] == pytest.approx(2001)
    (entry,) = entries(store)
    assert (entry.subject, entry.who) == ("demo.add", "Ada")
    assert entry.detail["outcome"] == "done"
    assert entry.detail["arguments"] == {"first": 2000.0, "second": 1.0}
    assert json.loads(store.artefact(entry.detail["result"]).data)["values"]["sum"]["unit"] == "g"


def test_a_refused_call_is_recorded_and_does_not_run(inline, store):
    with pytest.raises(NotPermitted, match="the role viewer does not allow"):
        inline.call("demo.change", {"to": 1}, EVE)

    (entry,) = entries(store)
    assert entry.detail["outcome"] == "refused"
    assert entry.detail["via"] == "rest"


def test_an_act_is_recorded_before_and_after(inline, store):
    assert inline.call("demo.change", {"to": 1}, ADA).outcome().text == "changed by Ada"

    assert ["accepted", "done"] == [entry.detail["outcome"] for entry in entries(store)]


def test_wrong_arguments_run_nothing(inline, store):
    with pytest.raises(ArgumentError, match="'frist'"):
        inline.call("demo.add", {"frist": 1}, ADA)

    assert entries(store) == []


def test_an_unknown_service_is_suggested(inline):
    with pytest.raises(UnknownName) as caught:
        inline.call("demo.ad", {}, ADA)

    assert "demo.add" in caught.value.hint


def test_only_a_local_caller_may_name_a_path(inline, tmp_path):
    (tmp_path / "data.csv").write_text("12345")
    arguments = {"data": {"path": str(tmp_path / "data.csv")}}

    assert inline.call("demo.size", arguments, local_caller()).outcome()["size"] == 5
    with pytest.raises(NotPermitted, match="names a path"):
        inline.call("demo.size", arguments, ADA)


@pytest.mark.parametrize(("how", "error"), [("data", DataError), ("bug", ServiceFailed)])
def test_a_failing_service_fails_its_job(inline, pooled, how, error):
    for session in (inline, pooled):
        job = session.call("demo.crash", {"how": how}, ADA, wait=120)
        assert job.state == "failed"
        with pytest.raises(error) as caught:
            job.outcome()
        assert caught.value.where


def test_a_process_that_dies_fails_its_job_alone(pooled):
    job = pooled.call("demo.crash", {"how": "die"}, ADA, wait=120)

    with pytest.raises(ServiceFailed, match="ended before its answer"):
        job.outcome()
    assert pooled.call("demo.work", {}, ADA, wait=120).outcome().text == "worked"


def test_a_long_call_is_accepted_at_once_and_reports_progress(pooled, tmp_path):
    job = pooled.call("demo.steps", {"folder": str(tmp_path)}, ADA, wait=0)

    assert job.live  # it cannot end before the last file is there
    for step in (1, 2, 3):
        while job.message != f"step {step}":
            assert not job.wait(0.01)
        assert job.progress == step / 4
        (tmp_path / str(step)).touch()
    assert job.wait(120)
    record = pooled.job(job.id)
    assert record["result"]["text"] == "worked"
    states = [e.detail["outcome"] for e in entries(pooled.store) if e.detail["job"] == job.id]
    assert states == ["accepted", "done"]


def test_a_cancelled_job_is_terminated(pooled):
    job = pooled.call("demo.work", {"duration": "60 s"}, ADA, wait=0.1)
    while job.progress == 0:
        job.wait(0.05)

    with pytest.raises(NotPermitted):
        pooled.cancel(job.id, EVE)
    record = pooled.cancel(job.id, ADA)

    assert record["state"] == "cancelled"
    with pytest.raises(Cancelled):
        job.outcome()


def test_equal_calls_give_equal_numbers_in_any_process(pooled, inline):
    first = inline.call("demo.work", {}, ADA).outcome()
    second = pooled.call("demo.work", {}, ADA, wait=120).outcome()

    assert first["draw"] == second["draw"]
    assert first.tables[0]["pid"] != second.tables[0]["pid"]


def test_a_service_may_start_processes_of_its_own(pooled):
    assert pooled.call("demo.family", {}, ADA, wait=120).outcome()["exit"] == 0


def test_the_processes_of_a_service_end_when_it_is_cancelled(pooled):
    job = pooled.call("demo.family", {"duration": "300 s"}, ADA, wait=0)
    while not job.message:
        assert not job.wait(0.05)
    child = Path("/proc") / job.message / "stat"
    assert child.exists()

    pooled.cancel(job.id, ADA)

    assert job.state == "cancelled"
    for _ in range(600):  # it is told by a signal; nobody may be there to bury it
        if not child.exists() or child.read_text().split()[2] == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child still runs")


def test_made_artefacts_can_be_fetched_by_hash(inline):
    job = inline.call("demo.work", {}, ADA)
    (made,) = job.result.artefacts

    assert inline.artefact(made.hash).data == b"made"


def test_a_restart_marks_running_jobs_interrupted(store):
    job = Jobs(store).queue("demo.work", {}, "Ada")

    session = Session(store)

    assert session.job(job.id)["state"] == "interrupted"
    assert entries(store)[-1].detail == {"outcome": "interrupted", "job": job.id}


def test_a_job_of_the_past_still_has_its_result(pooled):
    job = pooled.call("demo.work", {"duration": "0.5 s"}, ADA, wait=0)
    job.wait(120)

    after_restart = Session(pooled.store)

    assert after_restart.job(job.id)["result"]["text"] == "worked"


def test_without_a_site_a_session_works_in_memory(demo):
    session = Session(services=demo)

    assert session.call("demo.add", {"first": 1}, local_caller()).outcome()["sum"] == 2
    assert len(session.jobs()) == 1


def test_an_unknown_role_is_refused():
    with pytest.raises(UnknownName, match="role 'boss'"):
        Caller("Bob", ("boss",))
