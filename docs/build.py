"""Build the documentation site: the pages of docs/ and a reference from docstrings, as static HTML.

    python docs/build.py [FOLDER]

Needs the extra ``docs``, and no network. A broken link fails. The site is in docs/_build unless a
folder is given; it opens without a server, only the search needs one:
``python -m http.server -d docs/_build``.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "src" / "galenic"
SECTIONS = {
    "tutorials": "Learn",
    "how-to": "Do one thing",
    "reference": "Look up",
    "explanation": "Understand",
    "validation": "Trust",
}
PYTHON = {
    "modeling": "The language: models, systems, populations",
    "engine": "Simulation",
    "inference": "Beliefs and estimators",
    "decision": "Control and decisions",
    "records": "Records",
    "connect": "Connectors",
    "twin": "Twins and services",
    "library": "Models by subject",
}
FOUNDATION = ("units", "errors", "clock", "signals", "identity", "provenance", "plugins")
PAGES = (".md", ".png", ".svg", ".jpg")

Nav = list[dict[str, object]]


def main() -> int:
    """Stage the pages, write the navigation, build."""
    site = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else DOCS / "_build"
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder) / "pages"
        stage(staged)
        nav = navigation(staged)
        nav.append({"Python": python_pages(staged / "python")})
        config = Path(folder) / "mkdocs.yml"
        settings = {
            "INHERIT": str(DOCS / "mkdocs.yml"),
            "docs_dir": str(staged),
            "site_dir": str(site),
            "nav": nav,
            "plugins": {"mkdocstrings": {"handlers": {"python": {"paths": [str(PACKAGE.parent)]}}}},
        }
        config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        line = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config)]
        quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=quiet)
    if done.returncode == 0:
        print(f"documentation: {site / 'index.html'}")
    else:
        told = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
        print("\n".join(told), file=sys.stderr)
    return done.returncode


def stage(folder: Path) -> None:
    """Copy the pages and pictures of docs/."""
    for path in sorted(DOCS.rglob("*")):
        inside = path.relative_to(DOCS)
        if path.suffix in PAGES and inside.parts[0] != "_build":
            target = folder / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def navigation(folder: Path) -> Nav:
    """Sections in order; in each its index first, then the others by title."""
    nav: Nav = [{"Start": "index.md"}]
    for section, name in SECTIONS.items():
        pages = sorted((folder / section).glob("*.md"), key=_order)
        nav.append({name: [{title(page): f"{section}/{page.name}"} for page in pages]})
    return nav


def _order(page: Path) -> tuple[bool, str]:
    return page.stem != "index", title(page)


def title(page: Path) -> str:
    """The first heading of a page."""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            return line[2:].strip()
    return page.stem


def python_pages(folder: Path) -> Nav:
    """One page per package with everything public in it, from docstrings."""
    folder.mkdir(parents=True)
    nav: Nav = []
    for package, name in {**PYTHON, "foundation": "Units, errors, signals, time"}.items():
        lines = [f"# {name}", ""]
        for module in modules(package):
            lines += [f"## {module.partition('.')[2]}", "", f"::: {module}"]
            lines += ["    options:", "      show_root_heading: false"]
            lines += ["      show_root_toc_entry: false", ""]
        (folder / f"{package}.md").write_text("\n".join(lines), encoding="utf-8")
        nav.append({name: f"python/{package}.md"})
    return nav


def modules(package: str) -> list[str]:
    """Modules of a package that have public definitions, by dotted name."""
    if package == "foundation":
        return [f"galenic.{name}" for name in FOUNDATION]
    found = []
    for path in sorted((PACKAGE / package).rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if not any(part.startswith("_") for part in parts) and _defines(path):
            found.append(".".join(parts))
    return found


def _defines(path: Path) -> bool:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    definitions = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(node, definitions) and not node.name.startswith("_") for node in body)


if __name__ == "__main__":
    sys.exit(main())
