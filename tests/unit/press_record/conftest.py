"""A synthetic record, followed once."""

from __future__ import annotations

from importlib import resources

import pytest

from galenic.connect.files import CsvReader
from galenic.stages.manufacturing.press_record.pursuit import foretell, moments
from galenic.stages.manufacturing.press_record.rows import Rows

from .synthetic import press, write

PLAN = [(5, False), (500, True), (40, False), (400, True), (3, False)]


def read(path):
    mapping = resources.files("galenic.stages.manufacturing.press_record") / "columns.toml"
    with resources.as_file(mapping) as columns:
        return moments(CsvReader(path, columns))


@pytest.fixture(scope="session")
def record(tmp_path_factory):
    return read(write(tmp_path_factory.mktemp("press") / "record.csv", press(PLAN)))


@pytest.fixture(scope="session")
def rows(record):
    return Rows.of(record)


@pytest.fixture(scope="session")
def foretold(record):
    return foretell(record)
