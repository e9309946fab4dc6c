"""A model as an FMI 3.0 unit: one file for model exchange and co-simulation."""

from __future__ import annotations

import platform
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from galenic.engine.export.compiler import build, compiler
from galenic.engine.export.description import References, description
from galenic.engine.export.source import RUNTIME, CSource, c_source
from galenic.units import duration

_SHARED = ("-shared", "-fPIC", "-fvisibility=hidden")
_WRITTEN = (1980, 1, 1, 0, 0, 0)  # of all members, so that equal models give equal files


@dataclass(frozen=True)
class FMU:
    """A written unit; ``binaries`` are the platforms it runs on as it is, others compile it."""

    path: Path
    binaries: tuple[str, ...]


def export_fmu(
    model: Any,
    path: str | Path,
    values: Mapping[Any, Any] | None = None,
    until: Any = None,
    binary: bool = True,
) -> FMU:
    """Write a model as an FMI 3.0 unit (``.fmu``) for model exchange and co-simulation.

    Parameters
    ----------
    model : Model or System
        What is exported.
    path : path
        The file.
    values : mapping, optional
        Defaults of parameters and inputs, and start values, by path, as for a simulation.
    until : str or float [s], optional
        End of the default experiment; the model's example duration if left out.
    binary : bool
        Compile for this machine where it has a C compiler. Without one the unit holds sources
        only, which every FMI tool with a compiler can build.

    Returns
    -------
    FMU
        The file, and the platforms for which it holds a binary.
    """
    source = c_source(model, values)
    if until is None:
        until = getattr(model, "example_duration", None)
    end = None if until is None else duration(until)
    members = _members(source, end)
    binaries: tuple[str, ...] = ()
    if binary and compiler() is not None:
        folder, suffix = platform_of_this_machine()
        members[f"binaries/{folder}/{source.name}{suffix}"] = _compiled(source.name, members)
        binaries = (folder,)
    target = Path(path)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _WRITTEN), content, zipfile.ZIP_DEFLATED)
    return FMU(target, binaries)


def platform_of_this_machine() -> tuple[str, str]:
    """FMI's name of this platform, and the suffix of its shared libraries."""
    machines = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
    machine = machines.get(platform.machine().lower(), platform.machine().lower())
    system, suffix = {"darwin": ("darwin", ".dylib"), "win32": ("windows", ".dll")}.get(
        sys.platform, ("linux", ".so")
    )
    return f"{machine}-{system}", suffix


def _members(source: CSource, until: float | None) -> dict[str, bytes]:
    """Everything but binaries, by name inside of the archive."""
    texts = {name: text for name, text in source.files().items() if name != "main.c"}
    texts |= {name: (RUNTIME / name).read_text("utf-8") for name in ("fmi3.h", "fmi3.c")}
    digest = sha256("".join(texts.values()).encode()).hexdigest()[:32]
    token = f"{{{digest}}}"
    texts["fmu.h"] = _settings(source, token)
    sources = {f"sources/{name}": text.encode() for name, text in texts.items()}
    return {
        "modelDescription.xml": description(source.system, source.name, token, until),
        **sources,
        "sources/buildDescription.xml": _build_description(source.name),
        "resources/system.json": source.system.serialise(),
    }


def _settings(source: CSource, token: str) -> str:
    """What fmi3.c has to know of the model."""
    references = References(source.system)
    continuous = ", ".join(map(str, references.continuous)) or "0"
    calculated = ", ".join(str(int(one)) for one in references.calculated) or "0"
    return f"""#include "{source.name}.h"

#define FMU_MODEL {source.name}
#define FMU_TOKEN "{token}"
#define FMU_CONTINUOUS {len(references.continuous)}
static const int fmu_continuous[] = {{{continuous}}};
static const unsigned char fmu_calculated[] = {{{calculated}}};
"""


def _build_description(name: str) -> bytes:
    root = Xml.Element("fmiBuildDescription", fmiVersion="3.0")
    configuration = Xml.SubElement(root, "BuildConfiguration", modelIdentifier=name)
    group = Xml.SubElement(configuration, "SourceFileSet", language="C99")
    for file in _c_files(name):
        Xml.SubElement(group, "SourceFile", name=file)
    return bytes(Xml.tostring(root, "utf-8", xml_declaration=True))


def _c_files(name: str) -> tuple[str, ...]:
    return ("fmi3.c", "galenic.c", f"{name}.c")


def _compiled(name: str, members: Mapping[str, bytes]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for member, content in members.items():
            if member.startswith("sources/"):
                (place / member.removeprefix("sources/")).write_bytes(content)
        sources = [place / file for file in _c_files(name)]
        return build(sources, place / "unit", _SHARED).read_bytes()
