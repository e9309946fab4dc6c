"""The documentation names everything that people can use, and what it says is so."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import click
import pytest

import galenic
from galenic.app.cli.derive import JSON, common_options
from galenic.app.cli.root import COMMANDS, root
from galenic.app.index import entries
from galenic.connect import registry
from galenic.twin import definition, project, project_changes, security
from galenic.twin.alarm.rule import AlarmRules
from galenic.twin.fold import FoldRules
from galenic.twin.health import HealthRules
from galenic.twin.level import Level

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts),
]
FENCED = re.compile(r"^( *)(```+)([^\n]*)\n(.*?)^\1\2", re.M | re.S)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "", FENCED.sub("", path.read_text(encoding="utf-8")))


def code(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    found = FENCED.findall(path.read_text(encoding="utf-8"))
    return [text for _, _, label, text in found if label.strip() == language]


def reference(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text(encoding="utf-8")


def headings(path: Path) -> set[str]:
    """The anchors of a page, as GitHub and the site make them."""
    found = re.findall(r"^#+ (.+)$", FENCED.sub("", path.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-") for text in found}


def tables() -> ModuleType:
    """docs/tables.py as a module."""
    spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    broken = []
    for link in LINK.findall(prose(page)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_pages_name_no_machine_and_no_registry(page):
    text = page.read_text(encoding="utf-8")

    assert not re.search(r"(?<![\w.])/(work|root|home|Users)/|pypi\.|anaconda\.org", text)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_page_has_one_title(page):
    titles = re.findall(r"^# .+$", FENCED.sub("", page.read_text(encoding="utf-8")), re.M)

    assert len(titles) == 1


def test_the_tables_are_those_of_the_code():
    made = tables()

    stale = [name for name in made.PAGES if not made.current(name)]

    assert stale == [], "run python docs/tables.py"


@pytest.mark.parametrize("name", galenic.__all__)
def test_every_public_name_is_explained(name):
    assert re.search(rf"^\| `{name}` \| .*\| \S.* \|$", reference("public-names"), re.M)


def test_the_other_names_that_are_listed_exist():
    listed = reference("public-names").partition("<!-- end -->")[2]
    rows = re.findall(r"^\| `(galenic[\w.]+)` \| (.+) \|$", listed, re.M)

    missing = [
        f"{module}.{name}"
        for module, names in rows
        for name in re.findall(r"`(\w+)`", names)
        if not hasattr(importlib.import_module(module), name)
    ]

    assert rows
    assert missing == []


@pytest.mark.parametrize("name", entries())
def test_every_service_is_explained(name):
    assert f"### {name}\n" in reference("services")


@pytest.mark.parametrize("kind", registry.BUILT_IN)
def test_every_connector_is_explained(kind):
    assert f"| `{kind}` | `galenic." in reference("connectors")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_explained_with_its_options(name):
    command = root.get_command(click.Context(root), name)
    assert command is not None

    text = reference("cli")
    section = text.partition(f"### galenic {name}\n")[2].partition("\n### ")[0] + text[:3000]
    options = [o for p in command.params if isinstance(p, click.Option) for o in p.opts]

    assert f"### galenic {name}\n" in text
    assert [option for option in options if option not in section] == []


@pytest.mark.parametrize("option", [JSON, *common_options()], ids=lambda option: option.opts[0])
def test_every_common_option_is_explained(option):
    assert f"| `{option.opts[0]}` |" in reference("cli").partition("## Commands")[0]


def section(title: str) -> str:
    """A section of the page on project files."""
    found = re.split(r"^## ", reference("project-file"), flags=re.M)
    return next(text for text in found if text.startswith(title))


SETTINGS = {
    "[site]": project.SITE,
    "[plant]": project.PLANT,
    "[server]": security.SERVER,
    "[access]": security.ACCESS,
    "[access.oidc]": security.OIDC,
    "[[access.signature]]": security.SIGNATURE,
    "[[connection]]": ["name", "kind"],
    "[[twin.binding]]": project_changes.BINDING,
    "[twin.fold]": [f.name for f in fields(FoldRules)],
    "[twin.health]": [f.name for f in fields(HealthRules)],
    "[[twin.alarm]]": project_changes.ALARM,
    "[twin.alarming]": [f.name for f in fields(AlarmRules)],
    "[[fleet]]": [key for key, kind in project.FLEET.items() if kind not in (dict, list)],
}


@pytest.mark.parametrize("table", SETTINGS)
def test_every_setting_of_a_project_is_explained(table):
    text = section(table)

    assert [key for key in SETTINGS[table] if f"`{key}`" not in text] == []


def test_every_setting_of_a_twin_is_explained():
    text = section("[[twin]]")
    whole = reference("project-file")

    missing = [
        key
        for key, kind in project.TWIN.items()
        if f"`{key}`" not in text and f"## [twin.{key}]" not in whole and kind is not list
    ]

    assert missing == []
    assert [level.word for level in Level if f"`{level.word}`" not in text] == []
    assert [name for name in definition.BUILT_IN if f"`{name}`" not in text] == []


@pytest.mark.parametrize("kind", registry.BUILT_IN)
def test_every_option_of_a_connection_is_explained(kind):
    row = re.search(rf"^\| `{kind}` \| (.*) \|$", section("[[connection]]"), re.M)
    assert row is not None
    given = {
        "name",
        "clock",
        "backoff",
        "path",
        "tags",
        "record",
        "plant",
        "transport",
    }  # not from a file
    known = registry.options_of(kind)

    missing = [n for n in known if n not in given and f"`{n}`" not in row[1]]

    assert missing == [] or kind == "memory"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_that_pages_show_exist(page):
    """Each line of a block that starts with galenic: its command, its service, its options."""
    wrong = []
    context = click.Context(root)
    for line in "\n".join(code(page, "") + code(page, "sh") + code(page, "bash")).splitlines():
        if not line.startswith("galenic "):
            continue
        words = shlex.split(line, comments=True)[1:]
        while words and words[0].startswith("--"):
            words = words[2:]
        command = root.get_command(context, words[0]) if words else root
        if isinstance(command, click.Group) and command is not root and len(words) > 1:
            command = command.get_command(context, words[1])
        known = {o for p in command.params for o in p.opts} if command else set()
        flags = [word for word in words if word.startswith("--") and word != "--help"]
        if command is None or not set(flags) <= known:
            wrong.append(line)

    assert wrong == []


def test_the_readme_shows_the_own_model_as_it_is():
    own = (ROOT / "examples" / "own_model.py").read_text(encoding="utf-8")
    source = own.partition('"""\n\n')[2]

    assert source in code(ROOT / "README.md", "python")


def test_the_python_of_the_readme_runs(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    for source in code(ROOT / "README.md", "python"):
        exec(compile(source, "README.md", "exec"), {"__name__": "readme"})


def test_the_readme_has_the_two_commands_and_the_picture():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)

    assert {"run", "test"} <= set(targets)
    assert "make run " in text
    assert "make test " in text
    assert "](docs/pictures/control-room.png)" in text


CLAUSES = [
    *(f"11.10({letter})" for letter in "abcdefghijk"),
    "11.30", "11.50(a)", "11.50(b)", "11.70", "11.100(a)", "11.100(b)",
    *(f"11.200(a)({n})" for n in (1, 2, 3)), *(f"11.300({letter})" for letter in "abcde"),
    *("5", "6", "7.1", "7.2", "8.2", "9", "11", "12.1", "12.3", "12.4", "14", "15", "16", "17"),
    *("attributable", "legible", "contemporaneous", "original", "accurate", "complete"),
    *("consistent", "enduring", "available"),
]  # fmt: skip


def test_each_clause_is_answered_by_tests_that_exist():
    text = (DOCS / "explanation" / "part-11.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([\w.()]+) \|(.*)$", text, re.M))
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file()
        or (name and f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8"))
    ]

    assert [clause for clause in CLAUSES if "`tests/" not in rows.get(clause, "")] == []
    assert len(named) > 60
    assert missing == []
