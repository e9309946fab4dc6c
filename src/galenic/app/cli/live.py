"""Commands that run something: a project, a virtual plant, a twin over a record."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
from typing import Any

import click

from galenic.app.cli.derive import JSON, chosen, model_options

TRY = """what to try, in another terminal:
  galenic twins status {twin} --project {project}
  galenic twins forecast {twin} --project {project}
  galenic verify {project}"""


def run() -> click.Command:
    """The command ``galenic run``."""

    def callback(
        project_file: str, headless: bool, for_: str | None, speed: float, **options: Any
    ) -> int:
        from galenic.app.server import serve
        from galenic.twin.project import read_project

        choices = chosen(options)
        as_json = choices["json"]
        project = read_project(project_file)
        made = _options(headless, for_, speed, choices["models"])
        _log_to_stderr()

        def ready(facts: Any) -> None:
            _announce(facts, project_file, project, speed, sys.stderr if as_json else sys.stdout)

        facts = asyncio.run(serve(project, made, ready))
        if as_json:
            from galenic.app.cli.terminal import show_json
            from galenic.twin.result import plain

            show_json(plain(facts.to_dict()))
        else:
            click.echo("stopped")
        return 0

    return click.Command(
        "run",
        params=[
            click.Argument(["project_file"], metavar="PROJECT.toml"),
            click.Option(["--headless"], is_flag=True, help="REST alone, without pages."),
            click.Option(["--for", "for_"], metavar="TIME", help="Stop after this plant time."),
            click.Option(
                ["--speed"],
                type=click.FloatRange(0.1, 1000.0),
                default=1.0,
                help="Plant time over wall time.",
            ),
            JSON,
            model_options()[0],
        ],
        callback=callback,
        help="Run a project: virtual plant, twins and control room. Ctrl-C stops all.",
    )


def _options(headless: bool, for_: str | None, speed: float, models: Any) -> Any:
    from galenic.app.server import Options
    from galenic.twin.arguments import Argument, DurationKind

    duration = None
    if for_ is not None:
        duration = Argument("for", DurationKind(lower=1.0)).check(for_)
    pages = None
    if not headless and importlib.util.find_spec("galenic.app.views") is not None:
        pages = importlib.import_module("galenic.app.views").mount
    return Options(speed, duration, tuple(models or ()), pages)


def _log_to_stderr() -> None:
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("asyncua").setLevel(logging.ERROR)  # it logs each reconnect at length


def _announce(facts: Any, path: str, project: Any, speed: float, stream: Any) -> None:
    lines = [f"{facts.site} is up: {facts.address}", f"records: {facts.folder}"]
    if facts.plant is not None:
        lines.append(
            f"virtual plant: {facts.plant['endpoint']}, scenario {facts.plant['scenario']}"
        )
    if speed != 1.0:
        lines.append(f"speed: {speed:g} times real time")
    if facts.password is not None:
        lines += [
            "",
            "first start: an operator was made. Its sign-in is shown this once:",
            f"  name      {facts.name}",
            f"  password  {facts.password}",
            "",
        ]
    twin = project.twins[0].id if project.twins else "TWIN"
    lines += [TRY.format(twin=twin, project=path), "Ctrl-C stops everything."]
    stream.write("\n".join(lines) + "\n")
    stream.flush()


def plant() -> click.Command:
    """The command ``galenic plant``."""

    def callback(kind: str, json: bool, **options: Any) -> int:
        from galenic.stages.manufacturing.plant.process import main

        line = [f"--{key}={value}" for key, value in options.items() if value is not None]
        json = json or bool(chosen({})["json"])
        return main([*line, *(["--json"] if json else [])])

    texts = {
        "endpoint": "Address of the plant.",
        "truth": "Address of the hidden truth; '' for none.",
        "scenario": "Name of a scenario, or a .toml file.",
        "seed": "Seed of noise and scenario.",
        "speed": "Plant time over wall time.",
        "control": "Local control of the feeders.",
        "start": "Plant time at the start, ISO 8601.",
    }
    return click.Command(
        "plant",
        params=[
            click.Argument(["kind"], type=click.Choice(["tablet-line"])),
            *(click.Option([f"--{name}"], help=text) for name, text in texts.items()),
            JSON,
        ],
        callback=callback,
        help="Run a virtual plant behind an OPC UA server until Ctrl-C.",
    )


def shadow() -> click.Command:
    """The command ``galenic shadow``."""

    def callback(
        project: str,
        data: str,
        connection: str,
        site: str,
        no_records: bool,
        ahead: Any,
        **options: Any,
    ) -> int:
        from galenic.app.cli.terminal import progress, show_json
        from galenic.twin.project import read_project
        from galenic.twin.result import plain

        as_json = chosen(options)["json"]
        _log_to_stderr()
        read = read_project(project)
        kept = site or (str(read.site.folder) if read.site.is_named else "")
        kept = "" if no_records else kept
        with progress("shadow", quiet=as_json) as report:
            found = _shadowed(read, data, connection, kept, ahead, report)
        documents = {id: one.to_dict() for id, one in found.items()}
        if as_json:
            show_json(plain(documents))
        else:
            for id, one in documents.items():
                _show_shadow(id, one)
            if kept:
                click.echo(f"records: {kept}")
        return 0

    return click.Command(
        "shadow",
        params=[
            click.Option(["--project"], required=True, metavar="PROJECT.toml"),
            click.Option(
                ["--data"], required=True, metavar="FILE", help="CSV, Parquet or journal."
            ),
            click.Option(
                ["--connection"], default="", help="Which connection the file stands for."
            ),
            click.Option(
                ["--site"],
                default="",
                metavar="FOLDER",
                help="Keep journal and ledger there; where [site] of the project says if left out.",
            ),
            click.Option(
                ["--no-records"], is_flag=True, help="Keep nothing, whatever the project says."
            ),
            click.Option(
                ["--ahead"],
                multiple=True,
                metavar="TIME",
                help="Score forecasts so far ahead, as --ahead 1min --ahead 15min.",
            ),
            JSON,
        ],
        callback=callback,
        help="Run the twins of a project over a recorded file at full speed; nothing is written.",
    )


def _shadowed(
    project: Any, data: str, connection: str, site: str, ahead: Any, report: Any
) -> dict[str, Any]:
    from contextlib import ExitStack

    from galenic.records import open_site
    from galenic.stages.twins.scoring import Scorer
    from galenic.stages.twins.shadow import RecordRun, record_of
    from galenic.twin.arguments import Argument, DurationKind

    record = record_of(project, data, connection)
    kind = Argument("ahead", DurationKind(lower=1.0, upper=86400.0))
    spans = [kind.check(one) for one in ahead]
    with ExitStack() as stack:
        store = stack.enter_context(open_site(site, name=project.site.name)) if site else None
        make = (lambda: Scorer(spans, min(spans), min(spans) / 4)) if spans else None
        return RecordRun(project, record, store, make).run(report)


def _show_shadow(id: str, facts: Any) -> None:
    from galenic.app.cli.terminal import show
    from galenic.twin.result import Column, Result, Table, Value

    status = facts["status"]
    values = {
        "events": facts["events"],
        "until": status["time"],
        "health": Value(status["health"]["state"], meaning=status["health"]["words"]),
    }
    values |= {
        path: Value(row["value"], row["unit"], "", row["lower"], row["upper"])
        for path, row in facts["estimates"].items()
    }
    tables = []
    for title, rows in (("alerts", facts["alerts"]), ("forecasts", facts["scores"])):
        names = (
            ("time", "severity", "text") if title == "alerts" else tuple(rows[0]) if rows else ()
        )
        if rows:
            columns = [Column(name, [row[name] for row in rows]) for name in names]
            tables.append(Table(title, tuple(columns)))
    show(Result(id, values, tables))
