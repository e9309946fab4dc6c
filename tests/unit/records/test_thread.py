"""Links between artefacts."""

from __future__ import annotations

import pytest

from galenic.errors import DataError, StorageError
from galenic.identity import content_hash
from galenic.records.thread import Link, impact, link, links_from, links_to, trace

DATA, MODEL, FIT, REPORT = (content_hash(name) for name in ("data", "model", "fit", "report"))


@pytest.fixture
def threaded(site):
    with site.transaction() as tx:
        link(tx, Link(FIT, "made from", DATA, 1, "ann"))
        link(tx, Link(FIT, "made from", MODEL, 1, "ann", {"seed": 3}))
        link(tx, Link(REPORT, "reports", FIT, 2))
    return site


def test_the_way_back_names_every_origin(threaded):
    assert [FIT, *sorted([DATA, MODEL])] == [one.target for one in trace(threaded, REPORT)]
    assert [] == trace(threaded, DATA)
    assert {"seed": 3} == next(
        one.detail for one in links_from(threaded, FIT) if one.target == MODEL
    )


def test_the_way_forward_names_everything_concerned(threaded):
    assert [FIT, REPORT] == impact(threaded, DATA)
    assert [FIT] == [one.source for one in links_to(threaded, MODEL)]


def test_a_link_is_recorded_once(threaded):
    with threaded.transaction() as tx:
        link(tx, Link(FIT, "made from", DATA, 9, "bob"))

    assert 3 == len(list(threaded.ledger_read(kinds=["link"])))
    assert "ann" == links_to(threaded, DATA)[0].who


def test_loops_end(threaded):
    with threaded.transaction() as tx:
        link(tx, Link(DATA, "replaces", REPORT, 3))

    assert 4 == len(trace(threaded, REPORT))
    assert {FIT, REPORT} == set(impact(threaded, DATA))


def test_only_content_hashes_can_be_linked(site):
    with pytest.raises(DataError, match="no artefact"), site.transaction() as tx:
        link(tx, Link("report.pdf", "reports", FIT, 1))
    with pytest.raises(DataError, match="itself"), site.transaction() as tx:
        link(tx, Link(FIT, "reports", FIT, 1))


def test_artefacts_are_checked_when_read(site):
    with site.transaction() as tx:
        digest = tx.artefact(b"table", "text/csv", {"model": MODEL}, 5)
        other = tx.artefact(b"other", "text/csv", {}, 6)
        tx._do("UPDATE artefacts SET data = x'00' WHERE hash = ?", (other,))

    found = site.artefact(digest)
    assert (b"table", "text/csv", 5, {"model": MODEL}) == (
        found.data,
        found.media_type,
        found.created,
        found.provenance,
    )
    assert [digest, other] == site.artefacts()
    with pytest.raises(StorageError, match="damaged"):
        site.artefact(other)
    with pytest.raises(DataError, match="no artefact"):
        site.artefact("0" * 64)
