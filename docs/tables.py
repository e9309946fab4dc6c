"""Write the tables of the reference pages from the code.

    python docs/tables.py [--check]

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; the text around it is kept.
``--check`` changes nothing and fails when a page is stale.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).parent / "reference"


def main() -> int:
    """Write all tables; 1 if ``--check`` finds a stale page."""
    stale = [name for name in PAGES if not current(name)]
    if "--check" in sys.argv[1:]:
        print("\n".join(f"stale: docs/reference/{name}" for name in stale))
        return int(bool(stale))
    for name in stale:
        (REFERENCE / name).write_text(written(name), encoding="utf-8")
    return 0


def current(name: str) -> bool:
    """Whether a page says what the code says."""
    return (REFERENCE / name).read_text(encoding="utf-8") == written(name)


def written(name: str) -> str:
    """A page with its tables made anew."""
    text = (REFERENCE / name).read_text(encoding="utf-8")
    for table, make in PAGES[name].items():
        start, end = f"<!-- table: {table} -->", "<!-- end -->"
        before, found, rest = text.partition(start)
        if not found:
            raise SystemExit(f"docs/reference/{name} has no {start}")
        _, found, after = rest.partition(end)
        text = f"{before}{start}\n{make().strip()}\n{end}{after}"
    return text


def public_names() -> str:
    """Every name of ``galenic``, with the first sentence of its docstring."""
    import galenic

    rows = []
    for name in galenic.__all__:
        value = getattr(galenic, name)
        home = galenic._HOME[name]
        rows.append([f"`{name}`", "class" if inspect.isclass(value) else "function",
                     f"`galenic.{home}`", first_line(value)])  # fmt: skip
    return table(["name", "kind", "home", "what it is"], rows)


def commands() -> str:
    """Every command with its arguments and own options."""
    import click

    from galenic.app.cli.derive import OUTPUTS
    from galenic.app.cli.root import root

    context = click.Context(root, info_name="galenic")
    parts = []
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        if command is None or name in root.stages():
            continue
        inner = click.Context(command, info_name=name, parent=context)
        usage = " ".join(command.collect_usage_pieces(inner))
        rows = [
            [f"`{', '.join(p.opts)}`", f"`{p.make_metavar(inner)}`" if not p.is_flag else "",
             p.help or ""]
            for p in command.params
            if isinstance(p, click.Option) and p.name not in OUTPUTS
        ]  # fmt: skip
        about = inspect.cleandoc(command.help or "")
        parts += [f"### galenic {name}", "", about, "", f"    galenic {name} {usage}", ""]
        parts += [table(["option", "value", "meaning"], rows), ""] if rows else []
    return "\n".join(parts)


def services() -> str:
    """Every service with its arguments."""
    from galenic.app.index import entries

    parts: list[str] = []
    stage = ""
    for entry in entries().values():
        if entry.stage != stage:
            stage = entry.stage
            parts += [f"## {stage}", ""]
        facts = f"effect {entry.effect}, role {entry.role}"
        facts += f", needs level {entry.needs}" if entry.needs else ""
        parts += [f"### {entry.full_name}", "", f"{entry.title}. {entry.description}", "",
                  f"*{facts}*", ""]  # fmt: skip
        if entry.arguments:
            rows = [[f"`{a.name}`", kind(a), default(a), a.help] for a in entry.arguments]
            parts += [table(["argument", "kind", "default", "meaning"], rows), ""]
    return "\n".join(parts)


def kind(argument: Any) -> str:
    """The kind of an argument, with its unit or options."""
    facts = argument.kind.facts()
    many = facts["kind"] == "many"
    facts = facts["item"] if many else facts
    text = str(facts["kind"])
    if facts.get("unit", "1") != "1":
        text += f" [{facts['unit']}]"
    if "options" in facts:
        text += ": " + ", ".join(str(option) for option in facts["options"])
    return f"several {text}" if many else text


def default(argument: Any) -> str:
    """The default of an argument, as JSON; nothing where it may be left out."""
    if argument.required:
        return "required"
    if argument.default in (None, "", [], {}):
        return ""
    return f"`{json.dumps(argument.default)}`"


def models() -> str:
    """Every model of the library."""
    from galenic import plugins

    ours = [entry for _, entry in sorted(plugins.models().items()) if entry.origin == "galenic"]
    rows = [[f"`{e.name}`", f"`{e.at}`", e.title] for e in ours]
    return table(["name", "class", "what it is"], rows)


def endpoints() -> str:
    """Every endpoint except the services', which have their own page."""
    from types import SimpleNamespace

    from galenic.app.api import create_app
    from galenic.app.index import entries
    from galenic.twin.security import OidcRules, Security

    session: Any = SimpleNamespace(services=entries, store=object(), runner=object())
    everything = Security(oidc=OidcRules("", ""))
    paths = create_app(session, None, everything).openapi()["paths"]
    rows = [
        [
            method.upper(),
            f"`{path}`",
            facts.get("description", "").partition("\n")[0].replace("``", "`"),
        ]
        for path, methods in paths.items()
        for method, facts in methods.items()
        if not path.startswith("/api/services/") or "{" in path
    ]
    return table(["method", "path", "what it does"], rows)


def first_line(value: Any) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(value) or "").partition("\n")[0].replace("``", "`")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("\n", " ").replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in cells)


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "public-names.md": {"names": public_names},
    "api.md": {"endpoints": endpoints},
    "cli.md": {"commands": commands},
    "services.md": {"services": services},
    "library.md": {"models": models},
}

if __name__ == "__main__":
    sys.exit(main())
