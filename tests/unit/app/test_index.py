"""The service index is current, complete, and enough to build every surface from."""

from __future__ import annotations

from galenic.app import index
from galenic.twin.arguments import Argument
from galenic.twin.service import EFFECTS, ROLES


def test_the_committed_index_is_current():
    written = index.INDEX.read_text(encoding="utf-8")

    assert written == index.written(), "run: python -m galenic.app.index"


def test_what_the_index_says_is_what_the_services_are():
    for service in index.collect():
        entry = index.entries()[service.full_name]

        assert entry == index.ServiceEntry.of(service)
        assert entry.load() is service


def test_every_service_says_what_it_does_and_what_its_arguments_mean():
    for entry in index.entries().values():
        assert entry.description
        assert entry.effect in EFFECTS
        assert entry.role in ROLES
        for argument in entry.arguments:
            assert isinstance(argument, Argument)
            assert argument.help, f"{entry.full_name}: {argument.name} has no help"


def test_every_form_and_schema_names_every_argument():
    for entry in index.entries().values():
        names = [argument.name for argument in entry.arguments]

        assert [field["name"] for field in entry.form()["fields"]] == names
        assert list(entry.schema()["properties"]) == names
