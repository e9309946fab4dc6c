"""Jobs and their states."""

from __future__ import annotations

import itertools

import pytest

from galenic.errors import DataError, UnknownName
from galenic.records import open_site
from galenic.records.jobs import JOB, NEXT, STATES, Jobs


@pytest.fixture
def jobs(site, clock):
    return Jobs(site, clock)


def test_a_job_runs_to_its_result(jobs, clock):
    job = jobs.queue("models.simulate", {"duration": 5}, "ann")
    clock.advance(1)
    jobs.start(job.id)
    jobs.report(job.id, 1.7, "nearly")
    clock.advance(1)
    jobs.done(job.id, "f" * 64)

    found = jobs.get(job.id)
    assert ("done", 1.0, "f" * 64, "nearly") == (
        found.state,
        found.progress,
        found.result,
        found.message,
    )
    assert (1, 2) == (found.started - found.created, found.finished - found.created)
    assert found.is_over


def test_only_the_listed_changes_of_state_are_possible(jobs, site):
    methods = {"running": jobs.start, "done": jobs.done, "cancelled": jobs.cancelled}
    for before, after in itertools.product(STATES, methods):
        job = jobs.queue("s", {}, "ann")
        with site.transaction() as tx:
            tx.put(JOB, job.id, vars(job) | {"state": before})
        if after in NEXT.get(before, ()):
            assert after == methods[after](job.id).state
        else:
            with pytest.raises(DataError, match=f"is {before} and cannot become {after}"):
                methods[after](job.id)


def test_jobs_list_in_the_order_queued(jobs, clock):
    made = []
    for _ in range(4):
        made.append(jobs.queue("s", {}, "ann").id)
        clock.advance(1)
    jobs.failed(made[1], {"error": "DataError"})

    assert made == [job.id for job in jobs.all()]
    assert [made[1]] == [job.id for job in jobs.all("failed")]


def test_open_jobs_of_a_crashed_server_are_interrupted(site, jobs, clock):
    running, queued, done = (jobs.queue("s", {}, "ann").id for _ in range(3))
    jobs.start(running)
    jobs.start(done)
    jobs.done(done)
    site.close()

    with open_site(site.folder, readonly=True) as reader:
        assert "running" == Jobs(reader).get(running).state
    with open_site(site.folder, clock=clock) as again:
        states = [Jobs(again).get(job).state for job in (running, queued, done)]
    assert ["interrupted", "interrupted", "done"] == states


def test_a_job_ends_in_the_transaction_it_is_given(jobs, site):
    job = jobs.queue("s", {}, "ann").id

    with pytest.raises(ZeroDivisionError), site.transaction() as tx:
        jobs.start(job, tx)
        jobs.done(job, tx=tx)
        raise ZeroDivisionError

    assert "queued" == jobs.get(job).state
    with pytest.raises(DataError, match="is queued"):
        jobs.report(job, 0.5)


def test_a_mistyped_job_is_named(jobs):
    with pytest.raises(UnknownName, match="no job 'x'"):
        jobs.get("x")
    with pytest.raises(UnknownName, match="no job 'x'"):
        jobs.start("x")
