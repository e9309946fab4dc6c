"""The public list of checks, run over every storage back end we ship."""

from __future__ import annotations

from functools import partial

import pytest

from galenic.records import open_site
from galenic.records.check import CHECKS, check_store
from galenic.records.places import EMBEDDED

STORES = [EMBEDDED, "postgres"]


@pytest.fixture
def opener(request):
    kind = request.param
    place = kind if kind == EMBEDDED else request.getfixturevalue(kind)
    return partial(open_site, store=place)


@pytest.mark.parametrize("opener", STORES, indirect=True)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_store_holds_the_contract(opener, check, tmp_path):
    check(opener, tmp_path)


def test_a_broken_store_is_named():
    class Forgetful:
        def close(self): ...

        def transaction(self):
            raise AssertionError("cannot")

    with pytest.raises(AssertionError, match="journal_keeps_what_came_in_order"):
        check_store(lambda folder: Forgetful())
