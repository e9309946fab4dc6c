"""Commands about a site's records: verify, bundle, move and replay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galenic.app.cli.derive import JSON, chosen
from galenic.twin.arguments import ArgumentError

if TYPE_CHECKING:
    from galenic.records import Head
    from galenic.twin.replay import Replayed


def place(options: dict[str, Any], site: str | None) -> str:
    """The project or folder that is meant."""
    where = site or chosen(options).get("project")
    if not where:
        raise ArgumentError(
            "which site is meant?", expected="a project file (.toml), or the folder of a site"
        )
    return str(where)


def verify() -> click.Command:
    """The command ``galenic verify``; it works beside a running server."""

    def callback(site: str | None, head: str | None, **options: Any) -> int:
        from galenic.app.cli import FAILED, OK
        from galenic.app.cli.site import site_folder
        from galenic.app.cli.terminal import show_json
        from galenic.records import open_site

        folder = site_folder(place(options, site))
        outside = _heads(head) if head else None
        store = open_site(folder, readonly=True)
        try:
            report = store.verify(outside)
        finally:
            store.close()
        if chosen(options)["json"]:
            show_json(report.to_dict())
        else:
            click.echo(report.text)
            click.echo(f"head: {report.head.text}")
        return OK if report.ok else FAILED

    return click.Command(
        "verify",
        params=[
            click.Argument(["site"], required=False, metavar="[PROJECT.toml|FOLDER]"),
            click.Option(
                ["--head"],
                metavar="TEXT|FILE",
                help="A head kept outside, or the file of published ones, to compare with.",
            ),
            JSON,
        ],
        callback=callback,
        help="Recompute everything that a site's ledger vouches for, and name what was changed.",
    )


def bundle() -> click.Command:
    """The command ``galenic bundle``; it works beside a running server."""

    def callback(site: str | None, to: str, **options: Any) -> int:
        from galenic.app.cli import OK
        from galenic.app.cli.site import site_folder
        from galenic.app.cli.terminal import show_json
        from galenic.records import open_site
        from galenic.records.bundle import PROGRAM, write_bundle

        with open_site(site_folder(place(options, site)), readonly=True) as store:
            manifest = write_bundle(store, to)
        if chosen(options)["json"]:
            show_json(manifest)
        else:
            click.echo(f"{len(manifest['files'])} files in {to}; check them there with")
            click.echo(f"  python {PROGRAM} . --head HEAD-KEPT-ELSEWHERE")
        return OK

    return click.Command(
        "bundle",
        params=[
            click.Argument(["site"], required=False, metavar="[PROJECT.toml|FOLDER]"),
            click.Option(["--to"], required=True, metavar="FOLDER", help="A new folder."),
            JSON,
        ],
        callback=callback,
        help="Copy a site's records, with a program that checks the copy without galenic.",
    )


def move() -> click.Command:
    """The command ``galenic move``; the site must not be running."""

    def callback(site: str | None, to: str, reason: str, **options: Any) -> int:
        from galenic.app.cli import OK
        from galenic.app.cli.site import site_folder
        from galenic.app.cli.terminal import show_json
        from galenic.app.permissions import local_caller
        from galenic.records.moving import move_site

        folder = site_folder(place(options, site))
        moved = move_site(folder, to, who=local_caller("cli").name, reason=reason)
        if chosen(options)["json"]:
            show_json(moved.to_dict())
        else:
            click.echo(moved.text)
        return OK

    return click.Command(
        "move",
        params=[
            click.Argument(["site"], required=False, metavar="[PROJECT.toml|FOLDER]"),
            click.Option(
                ["--to"],
                required=True,
                metavar="STORE",
                help="embedded, or postgresql://user@host:port/database?schema=name.",
            ),
            click.Option(["--reason"], default="", help="Why, for the ledger."),
            JSON,
        ],
        callback=callback,
        help="Move a stopped site's records to another store, and prove that nothing was lost.",
    )


def replay() -> click.Command:
    """The command ``galenic replay``; it works beside a running server."""

    def callback(project_file: str | None, folder: str | None, **options: Any) -> int:
        from galenic.app.cli import FAILED, OK
        from galenic.app.cli.terminal import show_json

        as_json = chosen(options)["json"]
        found = _replayed(place(options, project_file), folder, options)
        ok = all(one.ok for one in found)
        if as_json:
            show_json({"ok": ok, "twins": [one.to_dict() for one in found]})
        else:
            for one in found:
                for line in _told(one):
                    click.echo(line)
        return OK if ok else FAILED

    return click.Command(
        "replay",
        params=[
            click.Argument(["project_file"], required=False, metavar="[PROJECT.toml|FOLDER]"),
            click.Option(
                ["--site", "folder"], metavar="FOLDER", help="Other records than the project's."
            ),
            click.Option(
                ["--source"], is_flag=True, help="Use the project's definitions as they are now."
            ),
            click.Option(["--recompute"], is_flag=True, help="Solve again too, and compare."),
            click.Option(
                ["--tolerance"],
                type=click.FloatRange(0.0),
                default=1e-6,
                help="Of that comparison, relative and absolute.",
            ),
            JSON,
        ],
        callback=callback,
        help="Feed the journal through fresh twins of the recorded definitions; they must decide "
        "the same again.",
    )


def _replayed(where: str, folder: str | None, options: dict[str, Any]) -> list[Replayed]:
    """Replay the records; the project is only read where its definitions are needed."""
    from galenic.app.cli.site import site_folder
    from galenic.records import open_site
    from galenic.twin.project import read_project
    from galenic.twin.replay import needs_source
    from galenic.twin.replay import replay as replayed

    store = open_site(folder or site_folder(where), readonly=True)
    beside = Path(where) if Path(where).is_dir() else Path(where).parent
    try:
        is_asked = options["source"] or (Path(where).is_file() and needs_source(store))
        return replayed(
            store,
            read_project(where) if is_asked else None,
            source=options["source"],
            recompute=options["recompute"],
            tolerance=options["tolerance"],
            folder=beside,
        )
    finally:
        store.close()


def _told(one: Replayed) -> Iterator[str]:
    """What a person reads of the replay of one life of a twin."""
    verdict = "the same" if one.ok else "NOT the same"
    yield (
        f"{one.twin} since {one.began}: {one.events} events, {one.decisions} decisions: {verdict}"
    )
    if one.definition:
        yield f"  definition: {one.definition}, version {one.version}"
    yield from (f"  {words}" for words in (*one.notes, *one.code))
    if one.code:
        yield "  results may differ: bit equality holds for equal code, processor and libraries"
    yield from (f"  {words}" for words in one.differences)


def _heads(text: str) -> Any:
    """The head that is written there, or the heads in the file that is named."""
    from galenic.records.signing import read_heads

    if Path(text).is_file():
        return [signed.head for signed in read_heads(text)]
    return head_of(text)


def head_of(text: str) -> Head:
    """The head that is written there."""
    from galenic.records import Head

    try:
        return Head.from_text(text)
    except ValueError as error:
        raise ArgumentError(
            f"{text!r} is not a head, and no file of heads",
            where="--head",
            expected="index:hash:offset:journal:root, or, for verify, the file that heads are "
            "published to",
        ) from error
