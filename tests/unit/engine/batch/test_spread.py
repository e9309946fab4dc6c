"""Blocks over workers: the bits of one machine, and nothing lost with a worker."""

from __future__ import annotations

import contextlib
import os
import signal
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from distributed import Client, LocalCluster
from numpy.testing import assert_array_equal

from galenic.engine import Experiment, Simulator
from galenic.engine.batch import spread
from galenic.engine.batch.plan import LARGEST, SMALLEST, rows_of_block
from galenic.engine.batch.summaries import Moments
from galenic.errors import DataError

from ..systems import two_compartment

TABLE = {"CL": np.linspace(2.0, 9.0, 400), "V1": np.linspace(30.0, 10.0, 400)}
DOSES = Experiment().dose("depot", "100 mg", every="8 h", count=3)


def run(**settings):
    return Simulator(two_compartment()).run_many(
        DOSES, TABLE, ["C"], until="24 h", every="4 h", summaries=[Moments()], **settings
    )


@pytest.fixture(scope="module")
def alone():
    return run(workers=1)


class Lossy(Executor):
    """Solves in the calling thread, but every third block is lost; broken after ``life`` blocks."""

    def __init__(self, life=10**9):
        self.calls, self.life = 0, life

    def submit(self, function, /, *arguments, **named):
        self.calls += 1
        if self.calls > self.life:
            raise RuntimeError("the pool is broken")
        future = Future()
        if self.calls % 3 == 0:
            future.set_exception(ConnectionError("the worker is gone"))
        else:
            future.set_result(function(*arguments, **named))
        return future


class Backward(Executor):
    """Keeps a task until the next has come, and answers that one first."""

    def __init__(self):
        self.held = []
        self._max_workers = 2

    def submit(self, function, /, *arguments, **named):
        future = Future()
        self.held.append((future, function, arguments))
        if len(self.held) == 2 or arguments[1][-1].index == 12:
            for late, task, given in reversed(self.held):
                late.set_result(task(*given))
            self.held.clear()
        return future


def same(result, alone):
    assert_array_equal(result.values, alone.values)
    assert result.summaries["moments"].identical(alone.summaries["moments"])
    assert_array_equal(result.accepted, alone.accepted)


def test_threads_give_the_bits_of_one(alone):
    same(run(workers=3), alone)
    with ThreadPoolExecutor(2) as pool:
        same(run(executor=pool), alone)


@pytest.fixture(params=[1, 16], ids=["several blocks per task", "one block per task"])
def tasks(request, monkeypatch):
    monkeypatch.setattr(spread, "TASKS", request.param)
    return request.param


@pytest.mark.usefixtures("tasks")
def test_answers_may_come_in_any_order(alone):
    same(run(executor=Backward()), alone)


@pytest.mark.usefixtures("tasks")
def test_a_lost_block_is_done_again(alone):
    result = run(executor=Lossy())

    same(result, alone)
    assert result.record.redone > 0


def test_many_blocks_go_out_in_fewer_tasks(alone, monkeypatch):
    monkeypatch.setattr(spread, "TASKS", 1)
    pool = Lossy()
    pool._max_workers = 1

    same(run(executor=pool), alone)
    # 13 blocks by fours; every third call is lost and done again
    assert pool.calls == 5


@pytest.mark.usefixtures("tasks")
def test_a_broken_pool_loses_nothing(alone):
    result = run(executor=Lossy(life=4))

    same(result, alone)


def test_what_cannot_submit_is_refused():
    with pytest.raises(DataError, match="cannot run blocks"):
        run(executor=object())


def test_an_error_of_a_summary_is_raised_and_not_tried_again():
    class Wrong(Moments):
        def part(self, values, frame):
            raise ZeroDivisionError("wrong")

    with pytest.raises(ZeroDivisionError):
        Simulator(two_compartment()).run_many(
            None, TABLE, ["C"], until="24 h", every="4 h", summaries=[Wrong()], workers=2
        )


@pytest.mark.parametrize("individuals", [1, 31, 200, 10_000, 1_000_000])
@pytest.mark.parametrize("cells", [1, 169, 10**5])
@pytest.mark.parametrize("states", [1, 201])
def test_blocks_are_small_enough_to_share_and_to_hold(individuals, cells, states):
    rows = rows_of_block(individuals, cells, 1, states)

    assert 1 <= rows <= LARGEST
    assert rows * cells * 8 <= 16e6
    assert rows >= min(SMALLEST, individuals, 16e6 // (8 * cells))


def test_processes_get_the_system_and_give_the_same_bits(alone):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        same(run(executor=pool), alone)


def test_killed_processes_lose_nothing(alone):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:

        def kill(share, text):
            if share > 0:
                for process in (pool._processes or {}).values():
                    process.kill()

        result = run(executor=pool, progress=kill)

    same(result, alone)
    assert result.record.redone > 0


def test_a_dask_cluster_gives_the_same_bits_also_when_a_worker_is_killed(alone):
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        same(run(executor=client), alone)
        first, *_ = client.run(os.getpid).values()

        def kill(share, text):
            if share > 0:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(first, signal.SIGKILL)

        same(run(executor=client, progress=kill), alone)
        assert first not in client.run(os.getpid).values()
