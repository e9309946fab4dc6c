"""Commands derived from services: one option per argument, with the argument's own parser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from galenic.app.index import ServiceEntry, entries
from galenic.twin.arguments import Argument, ArgumentError, Flag, Many, ValuesKind
from galenic.twin.references import ModelKind

if TYPE_CHECKING:
    from galenic.twin.result import Result

ALSO = {
    "duration": "--for",
    "values": "--set",
    "covariates": "--covariate",
}  # what people type for arguments of these names
JSON = click.Option(["--json", "json"], is_flag=True, help="Print one JSON document.")
OUTPUTS = ("json", "plot", "csv", "out", "models", "project")


class Suggesting(click.Group):
    """A group that suggests the command that was probably meant."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            from galenic.errors import UnknownName

            close = UnknownName.among(
                "command", name, self.list_commands(ctx), where=ctx.command_path
            )
            raise ArgumentError(close.found, where=close.where, hint=close.hint)
        return super().resolve_command(ctx, args)


def common_options() -> list[click.Parameter]:
    """The options that every derived command has."""
    return [
        JSON,
        click.Option(["--plot"], metavar="FILE", help="Draw the plots: .png, .svg or .pdf."),
        click.Option(["--csv"], metavar="FILE", help="Write the tables."),
        click.Option(["--out"], metavar="FOLDER", help="Write the files that were made."),
        *model_options(),
    ]


def model_options() -> list[click.Parameter]:
    """Where models and the site come from."""
    return [
        click.Option(
            ["--models"], multiple=True, metavar="FILE", help="Offer the models of a file too."
        ),
        click.Option(
            ["--project"],
            metavar="PROJECT.toml",
            envvar="GALENIC_PROJECT",
            help="The site whose records or twins are meant.",
        ),
    ]


def option(argument: Argument) -> click.Option:
    """The command line option of an argument."""
    names = [f"--{argument.option}"]
    if argument.name in ALSO and ALSO[argument.name] not in names:
        names.append(ALSO[argument.name])
    text = argument.help
    if not argument.required and argument.default not in (None, [], {}, ""):
        text = f"{text} [default: {shown_default(argument)}]".strip()
    if isinstance(argument.kind, Flag):
        flag = f"--{argument.option}/--no-{argument.option}"
        return click.Option([flag, argument.name], default=None, help=text)
    many = isinstance(argument.kind, Many | ValuesKind)
    return click.Option(
        [*names, argument.name], multiple=many, metavar=metavar(argument), help=text
    )


def metavar(argument: Argument) -> str:
    """What stands for the value in the help."""
    facts = argument.kind.facts()
    if facts["kind"] == "many":
        facts = facts["item"]
    if facts["kind"] == "choice":
        return "|".join(facts["options"])
    if facts["kind"] == "values":
        return "NAME=VALUE"
    unit = facts.get("unit", "1")
    return "NUMBER" if unit == "1" and facts["kind"] == "scalar" else {
        "scalar": f"NUMBER[{unit}]", "duration": "TIME"
    }.get(facts["kind"], facts["kind"].upper())  # fmt: skip


def shown_default(argument: Argument) -> str:
    """A default with its unit."""
    unit = argument.kind.facts().get("unit", "1")
    value = argument.default
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if unit == "1" else f"{text} {unit}"


def command(entry: ServiceEntry, name: str = "") -> click.Command:
    """The command of a service. Required arguments may be given without their option's name."""
    required = [a for a in entry.arguments if a.required]
    params: list[click.Parameter] = [option(argument) for argument in entry.arguments]
    if required:
        metavars = " ".join(a.option.upper() for a in required)
        params.append(click.Argument(["given"], nargs=-1, metavar=metavars))

    def callback(given: Sequence[str] = (), **texts: Any) -> int:
        choices = chosen(texts)
        return call(entry, parsed(entry, texts, given), choices)

    return click.Command(
        name or entry.name.replace("_", "-"),
        params=[*params, *common_options()],
        callback=callback,
        help=entry.description or entry.title,
        short_help=entry.title,
    )


def chosen(texts: dict[str, Any]) -> dict[str, Any]:
    """Take the common options out of ``texts``; those given before the command count too."""
    choices = {key: texts.pop(key) for key in OUTPUTS if key in texts}
    above = click.get_current_context().parent
    while above is not None:
        for key in OUTPUTS:
            given = above.params.get(key)
            choices[key] = (*(given or ()), *choices.get(key, ())) if key == "models" else (
                choices.get(key) or given
            )  # fmt: skip
        above = above.parent
    return choices


def parsed(
    entry: ServiceEntry, texts: Mapping[str, Any], positional: Sequence[str]
) -> dict[str, Any]:
    """The texts of a command line as arguments of a service."""
    given = {a.name: texts[a.name] for a in entry.arguments if texts.get(a.name) not in (None, ())}
    free = [a.name for a in entry.arguments if a.required and a.name not in given]
    if len(positional) > len(free):
        extra = positional[len(free)]
        raise ArgumentError(
            f"{extra!r} is one value too many",
            where=entry.full_name,
            hint="options start with --, as in "
            + ", ".join(f"--{a.option}" for a in entry.arguments if not a.required),
        )
    given |= dict(zip(free, positional, strict=False))
    by_name = {a.name: a for a in entry.arguments}
    return {name: _parse(by_name[name], text) for name, text in given.items()}


def _parse(argument: Argument, text: Any) -> Any:
    try:
        if isinstance(text, tuple):
            parts = [argument.kind.parse(part) for part in text]
            if isinstance(argument.kind, ValuesKind):
                return {key: value for part in parts for key, value in part.items()}
            return [item for part in parts for item in part]
        return argument.kind.parse(text) if isinstance(text, str) else text
    except ArgumentError as error:
        raise ArgumentError(
            error.found,
            where=f"--{argument.option}",
            expected=error.expected,
            hint=error.hint,
        ) from error


def call(entry: ServiceEntry, arguments: Mapping[str, Any], choices: Mapping[str, Any]) -> int:
    """Call a service here or through the running server, show the result, write the files."""
    from galenic.app.cli import FAILED, OK
    from galenic.app.cli.site import door
    from galenic.app.cli.terminal import progress, show, show_json, write_outputs

    quiet = choices["json"]
    own = names_file(entry, arguments) or bool(choices["models"])
    acts = entry.effect == "act"
    with door(choices["project"], choices["models"], here=own, writing=acts) as session:
        with progress(entry.title, quiet=quiet) as report:
            result: Result = session(entry.full_name, arguments, report)
    written = write_outputs(result, choices["plot"], choices["csv"], choices["out"])
    if quiet:
        show_json(result.to_dict() | ({"written": written} if written else {}))
    else:
        show(result)
        for path in written:
            click.echo(f"written: {path}")
    return OK if result.ok else FAILED


def names_file(entry: ServiceEntry, arguments: Mapping[str, Any]) -> bool:
    """Whether a model is given by its file: such a call stays here, code does not travel."""
    from galenic.plugins import FILES

    models = [a.name for a in entry.arguments if isinstance(a.kind, ModelKind)]
    given = [str(arguments.get(name, "")) for name in models]
    return any(text.partition(":")[0].endswith(FILES) for text in given)


class StageGroup(Suggesting):
    """The services of one stage."""

    def __init__(self, stage: str, **options: Any) -> None:
        super().__init__(stage, **options)
        self.stage = stage

    def own(self) -> dict[str, ServiceEntry]:
        """The stage's services by command name."""
        found = [entry for entry in entries().values() if entry.stage == self.stage]
        return {entry.name.replace("_", "-"): entry for entry in found}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.own())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        entry = self.own().get(name.replace("_", "-"))
        return None if entry is None else command(entry)
