"""The public list of checks, run over every storage back end we ship."""

from __future__ import annotations

import pytest

from galenic.records import open_site
from galenic.records.check import CHECKS, check_store

STORES = {"embedded": open_site}


@pytest.mark.parametrize("opener", STORES.values(), ids=STORES)
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
