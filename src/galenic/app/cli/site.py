"""Where a command line call goes: to the running server of a site, or to a session here."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.errors import DataError
from galenic.twin.arguments import ArgumentError

if TYPE_CHECKING:
    from galenic.twin.result import Result

Report = Callable[[float, str], None]
Call = Callable[[str, Mapping[str, Any], Report], "Result"]


def site_folder(project: str) -> Path:
    """The folder of records of a project file, or the folder itself."""
    path = Path(project)
    if path.is_dir():
        return path
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArgumentError(
            f"cannot read project {project!r}: {error.strerror}",
            expected="a project file (.toml), or the folder of a site",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"the project is not TOML: {error}", where=project) from error
    folder = settings.get("site", {}).get("folder", "site")
    return path.parent / str(folder)


@contextmanager
def door(
    project: str | None,
    models: Sequence[str] = (),
    *,
    here: bool = False,
    writing: bool = False,
) -> Iterator[Call]:
    """A function that calls services: through the server where one runs, else in this process.

    ``here`` keeps the call in this process, because it needs files of models. ``writing`` opens the
    records for a service that changes them, where no server runs that would do it.
    """
    from galenic.app.client import Client

    folder = site_folder(project) if project else None
    client = Client.running(folder) if folder is not None and not here else None
    if client is not None:
        with client:
            yield client.call
        return
    with _local(folder, models, writing) as call:
        yield call


@contextmanager
def _local(folder: Path | None, models: Sequence[str], writing: bool) -> Iterator[Call]:
    from galenic.app.permissions import local_caller
    from galenic.app.session import Session

    store = None
    if folder is not None:
        from galenic.records import open_site

        store = open_site(folder, readonly=not writing) if folder.is_dir() else None
    session = Session(store, models=models)

    def call(name: str, arguments: Mapping[str, Any], report: Report) -> Result:
        return session.call(name, arguments, local_caller("cli"), report=report).outcome()

    try:
        yield call
    finally:
        session.close()
        if store is not None:
            store.close()
