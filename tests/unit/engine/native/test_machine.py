"""Machine code on disk: found again, rebuilt where damaged, never half written."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from galenic.engine.native import Problem, compile_kernel, kernel, machine

from ..systems import two_compartment
from .problems import target_mediated


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GALENIC_CACHE", str(tmp_path))
    monkeypatch.setattr(kernel, "_loaded", type(kernel._loaded)())
    return tmp_path / "kernels"


def forget(monkeypatch):
    monkeypatch.setattr(kernel, "_loaded", type(kernel._loaded)())


def values(made, case):
    return made.run(case.theta, case.times, case.events(len(case.theta))).values


def test_a_second_process_finds_the_code(folder, monkeypatch):
    case = target_mediated(3)
    first = compile_kernel(case.problem)
    forget(monkeypatch)
    second = compile_kernel(target_mediated(3).problem)

    assert not first.warm
    assert second.warm
    assert first.digest == second.digest
    np.testing.assert_array_equal(values(first, case), values(second, case))
    assert [path.name for path in folder.iterdir()] == [f"{first.digest}.kernel"]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_damaged_entries_are_built_again(folder, monkeypatch, damage):
    case = target_mediated(3)
    first = compile_kernel(case.problem)
    path = folder / f"{first.digest}.kernel"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "cut": whole[:middle],
            "flip": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "empty": b"",
            "other": b"something else",
        }[damage]
    )
    forget(monkeypatch)

    again = compile_kernel(case.problem)

    assert not again.warm
    assert path.read_bytes() == whole
    np.testing.assert_array_equal(values(first, case), values(again, case))


def test_what_the_code_depends_on_is_in_its_key(folder):
    case = target_mediated(1)
    keys = {
        compile_kernel(case.problem, method, lanes=lanes).digest
        for method, lanes in (("rodas5p", 4), ("rodas5p", 8), ("rodas4", 4))
    }

    assert len(keys) == 3


def test_many_writers_leave_one_sound_entry(folder):
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda i: machine.remember("key", "facts", bytes(1000)), range(40)))

    assert all(kept)
    assert machine.recall("key") == ("facts", bytes(1000))
    assert len(list(folder.iterdir())) == 1


def test_without_a_folder_the_code_is_made_all_the_same(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("not a folder")
    monkeypatch.setenv("GALENIC_CACHE", str(file))
    forget(monkeypatch)

    made = compile_kernel(target_mediated(1).problem)

    assert not made.warm
    assert np.isfinite(values(made, target_mediated(2))).all()


def test_the_folder_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.delenv("GALENIC_CACHE", raising=False)
    monkeypatch.setattr(machine.Path, "home", lambda: tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)

    found = {}
    for name in ("linux", "darwin", "win32"):
        monkeypatch.setattr(machine.sys, "platform", name)
        found[name] = machine.folder().relative_to(tmp_path).parts[:2]

    assert found["linux"] == (".cache", "galenic")
    assert found["darwin"] == ("Library", "Caches")
    assert found["win32"] == ("AppData", "Local")


def test_a_problem_travels_as_bytes(folder):
    import pickle

    system = two_compartment()
    problem = Problem.of_system(system, ["C"], ramped=["infusion"], infused=["central"])
    copy = pickle.loads(pickle.dumps(problem))

    assert copy.layout == problem.layout
    first, second = compile_kernel(problem), compile_kernel(copy)
    theta, begin = [problem.defaults] * 2, [[1.0, 2.0, 0.5]] * 2
    np.testing.assert_array_equal(
        first.run(theta, [60.0, 3600.0], states=begin).values,
        second.run(theta, [60.0, 3600.0], states=begin).values,
    )


def test_importing_the_package_loads_no_compiler():
    code = (
        "import sys, galenic.engine.native; "
        "sys.exit(any(name in sys.modules for name in ('llvmlite', 'casadi')))"
    )

    assert subprocess.run([sys.executable, "-c", code], env=os.environ.copy()).returncode == 0
