"""Commands about models and services, and the version."""

from __future__ import annotations

from typing import Any

import click

from galenic.app.cli.derive import (
    JSON,
    StageGroup,
    call,
    chosen,
    command,
    common_options,
    model_options,
    option,
    parsed,
)
from galenic.app.cli.terminal import show_json
from galenic.app.index import entries, entry


class Models(StageGroup):
    """``galenic models``: the catalogue, the card of one model, or a service of the stage."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        found = super().get_command(ctx, name)
        return found if found is not None or name.startswith("-") else card(name)


def models() -> click.Command:
    """The command ``galenic models``."""

    def catalogue(ctx: click.Context, **choices: Any) -> int:
        if ctx.invoked_subcommand is not None:
            return 0
        return call(entry("models.catalogue"), {}, chosen(choices))

    return Models(
        "models",
        help="List the models, show the card of one (galenic models NAME), or call a service.",
        invoke_without_command=True,
        subcommand_metavar="[NAME | SERVICE] [OPTIONS]",
        callback=click.pass_context(catalogue),
        params=common_options(),
    )


def card(model: str) -> click.Command:
    """The command that shows the card of ``model``."""
    service = entry("models.card")
    options = [option(a) for a in service.arguments if a.name != "model"]

    def callback(**texts: Any) -> int:
        choices = chosen(texts)
        return call(service, parsed(service, {**texts, "model": model}, ()), choices)

    return click.Command(model, params=[*options, *common_options()], callback=callback)


def simulate() -> click.Command:
    """The command ``galenic simulate``: the service models.simulate."""
    return command(entry("models.simulate"), "simulate")


def check() -> click.Command:
    """The command ``galenic check``: one model, or every model of a file."""
    service = entry("models.check")

    def callback(model: str, **options: Any) -> int:
        choices = chosen(options)
        names = _models_of(model)
        choices["models"] = (*choices["models"], *([model] if model not in names else []))
        if len(names) == 1:
            return call(service, {"model": names[0]}, choices)
        return _check_all(service, names, choices)

    return click.Command(
        "check",
        params=[click.Argument(["model"], metavar="MODEL|FILE"), *common_options()],
        callback=callback,
        help=service.description,
    )


def _models_of(model: str) -> list[str]:
    """The name itself, or the names of all models in a file."""
    from galenic.plugins import FILES

    if not model.endswith(FILES):
        return [model]
    from galenic.errors import DataError
    from galenic.twin.run import models_of_file

    found = models_of_file(model)
    if not found:
        raise DataError(f"{model!r} defines no model", expected="a class that inherits Model")
    return [entry.name for entry in found.values()]


def _check_all(service: Any, names: list[str], choices: dict[str, Any]) -> int:
    from galenic.app.cli import FAILED, OK
    from galenic.app.cli.site import door
    from galenic.app.cli.terminal import show

    with door(choices["project"], choices["models"]) as session:
        results = {
            name: session(service.full_name, {"model": name}, lambda fraction, text: None)
            for name in names
        }
    ok = all(result.ok for result in results.values())
    if choices["json"]:
        show_json({"ok": ok, "models": {name: r.to_dict() for name, r in results.items()}})
    else:
        for name, result in results.items():
            click.echo(f"== {name}")
            show(result)
    return OK if ok else FAILED


def services() -> click.Command:
    """The command ``galenic services``."""

    def callback(name: str | None, **options: Any) -> int:
        json = chosen(options)["json"]
        if name is None:
            found = [one.summary() for one in entries().values()]
            if json:
                show_json(found)
            else:
                _print(["stage", "service", "what", "effect", "role"], [
                    [one["stage"], one["name"], one["title"], one["effect"], one["role"]]
                    for one in found
                ])  # fmt: skip
            return 0
        one = entry(name.replace(" ", "."))
        if json:
            show_json(one.form())
            return 0
        click.echo(f"{one.full_name}: {one.title}\n\n{one.description}\n")
        rows = [
            [a.name, a.kind.kind, "required" if a.required else str(a.default), a.help]
            for a in one.arguments
        ]
        _print(["argument", "kind", "default", "meaning"], rows)
        return 0

    return click.Command(
        "services",
        params=[
            click.Argument(["name"], required=False, metavar="[STAGE.SERVICE]"),
            JSON,
            *model_options(),
        ],
        callback=callback,
        help="List all services, or show the arguments of one.",
    )


def _print(head: list[str], rows: list[list[str]]) -> None:
    """Columns as wide as they need; nothing heavy is loaded for a list."""
    table = [head, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(head) - 1)]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[-1]]).rstrip())


def version() -> click.Command:
    """The command ``galenic version``."""

    def callback(**options: Any) -> int:
        from galenic.provenance import provenance

        facts = provenance().to_dict()
        if chosen(options)["json"]:
            show_json(facts)
        else:
            for key, value in facts.items():
                text = value if isinstance(value, str) else ", ".join(
                    f"{name} {version}" for name, version in value.items()  # type: ignore[attr-defined]
                )  # fmt: skip
                click.echo(f"{key:10} {text}")
        return 0

    return click.Command(
        "version", params=[JSON], callback=callback, help="Show the version and what it runs on."
    )
