"""A site is backed up, brought back, bundled, archived and moved from the command line."""

from __future__ import annotations

import json

import pytest

from galenic.app.cli import main
from galenic.clock import SECOND
from galenic.records import open_site
from galenic.signals import Sample

HOUR = 3600 * SECOND


@pytest.fixture
def site(tmp_path):
    """The folder of a site with one sealed hour of history."""
    folder = tmp_path / "site"
    with open_site(folder, name="line") as store:
        with store.transaction() as tx:
            tx.take([Sample("T", n / 10, "kg", n * SECOND, n) for n in range(100)], 1)
        store.seal(HOUR, HOUR)
    return folder


@pytest.fixture
def galenic(capsys):
    """Run a command; its exit code is asserted, its output given."""

    def run(*words, code=0):
        assert main([str(word) for word in words]) == code
        return capsys.readouterr()

    return run


@pytest.fixture
def document(galenic):
    """Run a command with --json; its one document is given."""
    return lambda *words, code=0: json.loads(galenic(*words, "--json", code=code).out)


def rows(folder):
    with open_site(folder, readonly=True) as store:
        return store.history("T", 0, HOUR).to_pylist()


def test_a_backup_comes_back_with_every_row(galenic, document, site, tmp_path):
    made = document("backup", site, "--to", tmp_path / "copy")
    head = galenic("backup", site, "--to", tmp_path / "again").out.split("elsewhere: ")[1].strip()

    found = document(
        "restore",
        tmp_path / "again",
        "--to",
        tmp_path / "back",
        "--head",
        head,
        "--reason",
        "drill",
    )
    told = galenic("restore", tmp_path / "copy", "--to", tmp_path / "other").out

    assert (made["has_key"], len(made["files"]) > 1) == (False, True)
    assert found["head"] == made["head"] or found["head"]["index"] > made["head"]["index"]
    assert "no head from outside was given" in told
    assert rows(tmp_path / "back") == rows(tmp_path / "other") == rows(site)
    assert galenic("verify", tmp_path / "back").out.startswith("intact")


def test_a_changed_backup_is_refused_and_nothing_put_in_place(galenic, document, site, tmp_path):
    galenic("backup", site, "--to", tmp_path / "copy")
    name = next(p for p in sorted((tmp_path / "copy").rglob("*.parquet")))
    name.write_bytes(name.read_bytes()[:-1] + b"?")

    said = document("restore", tmp_path / "copy", "--to", tmp_path / "back", code=1)

    assert name.name in said["where"]
    assert not (tmp_path / "back").exists()


def test_nothing_is_overwritten_and_what_is_not_there_is_named(galenic, document, site, tmp_path):
    galenic("backup", site, "--to", tmp_path / "copy")

    assert "already" in document("backup", site, "--to", tmp_path / "copy", code=1)["found"]
    assert "already" in document("restore", tmp_path / "copy", "--to", site, code=1)["found"]
    assert "no backup" in document("restore", site, "--to", tmp_path / "x", code=1)["found"]
    for command in ("backup", "bundle", "archive", "move", "verify"):
        to = () if command == "verify" else ("--to", tmp_path / "new")
        assert "nosite" in document(command, tmp_path / "nosite", *to, code=2)["found"]
        assert document(command, *to, code=2)["found"] == "which site is meant?"
        if to:
            assert "--to" in galenic(command, site, code=2).err


def test_a_bundle_lists_its_files(galenic, document, site, tmp_path):
    listed = document("bundle", site, "--to", tmp_path / "json")["files"]
    told = galenic("bundle", site, "--to", tmp_path / "told").out

    assert told.startswith(f"{len(listed)} files in ")
    assert all((tmp_path / "json" / one["name"]).exists() for one in listed)


def test_history_is_archived_between_two_times(galenic, document, site, tmp_path):
    (one,) = document("archive", site, "--to", tmp_path / "all")
    late = document("archive", site, "--to", tmp_path / "none", "--start", "2030-01-01T00:00:00Z")
    told = galenic("archive", site, "--to", tmp_path / "told").out

    assert (tmp_path / "all" / one["name"]).exists()
    assert late == []
    assert one["name"] in told
    assert "soon" in document("archive", site, "--to", tmp_path / "w", "--start", "soon", code=1)[
        "found"
    ]  # fmt: skip


def test_a_site_is_not_moved_to_a_store_that_is_none(document, site):
    before = rows(site)

    document("move", site, "--to", "mysql://x/y", code=1)

    assert rows(site) == before


def test_a_head_that_is_none_is_a_wrong_command(galenic, document, site, tmp_path):
    galenic("backup", site, "--to", tmp_path / "copy")

    restore = ("restore", tmp_path / "copy", "--to", tmp_path / "back", "--head", "soon")
    for command in (restore, ("verify", site, "--head", "soon")):
        assert "not a head" in document(*command, code=2)["found"]
        assert "expected: index:hash" in galenic(*command, code=2).err
    assert not (tmp_path / "back").exists()


def test_replay_of_records_without_a_twin_says_so(galenic, document, site):
    assert document("replay", site, code=1)["found"] == "the store has no twins"
    assert "tolerance" in galenic("replay", site, "--tolerance", "-1", code=2).err
