"""A store of a known site with a clock that is moved by hand."""

from __future__ import annotations

import pytest

from galenic.clock import ManualClock
from galenic.records import open_site


@pytest.fixture
def clock():
    return ManualClock(1_000_000_000_000_000_000)


@pytest.fixture
def site(tmp_path, clock):
    with open_site(tmp_path / "site", name="Test", site="site-1", clock=clock) as store:
        yield store
