"""A bundle is checked by a program that does not know galenic; whatever is changed is named."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from galenic.clock import ManualClock
from galenic.errors import DataError
from galenic.records import galenic_verify, open_site
from galenic.records.bundle import PROGRAM, write_bundle
from galenic.records.galenic_verify import FORMAT, Verifier, main, outside_heads
from galenic.records.signing import EVERY
from galenic.signals import Record, Sample

SECOND = 10**9
LINES = ("ledger.jsonl", "journal.jsonl", "heads.jsonl")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle of a site with some of everything, and the site's published heads."""
    folder = tmp_path_factory.mktemp("site")
    clock = ManualClock(1_000_000_000_000_000_000)
    away = folder / "heads.jsonl"
    with open_site(folder / "site", name="Test", site="site-1", clock=clock, publish=away) as store:
        for batch in range(6):
            first = batch * 200
            samples = [Sample("T", i / 7, "°C", i * SECOND, i) for i in range(first, first + 200)]
            samples.append(Sample("n", math.nan, "1", batch, batch))
            with store.transaction() as tx:
                tx.applied("line", tx.journal(samples, batch), batch)
                tx.samples(samples)
                tx.ledger(Record("level", batch, "line", {"x": 0.1 + batch}, "ann", 'ü "q"\n'))
            clock.advance(EVERY)
        store.seal(300 * SECOND, 1)
        store.seal_journal(2**62, 1, count=700)
        with store.transaction() as tx:
            tx.artefact(b"report", "text/plain", {"by": "ann", "nan": math.nan}, 2)
            tx.artefact(bytes(range(256)), "x/y", {}, 2)
        manifest = write_bundle(store, folder / "bundle")
        head = store.head()
    return folder / "bundle", manifest, head, away


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "bundle")


def problems(folder, *heads):
    outside = [head for text in heads for head in outside_heads(text)]
    verifier = Verifier(folder, outside)
    verifier.run()
    return verifier.problems


def test_an_untouched_bundle_is_intact_and_says_what_it_does_not_show(made, capsys):
    folder, manifest, head, away = made

    assert 0 == main([str(folder)])
    told = capsys.readouterr().out
    assert "no head from outside was given" in told
    assert f"head: {head.text}" in told
    assert 0 == main([str(folder), "--head", head.text, "--head", str(away), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["counts"] == {
        "entries": head.index + 1,
        "rows": head.offset,
        "heads": len(away.read_text().splitlines()),
        "segments": 1,
        "artefacts": 2,
        "signatures": 0,
    }
    assert ["compared with the outside head at entry " + str(head.index)] == facts["notes"]
    assert (FORMAT, "site-1") == (manifest["format"], manifest["site"])


def test_the_program_in_the_bundle_runs_without_galenic(made, tmp_path):
    """In a directory without the package, with Python's own paths only."""
    code = (
        "import sys, runpy\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('galenic', 'numpy', 'pyarrow', 'duckdb'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(made[0] / PROGRAM), str(made[0])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ("", 0) == (run.stderr, run.returncode)
    assert run.stdout.startswith("intact: ")


def test_signatures_that_cannot_be_checked_are_said_and_the_rest_is_checked(made, monkeypatch):
    monkeypatch.setattr(galenic_verify, "can_check_signatures", lambda: False)

    (one,) = problems(made[0])

    assert "install the package cryptography" in one.reason


def test_the_program_imports_the_standard_library_and_cryptography_only():
    tree = ast.parse(Path(galenic_verify.__file__).read_text(encoding="utf-8"))
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }

    assert names - set(sys.stdlib_module_names) == {"cryptography"}


def place_of(name, data, position):
    """How the place of a byte of a file of lines is called."""
    number = data.count(b"\n", 0, position)
    kind = {"ledger": "entry", "journal": "row", "heads": "signed head"}[name.split(".")[0]]
    named = number if kind == "entry" else number + 1
    return {f"{kind} {named}", f"line {number + 1} of {name}"}


@pytest.mark.parametrize("name", LINES)
def test_one_changed_bit_of_any_line_is_named(copy, name):
    path, rng = copy / name, random.Random(1)
    data = path.read_bytes()
    for position in [0, len(data) - 1, *rng.sample(range(len(data)), 40)]:
        changed = bytearray(data)
        changed[position] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        found = problems(copy)
        assert found[0].place in place_of(name, data, position), found[0]
        assert any(one.part == "manifest" and one.place == name for one in found)


def test_one_changed_bit_of_any_file_is_named(copy, made):
    rng = random.Random(2)
    files = [one["name"] for one in made[1]["files"] if one["name"] not in LINES]
    assert 6 == len(files)
    for name in files:
        data = (copy / name).read_bytes()
        for position in rng.sample(range(len(data)), min(len(data), 8)):
            changed = bytearray(data)
            changed[position] ^= 1 << rng.randrange(8)
            (copy / name).write_bytes(changed)
            assert name == problems(copy)[0].place
        (copy / name).write_bytes(data)
    assert [] == problems(copy)


def test_one_changed_character_of_the_manifest_is_found(copy):
    """White space says nothing; every other character does."""
    path = copy / "manifest.json"
    text = path.read_text()
    for position in range(0, len(text), 13):
        if text[position].isspace():
            continue
        other = "1" if text[position] != "1" else "2"
        path.write_text(text[:position] + other + text[position + 1 :])
        assert "manifest" == problems(copy)[0].part


@pytest.mark.parametrize("name", LINES)
def test_removed_doubled_and_swapped_lines_are_named(copy, name):
    path = copy / name
    lines = path.read_bytes().splitlines(keepends=True)
    at = 3
    for changed in (
        lines[:at] + lines[at + 1 :],
        [*lines[:at], lines[at], *lines[at:]],
        [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
    ):
        path.write_bytes(b"".join(changed))
        first = problems(copy)[0]
        named = {place for n in (at, at + 1) for place in place_of(name, b"\n" * 9, n)}
        assert first.place in named, first


@pytest.mark.parametrize("name", ["segments", "artefacts"])
def test_missing_and_added_files_are_named(copy, name):
    path = next((copy / name).iterdir())
    data = path.read_bytes()
    path.unlink()
    assert (f"{name}/{path.name}", "the file is missing") == problems(copy)[0][1:]
    path.write_bytes(data)
    (copy / name / "other").write_bytes(b"x")
    assert (f"{name}/other", "is in no ledger entry") == problems(copy)[0][1:]


def listed_again(folder):
    """What a forger does who knows the manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for one in manifest["files"]:
        data = (folder / one["name"]).read_bytes()
        one["size"], one["sha256"] = len(data), hashlib.sha256(data).hexdigest()
    path.write_text(json.dumps(manifest))


def test_a_forger_who_chains_the_ledger_anew_meets_the_signed_heads(copy):
    path, previous, lines = copy / "ledger.jsonl", "0" * 64, []
    for number, line in enumerate(path.read_bytes().splitlines()):
        entry = json.loads(line)
        entry.pop("hash")
        entry["previous"] = previous
        if number == 4:
            entry["who"] = "bob"
        previous = hashlib.sha256(galenic_verify.canonical(entry)).hexdigest()
        lines.append(galenic_verify.canonical({**entry, "hash": previous}))
    path.write_bytes(b"\n".join(lines) + b"\n")
    listed_again(copy)

    first = problems(copy)[0]

    assert "head" == first.part
    assert "is not the entry that signed head" in first.reason


def test_a_forger_who_chains_the_journal_anew_meets_the_ledger(copy):
    path, previous, lines = copy / "journal.jsonl", bytes(32), []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        row = json.loads(line)
        if number == 1150:
            row["received"] += 1
        numbers = number.to_bytes(8, "big") + row["received"].to_bytes(8, "big")
        body = row["kind"].encode() + b"\0" + row["body"].encode()
        previous = hashlib.sha256(previous + numbers + body).digest()
        lines.append(galenic_verify.canonical({**row, "hash": previous.hex()}))
    path.write_bytes(b"\n".join(lines) + b"\n")
    listed_again(copy)

    first = problems(copy)[0]

    assert ("journal", "rows 1011 to 1212") == first[:2]
    assert "signed head" in first.reason


def cut(folder, entries, rows, heads):
    """An older state, whole in itself, with a manifest that fits."""
    for name, count in zip(LINES, (entries, rows, heads), strict=True):
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        (folder / name).write_bytes(b"".join(lines[:count]))
    manifest = json.loads((folder / "manifest.json").read_text())
    last = json.loads((folder / "heads.jsonl").read_bytes().splitlines()[-1])
    manifest["head"] = {
        "index": last["size"] - 1,
        **{name: last[name] for name in ("hash", "offset", "journal", "root")},
    }
    for name in ("segments", "artefacts"):
        for path in (folder / name).iterdir():
            path.unlink()
    kept = [one for one in manifest["files"] if (folder / one["name"]).exists()]
    (folder / "manifest.json").write_text(json.dumps({**manifest, "files": kept}))
    listed_again(folder)


def test_a_rollback_to_an_older_whole_state_needs_a_head_from_outside(copy, made, capsys):
    _, _, head, away = made
    signed = [json.loads(line) for line in (copy / "heads.jsonl").read_text().splitlines()]
    cut(copy, signed[2]["size"], signed[2]["offset"], 3)

    assert 0 == main([str(copy)])
    assert "no head from outside was given" in capsys.readouterr().out
    for outside in (head.text, str(away)):
        found = problems(copy, outside)
        assert ("head", f"entry {signed[2]['size']}") == found[0][:2]
        assert "is cut off: the outside head" in found[0].reason


def test_a_head_of_another_site_or_key_is_refused(copy, tmp_path):
    with open_site(tmp_path / "other", site="site-1") as other:
        forged = other.sign()
    lines = (copy / "heads.jsonl").read_bytes().splitlines()
    facts = json.loads(forged.line) | {"number": len(lines) + 1}
    from galenic.records.signing import Signer

    signed = Signer(tmp_path / "other").sign("site-1", len(lines) + 1, 1, forged.head)
    (copy / "heads.jsonl").write_bytes(b"\n".join([*lines, signed.line.encode()]) + b"\n")

    reasons = [problem.reason for problem in problems(copy)]

    assert facts["key"] == signed.key
    assert "is signed with a key that the ledger does not name" in reasons


def test_no_bundle_and_no_head_are_said(tmp_path, made, capsys):
    assert 2 == main([str(tmp_path)])
    assert "no bundle" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(made[0]), "--head", "nonsense:x"])
    bad = tmp_path / "heads.jsonl"
    bad.write_text("{}\n")
    with pytest.raises(SystemExit, match="no signed head"):
        main([str(made[0]), "--head", str(bad)])


def test_a_bundle_is_written_to_a_new_folder_only(made, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with open_site(made[0].parent / "site", readonly=True) as store:
        with pytest.raises(DataError, match="something already"):
            write_bundle(store, tmp_path / "there")
        write_bundle(store, tmp_path / "new")

    assert [] == problems(tmp_path / "new")


def test_the_command_writes_a_bundle(made, tmp_path, capsys):
    from galenic.app.cli import main as command

    site = str(made[0].parent / "site")
    assert 0 == command(["bundle", site, "--to", str(tmp_path / "b")])

    assert "galenic_verify.py" in capsys.readouterr().out
    assert 0 == main([str(tmp_path / "b")])


def test_records_in_postgres_give_a_bundle_too(postgres, tmp_path):
    with open_site(tmp_path / "site", store=postgres) as store:
        samples = [Sample("T", float(i), "K", i, i) for i in range(50)]
        with store.transaction() as tx:
            tx.journal(samples, 1)
            tx.samples(samples)
            tx.artefact(b"report", "text/plain", {}, 2)
        store.seal(30, 1)
        write_bundle(store, tmp_path / "bundle")

    assert [] == problems(tmp_path / "bundle")
