"""Commands that keep records safe: backup, restore and archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from galenic.app.cli.derive import JSON, chosen
from galenic.app.cli.records import head_of, place

SITE = click.Argument(["site"], required=False, metavar="[PROJECT.toml|FOLDER]")


def backup() -> click.Command:
    """The command ``galenic backup``; it works beside a running server."""

    def callback(site: str | None, to: str, with_key: bool, **options: Any) -> int:
        from galenic.app.cli import OK
        from galenic.app.cli.site import site_folder
        from galenic.app.cli.terminal import show_json
        from galenic.records import open_site
        from galenic.records.backup import back_up

        with open_site(site_folder(place(options, site)), readonly=True) as store:
            made = back_up(store, to, with_key=with_key)
        if chosen(options)["json"]:
            show_json(made.to_dict())
        else:
            click.echo(made.text)
        return OK

    return click.Command(
        "backup",
        params=[
            SITE,
            click.Option(["--to"], required=True, metavar="FOLDER", help="A new folder."),
            click.Option(
                ["--with-key"], is_flag=True, help="Copy the signing key too; guard the backup."
            ),
            JSON,
        ],
        callback=callback,
        help="Copy all records of one moment, while the site runs, and check the copy.",
    )


def restore() -> click.Command:
    """The command ``galenic restore``."""

    def callback(source: str, to: str, head: str | None, reason: str, **options: Any) -> int:
        from galenic.app.cli import OK
        from galenic.app.cli.terminal import show_json
        from galenic.app.permissions import local_caller
        from galenic.records.backup import restore as bring_back

        outside = head_of(head) if head else None
        found = bring_back(source, to, head=outside, who=local_caller("cli").name, reason=reason)
        if chosen(options)["json"]:
            show_json(found.to_dict())
        else:
            click.echo(f"restored to {to}: {found.text}")
            click.echo("every file, entry and row was compared with the backup; nothing is missing")
            if outside is None:
                click.echo("no head from outside was given: a changed backup cannot be told")
        return OK

    return click.Command(
        "restore",
        params=[
            click.Argument(["source"], metavar="BACKUP"),
            click.Option(["--to"], required=True, metavar="FOLDER", help="A new folder."),
            click.Option(["--head"], metavar="TEXT", help="The head that was kept elsewhere."),
            click.Option(["--reason"], default="", help="Why, for the ledger."),
            JSON,
        ],
        callback=callback,
        help="Bring a backup back as the folder of a site; nothing is ever overwritten.",
    )


def archive() -> click.Command:
    """The command ``galenic archive``; it works beside a running server."""

    def callback(site: str | None, to: str, start: str, stop: str, **options: Any) -> int:
        from galenic.app.cli import OK
        from galenic.app.cli.site import site_folder
        from galenic.app.cli.terminal import show_json
        from galenic.clock import from_iso
        from galenic.records import open_site
        from galenic.records.shelving import archive as copied

        with open_site(site_folder(place(options, site)), readonly=True) as store:
            files = copied(store, Path(to), from_iso(start), from_iso(stop))
        if chosen(options)["json"]:
            show_json(files)
        else:
            for one in files:
                click.echo(f"{one['name']}  {one['sha256']}")
        return OK

    return click.Command(
        "archive",
        params=[
            SITE,
            click.Option(["--to"], required=True, metavar="FOLDER"),
            click.Option(["--start"], default="1970-01-01T00:00:00Z", show_default=True),
            click.Option(["--stop"], default="2262-01-01T00:00:00Z", show_default=True),
            JSON,
        ],
        callback=callback,
        help="Copy sealed history as Parquet that any program reads; the records stay.",
    )
