"""The ledger as a Merkle log with signed heads: proofs, publication, and what verify says."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import stat

import pytest

from galenic.clock import SECOND
from galenic.errors import DataError, StorageError
from galenic.records import Head, open_site
from galenic.records.merkle import is_consistent, is_included, leaf_hash, root_over
from galenic.records.places import DATABASE
from galenic.records.signing import ENTRIES, EVERY, KEY_FILE, SignedHead, read_heads
from galenic.signals import Record, Sample


def write(store, count=1, first=0):
    with store.transaction() as tx:
        for number in range(first, first + count):
            tx.ledger(Record("level", number, "line", {"number": number}, "ann", "test"))


def bodies(store):
    with store._reading() as connection:
        rows = connection.execute("SELECT body FROM ledger ORDER BY number").fetchall()
    return [body for (body,) in rows]


@pytest.fixture
def long(site):
    """201 entries, with nodes up to level 7, written in batches that fit no subtree."""
    for batch in range(8):
        write(site, 25, batch * 25)
    return site


def test_the_root_is_that_of_all_entries(long):
    leaves = [leaf_hash(body) for body in bodies(long)]

    assert root_over(leaves).hex() == long.head().root
    long.close()
    with open_site(long.folder) as again:
        assert root_over(leaves).hex() == again.head().root
        write(again)
        assert root_over([leaf_hash(body) for body in bodies(again)]).hex() == again.head().root
        assert again.verify().ok


def test_every_entry_is_proved_to_be_in_the_log_and_no_other_is(long):
    entries, size = bodies(long), 201
    root = bytes.fromhex(long.head().root)

    for index in (0, 1, 63, 64, 127, 128, 191, 192, 200):
        proof = long.inclusion(index, size)
        assert is_included(index, size, leaf_hash(entries[index]), proof, root)
        assert not is_included(index, size, leaf_hash(entries[index] + b" "), proof, root)


def test_every_older_state_is_proved_to_be_the_beginning(long):
    leaves = [leaf_hash(body) for body in bodies(long)]
    for first, second in [(1, 201), (63, 64), (64, 201), (65, 200), (128, 201), (200, 201)]:
        roots = root_over(leaves[:first]), root_over(leaves[:second])
        proof = long.consistency(first, second)
        assert is_consistent(first, second, *roots, proof)
        assert not is_consistent(first, second, roots[1], roots[0], proof)


@pytest.mark.parametrize(("inner", "outer"), [(0, 5), (6, 5), (5, 999)])
def test_a_proof_of_what_is_not_there_is_refused(long, inner, outer):
    with pytest.raises(DataError, match="a proof of"):
        long.consistency(inner, outer)


def test_an_older_site_gets_its_tree_when_it_is_upgraded(long, clock):
    head = long.head()
    long.close()
    with sqlite3.connect(long.folder / DATABASE) as connection:
        connection.executescript(
            "DROP TABLE nodes; DROP TABLE heads; DROP TABLE packs; PRAGMA user_version = 1;"
        )
    connection.close()

    with pytest.raises(StorageError, match="schema version 1"):
        open_site(long.folder, readonly=True)
    with open_site(long.folder, clock=clock) as store:
        assert store.verify(head).ok
        assert ["upgrade"] == [entry.kind for entry in store.ledger_read(201)]
        leaves = [leaf_hash(body) for body in bodies(store)]
        assert is_included(7, 202, leaves[7], store.inclusion(7, 202), root_over(leaves))


def test_heads_are_signed_after_a_time_after_many_entries_and_at_the_end(site, clock):
    write(site)
    write(site)
    assert [2] == [head.size for head in site.signed_heads()]
    clock.advance(EVERY)
    write(site)
    write(site, ENTRIES - 1)
    write(site)
    clock.advance(EVERY)
    with site.transaction():
        pass

    assert [2, 4, 4 + ENTRIES] == [head.size for head in site.signed_heads()]
    with site.transaction() as tx:
        tx.journal([Sample("T", 1.0, "K", 1, 1)], 1)
    head = site.head()
    site.close()
    with open_site(site.folder, readonly=True) as store:
        last = store.signed_heads()[-1]
        assert (4, head, True) == (last.number, last.head, last.is_signed)
        assert (4, True) == (store.verify().heads, store.verify(last.head).ok)


def test_a_signature_is_over_every_field(site):
    head = site.sign()
    facts = json.loads(head.line)

    assert head == SignedHead.from_line(head.line + "\n")
    assert head.is_signed
    for name, value in facts.items():
        other = (
            value + 1 if isinstance(value, int) else ("f" if value[0] != "f" else "e") + value[1:]
        )
        assert not SignedHead(**facts | {name: other}).is_signed
    for text in (head.line + " x", head.line.replace(",", ", "), "{}", "[]"):
        with pytest.raises(DataError, match="no signed head"):
            SignedHead.from_line(text)


def test_the_key_is_for_its_owner_alone_and_a_new_one_is_entered(site):
    path = site.folder / KEY_FILE
    first = site.sign().key
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert first == next(site.ledger_read()).detail["key"]
    site.close()
    path.unlink()

    with open_site(site.folder) as store:
        write(store)
        second = store.sign().key
        (entry,) = store.ledger_read(kinds=["key"])
        assert {"key": second, "before": first} == entry.detail
        assert second != first and store.verify().ok
    path.write_bytes(b"no key")
    with pytest.raises(StorageError, match="signing key cannot be read"):
        open_site(site.folder)


def change(folder, statement, *values):
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.execute(statement, values)
    connection.close()


def first_bad(folder, head=None):
    with open_site(folder, readonly=True) as store:
        return store.verify(head).first_bad


@pytest.fixture
def closed(long):
    long.close()
    return long.folder


def test_a_changed_head_is_named(closed):
    with open_site(closed, readonly=True) as store:
        lines = [head.line for head in store.signed_heads()]
    for number, line in enumerate(lines, 1):
        for position in range(5, len(line), 97):
            changed = line[:position] + chr(ord(line[position]) ^ 1) + line[position + 1 :]
            change(closed, "UPDATE heads SET line = ? WHERE number = ?", changed, number)
            bad = first_bad(closed)
            assert ("head", f"signed head {number}") == (bad.part, bad.place)
        change(closed, "UPDATE heads SET line = ? WHERE number = ?", line, number)
    assert first_bad(closed) is None


def test_a_missing_head_is_named(closed):
    change(closed, "DELETE FROM heads WHERE number = 1")

    assert "signed head 2" == first_bad(closed).place


def test_a_head_of_a_key_that_the_ledger_does_not_name_is_refused(closed, tmp_path):
    shutil.copytree(closed, tmp_path / "other")
    (tmp_path / "other" / KEY_FILE).unlink()
    with open_site(tmp_path / "other") as store:
        write(store)
        forged = store.signed_heads(2)[0]
    change(closed, "INSERT INTO heads VALUES (?, ?)", forged.number, forged.line)

    with open_site(closed, readonly=True) as store:
        reasons = [problem.reason for problem in store.verify().problems]
    assert "is signed with a key that the ledger does not name" in reasons


def test_a_changed_node_of_the_tree_is_named(closed):
    change(closed, "UPDATE nodes SET hash = zeroblob(32) WHERE level = 6 AND position = 1")
    assert "node 1 of level 6" == first_bad(closed).place
    change(closed, "DELETE FROM nodes WHERE level = 6 AND position = 1")
    assert "node 1 of level 6" == first_bad(closed).place
    change(closed, "INSERT INTO nodes VALUES (9, 9, zeroblob(32))")
    assert "node 9 of level 9" in str(open_and_verify(closed))


def open_and_verify(folder):
    with open_site(folder, readonly=True) as store:
        return [problem.place for problem in store.verify().problems]


def test_a_root_alone_finds_another_history(closed):
    with open_site(closed, readonly=True) as store:
        head = store.signed_heads()[-1].head
    wrong = Head(head.index, head.hash, root="0" * 64)

    bad = first_bad(closed, wrong)

    assert ("head", "entries 0 to 200") == (bad.part, bad.place)
    assert "do not give the root the outside head names" == bad.reason


def test_a_rollback_to_an_older_whole_state_needs_a_head_from_outside(long, tmp_path):
    long.sign()
    shutil.copytree(long.folder, tmp_path / "old", ignore=shutil.ignore_patterns("writer.lock"))
    write(long)
    outside = long.sign().head
    long.close()

    with open_site(tmp_path / "old", readonly=True) as store:
        assert store.verify().ok
        assert "no head from outside was given" in store.verify().text
        bad = store.verify(outside).first_bad
    assert ("head", "entry 201") == (bad.part, bad.place)
    assert "the end is cut off: the outside head names entry 201" == bad.reason


def test_heads_are_published_and_what_was_missed_is_caught_up(tmp_path, clock, caplog):
    away, here = tmp_path / "volume" / "heads.jsonl", tmp_path / "site"
    with open_site(here, clock=clock, publish=away) as store:
        write(store)
        assert store.signed_heads() == read_heads(away)
        shutil.rmtree(away.parent)
        away.parent.write_text("a volume that is away")
        with caplog.at_level(logging.WARNING):
            for number in range(3):
                clock.advance(EVERY)
                write(store, first=number)
        assert 1 == len(caplog.records)
        away.parent.unlink()
        clock.advance(EVERY)
        write(store)
        assert 5 == len(store.signed_heads())
        assert store.signed_heads() == read_heads(away)
        text = away.read_text()
        away.write_text(text[:-30])  # the machine died while it wrote the last line
        clock.advance(EVERY)
        write(store)

    with open_site(here, readonly=True) as store:
        assert store.signed_heads() == read_heads(away)
    away.write_text(away.read_text().replace(':5,"offset"', ':6,"offset"'))
    with pytest.raises(DataError, match="signature of a head does not fit") as caught:
        read_heads(away)
    assert f"{away}:5" == caught.value.where


def test_a_published_head_is_as_good_as_its_text(site, clock):
    write(site, 3)
    head = site.sign()
    clock.advance(10 * SECOND)
    write(site)

    assert site.verify(head.head).ok
    assert site.verify([one.head for one in site.signed_heads()]).ok
    assert head.head == Head.from_text(head.head.text)


def test_the_command_takes_the_file_of_published_heads(tmp_path, capsys):
    from galenic.app.cli import main

    away, site = tmp_path / "heads.jsonl", tmp_path / "site"
    with open_site(site, publish=away) as store:
        write(store, 3)
        whole = store.folder.parent / "whole"
        shutil.copytree(site, whole, ignore=shutil.ignore_patterns("writer.lock"))
        write(store, 3)

    assert 0 == main(["verify", str(site), "--head", str(away)])
    assert "compared with the outside head at entry 6" in capsys.readouterr().out
    assert 0 == main(["verify", str(whole)])
    assert 1 == main(["verify", str(whole), "--head", str(away)])
    assert "the end is cut off: the outside head names entry 6" in capsys.readouterr().out
    assert 2 == main(["verify", str(site), "--head", "nonsense:x"])
