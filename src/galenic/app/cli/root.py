"""The root command: names every command without importing what it does."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from galenic.app.cli.derive import JSON, StageGroup, Suggesting, model_options
from galenic.app.index import entries

COMMANDS = {
    "run": ("Run a project: plant, twin and control room.", "live"),
    "plant": ("Run a virtual plant behind an OPC UA server.", "live"),
    "shadow": ("Run a twin over a recorded file at full speed.", "live"),
    "models": ("List models, or show the card of one.", "science"),
    "check": ("Check the structure and units of a model.", "science"),
    "simulate": ("Simulate a model.", "science"),
    "services": ("List all services, or show the arguments of one.", "science"),
    "verify": ("Recompute a site's records and name what was changed.", "records"),
    "bundle": ("Copy a site's records for an auditor without galenic.", "records"),
    "backup": ("Back up a site's records while it runs.", "safety"),
    "restore": ("Bring a backup back as a new site folder, and prove it.", "safety"),
    "archive": ("Copy a site's history as Parquet for other programs.", "safety"),
    "move": ("Move a site's records to another store, and prove it.", "records"),
    "replay": ("Feed a site's journal through its twins again.", "records"),
    "sign-in": ("Sign in at a running site, for the commands that follow.", "access"),
    "sign-out": ("End the sign-in of this command line.", "access"),
    "people": ("List people, or add, change and unlock them.", "access"),
    "tokens": ("List API tokens, or make and revoke them.", "access"),
    "sign": ("Sign a record.", "signing"),
    "signatures": ("Show a record with its signatures.", "signing"),
    "request": ("Ask for a call that needs signatures.", "signing"),
    "requests": ("List the calls that wait for signatures, or sign one.", "signing"),
    "version": ("Show the version and what it runs on.", "science"),
}


class Root(Suggesting):
    """``galenic``: the commands above, and one group for each stage of services."""

    def stages(self) -> list[str]:
        """Stages that have services and no command of their own name."""
        return sorted({entry.stage for entry in entries().values()} - set(COMMANDS))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *self.stages()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            module = import_module(f"galenic.app.cli.{COMMANDS[name][1]}")
            made: click.Command = getattr(module, name.replace("-", "_"))()
            return made
        if name in self.stages():
            return StageGroup(name, help=f"Services of the stage {name}.")
        return None

    def format_commands(self, ctx: click.Context, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (text, _) in COMMANDS.items()])
        rows = []
        for stage in self.stages():
            own = [e.name.replace("_", "-") for e in entries().values() if e.stage == stage]
            rows.append((stage, ", ".join(own)))
        if rows:
            with formatter.section("Stages and their services"):
                formatter.write_dl(rows)


root = Root(
    "galenic",
    help="Digital twins over the whole life of a medicine.",
    epilog="Every command takes --help and --json. Start with: galenic run PROJECT.toml",
    no_args_is_help=True,
    params=[JSON, *model_options()],
    callback=lambda **options: None,  # commands read these with derive.chosen
)
