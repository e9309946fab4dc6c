"""The source code on which a recorded twin depends, as hashes: has it changed since?

Of the module that a reference names, what the name reaches counts (so that a changed binding beside
an estimator is no change of the estimator); of the modules that this imports, directly or not, the
whole file. Followed are galenic and the package of the reference itself; of other libraries the
versions count. What is imported by a name made at run time is not seen.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from galenic.errors import DataError
from galenic.provenance import provenance
from galenic.twin.portable import Reference

HOME = "galenic"
SHORT = 12


@dataclass(frozen=True)
class Source:
    """One module: its text, and what it says."""

    name: str
    text: str
    is_package: bool = False

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.text)


@lru_cache(maxsize=512)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def fingerprint(parts: Mapping[str, Reference]) -> dict[str, Any]:
    """What the code of some references is, as plain values.

    Returns
    -------
    dict
        ``parts``: for each its place, the hash of its own code and the modules that it uses.
        ``modules``: their hashes. ``libraries``, ``python``, ``cpu``, ``galenic``: versions.
        ``files``: where the files of references to files were.
    """
    modules: dict[str, str] = {}
    found, outside = {}, set()
    for name, reference in parts.items():
        own, uses, others = _reach(reference)
        found[name] = {"at": reference.at, "hash": own, "uses": sorted(uses)}
        modules |= {module: source.hash for module, source in uses.items()}
        outside |= others
    facts = provenance()
    return {
        "parts": found,
        "modules": dict(sorted(modules.items())),
        "libraries": _versions(outside),
        "python": facts.python,
        "cpu": facts.cpu,
        "galenic": facts.version,
        "files": {r.place: str(r.path.resolve()) for r in parts.values() if r.path is not None},
    }


def changes(
    recorded: Mapping[str, Any], found: Mapping[str, Any], names: Collection[str]
) -> list[str]:
    """In words, what of the code of the named parts is not as it was recorded."""
    lines: list[str] = []
    uses: set[str] = set()
    for name in names:
        was, now = recorded["parts"].get(name), found["parts"].get(name)
        if was is None or now is None:
            continue
        uses |= set(was["uses"])
        lines += _changed(f"the code of {was['at']}", was["hash"], now["hash"])
    for module in sorted(uses):
        now = found["modules"].get(module) or _hash_of(module)
        lines += _changed(f"the code of {module}", recorded["modules"][module], now)
    for library, version in recorded["libraries"].items():
        now = found["libraries"].get(library) or _version(library)
        lines += _other(library, version, now)
    lines += _other("Python", recorded["python"], found["python"])
    lines += _other("the processor", recorded["cpu"], found["cpu"])
    return lines


def _changed(what: str, was: str, now: str) -> Iterator[str]:
    if was and not now:
        yield f"{what} is gone (recorded {was[:SHORT]})"
    elif was != now:
        yield f"{what} has changed since (recorded {was[:SHORT]}, found {now[:SHORT]})"


def _other(what: str, was: str, now: str) -> Iterator[str]:
    if was != now:
        yield f"{what} was {was}, is {now}"


def _reach(reference: Reference) -> tuple[str, dict[str, Source], set[str]]:
    """Hash of a reference's own code, the modules that it uses, and outside libraries.

    Code without source in Python has no hash; the version of its library stands for it.
    """
    source = _source_of(reference)
    if source is None:
        return "", {}, {reference.place.partition(".")[0]}
    own = _own(source, reference.name.partition(".")[0])
    lines = source.text.splitlines()
    text = "\n".join("\n".join(lines[_first(node) - 1 : node.end_lineno]) for node in own)
    top = source.name.partition(".")[0]
    uses, outside = _closure(_imported(source, own), {HOME, top})
    return hashlib.sha256(text.encode()).hexdigest(), uses, outside


def _source_of(reference: Reference) -> Source | None:
    if reference.path is None:
        return _source(reference.place)
    try:
        return Source(reference.place, reference.path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {reference.path}: {error.strerror}") from error


def _source(module: str) -> Source | None:
    """The source of a module, found without importing more than its first package."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not spec.submodule_search_locations:
        return _read(module, Path(spec.origin or "")) if not rest else None
    for place in spec.submodule_search_locations:
        path = Path(place).joinpath(*rest)
        found = _read(module, path / "__init__.py") or _read(module, path.with_suffix(".py"))
        if found is not None:
            return found
    return None


def _read(module: str, path: Path) -> Source | None:
    if path.suffix != ".py" or not path.is_file():
        return None
    return Source(module, path.read_text(encoding="utf-8"), path.name == "__init__.py")


def _hash_of(module: str) -> str:
    source = _source(module)
    return source.hash if source else ""


def _first(node: ast.stmt) -> int:
    """The first line of a statement, decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _own(source: Source, name: str) -> list[ast.stmt]:
    """The statements of a module that ``name`` reaches, and those that name nothing, in order."""
    body = [node for node in source.tree.body if not _is_idle(node)]
    binds = {id(node): set(_bound(node)) for node in body}
    wanted, reached = {name}, {id(node) for node in body if not binds[id(node)]}
    if not any(name in names for names in binds.values()):
        return body
    waiting = [node for node in body if id(node) in reached]
    while True:
        for node in waiting:
            wanted |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        waiting = [n for n in body if id(n) not in reached and binds[id(n)] & wanted]
        if not waiting:
            return [node for node in body if id(node) in reached]
        reached |= {id(node) for node in waiting}


def _is_idle(node: ast.stmt) -> bool:
    """Whether a statement does nothing: a docstring, or what only a type checker reads."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
        return node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module gives a value."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id
        elif isinstance(inner, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in inner.names)
        elif isinstance(inner, ast.FunctionDef | ast.ClassDef):
            yield inner.name


def _imported(source: Source, nodes: Iterable[ast.stmt]) -> set[str]:
    """The modules that some statements import, also inside of functions."""
    found: set[str] = set()
    for top in nodes:
        for node in _walk(top):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = _base(source, node)
                found.add(base)
                if base.partition(".")[0] in (HOME, source.name.partition(".")[0]):
                    for alias in node.names:
                        found |= _home(base, alias.name)
    return found


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes in a node, without what only a type checker reads."""
    if isinstance(node, ast.stmt) and _is_idle(node):
        return
    yield node
    for inner in ast.iter_child_nodes(node):
        yield from _walk(inner)


def _base(source: Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    here = source.name.split(".")
    drop = node.level - 1 if source.is_package else node.level
    return ".".join([*here[: len(here) - drop], *([node.module] if node.module else [])])


def _home(base: str, name: str) -> set[str]:
    """Where ``from base import name`` gets the name from, if not from ``base`` itself."""
    if _source(f"{base}.{name}") is not None:
        return {f"{base}.{name}"}
    module = sys.modules.get(base)
    home = getattr(getattr(module, name, None), "__module__", None)
    return {home} if isinstance(home, str) else set()


def _closure(modules: Collection[str], tops: Collection[str]) -> tuple[dict[str, Source], set[str]]:
    """All modules of the packages ``tops`` that are reached by imports; names of other packages."""
    found: dict[str, Source] = {}
    outside: set[str] = set()
    waiting = sorted(modules)
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if top not in tops:
            outside.add(top)
            continue
        source = _source(name) if name not in found else None
        if source is not None:
            found[name] = source
            waiting += sorted(_imported(source, source.tree.body) - found.keys())
    return found, outside - sys.stdlib_module_names


def _versions(packages: Iterable[str]) -> dict[str, str]:
    known = {name: _version(name) for name in sorted(packages)}
    return {name: version for name, version in known.items() if version}


def _version(package: str) -> str:
    """The version of an installed library, by the name by which it is imported, or nothing."""
    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return str(getattr(sys.modules.get(package), "__version__", ""))
