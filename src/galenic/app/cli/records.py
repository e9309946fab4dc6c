"""Commands about a site's records: verify and replay."""

from __future__ import annotations

from typing import Any

import click

from galenic.app.cli.derive import JSON, chosen
from galenic.twin.arguments import ArgumentError


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
        outside = _head(head) if head else None
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
            click.Option(["--head"], metavar="TEXT", help="A head kept outside, to compare with."),
            JSON,
        ],
        callback=callback,
        help="Recompute everything that a site's ledger vouches for, and name what was changed.",
    )


def replay() -> click.Command:
    """The command ``galenic replay``."""

    def callback(
        project_file: str, recompute: bool, tolerance: float, site: str | None, **options: Any
    ) -> int:
        from galenic.app.cli import FAILED, OK
        from galenic.app.cli.terminal import show_json
        from galenic.records import open_site
        from galenic.twin.project import read_project
        from galenic.twin.replay import replay as replayed

        project = read_project(project_file)
        store = open_site(site or project.site.folder, readonly=True)
        try:
            found = replayed(store, project, recompute=recompute, tolerance=tolerance)
        finally:
            store.close()
        ok = all(one.ok for one in found)
        if chosen(options)["json"]:
            show_json({"ok": ok, "twins": [one.to_dict() for one in found]})
        else:
            for one in found:
                verdict = "the same" if one.ok else "NOT the same"
                click.echo(f"{one.twin}: {one.events} events, {one.decisions} decisions: {verdict}")
                for difference in one.differences:
                    click.echo(f"  {difference}")
        return OK if ok else FAILED

    return click.Command(
        "replay",
        params=[
            click.Argument(["project_file"], metavar="PROJECT.toml"),
            click.Option(["--site"], metavar="FOLDER", help="Other records than the project's."),
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
        help="Feed the recorded journal through fresh twins; they must decide the same again.",
    )


def _head(text: str) -> Any:
    from galenic.records import Head

    try:
        return Head.from_text(text)
    except ValueError as error:
        raise ArgumentError(
            f"{text!r} is not a head", where="--head", expected="index:hash:offset:journal"
        ) from error
