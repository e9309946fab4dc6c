"""Where a result comes from: version of the code, of its libraries, and the machine."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

LIBRARIES = ("casadi", "numpy", "scipy", "duckdb", "pyarrow", "asyncua")


@dataclass(frozen=True)
class Provenance:
    """The facts on which bit equality of a replay depends.

    ``commit`` is the revision of the working copy, empty for an installed package; ``code`` is a
    hash over the package's source files; ``cpu`` names the processor and its vector extensions.
    """

    version: str
    commit: str
    code: str
    python: str
    libraries: tuple[tuple[str, str], ...]
    cpu: str
    system: str

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return asdict(self) | {"libraries": dict(self.libraries)}

    @property
    def hash(self) -> str:
        """One hash over all facts that influence a number."""
        facts = [self.code, self.cpu, *(f"{name} {version}" for name, version in self.libraries)]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()


@cache
def provenance() -> Provenance:
    """The facts of this process."""
    import galenic

    return Provenance(
        version=galenic.__version__,
        commit=_commit(),
        code=_code(),
        python=platform.python_version(),
        libraries=tuple((name, _version(name)) for name in LIBRARIES),
        cpu=_cpu(),
        system=f"{platform.system()} {platform.machine()}",
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _code() -> str:
    """Hash over path and content of every source file of the package."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _commit() -> str:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
            timeout=5,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu() -> str:
    """Model name and widest vector extension, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in pairs}
    flags = facts.get("flags", "").split()
    vector = next((flag for flag in ("avx512f", "avx2", "avx", "sse2") if flag in flags), "")
    return f"{facts.get('model name', platform.machine())} {vector}".strip()
