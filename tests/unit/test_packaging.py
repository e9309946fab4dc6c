"""What is installed is what is needed: dependencies, constraints, data files."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "galenic"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
INDIRECT = {"python-multipart", "websockets"}  # uvicorn and fastapi load them by themselves
WITH_ANOTHER = {"starlette": "fastapi"}


def plain(requirement: str) -> str:
    """The normalised name of a distribution."""
    name = re.split(r"[\s<>=!\[;~]", requirement.strip(), maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> set[str]:
    """Top-level packages that the sources import, other than our own and the standard library."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"galenic"}


def test_dependencies_are_what_the_sources_import():
    homes = packages_distributions()
    needed = {
        plain(homes[WITH_ANOTHER.get(package, package)][0])
        for package in imported()
        if package in homes
    }
    optional = {
        plain(r) for group in SETTINGS["project"]["optional-dependencies"].values() for r in group
    }
    declared = {plain(requirement) for requirement in SETTINGS["project"]["dependencies"]}

    assert needed - optional == declared - INDIRECT


def test_every_requirement_has_a_tested_version():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    project = SETTINGS["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(one for extra in extras for one in extra)]

    assert [line for line in lines if not re.fullmatch(r"[\w.\-]+==[\w.]+", line)] == []
    assert {plain(r) for r in asked} - {plain(line) for line in lines} == set()


def test_all_data_files_are_packaged():
    """Whatever lies in the package and is not Python must match a pattern of package-data."""
    patterns = SETTINGS["tool"]["setuptools"]["package-data"]["galenic"]
    kinds = {pattern.rpartition(".")[2] if "*" in pattern else pattern for pattern in patterns}
    files = [
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts
    ]

    left_out = [p.name for p in files if p.suffix[1:] not in kinds and p.name not in kinds]

    assert left_out == []
