"""Reading an SBML document: errors, packages, levels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.errors import DataError, ModelError
from galenic.modeling.sbml.refusal import refused

if TYPE_CHECKING:
    import libsbml

_DISAGREE = 10500  # libSBML numbers the rules about units that do not agree from here
_UNDECLARED = "does not have a 'units' attribute"


def library() -> Any:
    """libSBML, or an error that names the extra to install."""
    try:
        import libsbml
    except ImportError as error:
        raise ModelError(
            "reading SBML needs libSBML", hint="pip install 'galenic[sbml]'"
        ) from error
    return libsbml


def text_of(path: str | Path) -> str:
    """The content of a file."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(
            f"cannot read {str(path)!r}: {error.strerror}", hint="an SBML file is wanted"
        ) from error


def read(text: str, name: str) -> tuple[libsbml.SBMLDocument, list[str]]:
    """The document ``text`` of the file ``name`` in Level 3, and what libSBML warns about.

    Level 1 and 2 are converted, which writes out the units that they leave unsaid.
    """
    document = library().readSBMLFromString(text)
    _require_sound(document, name)
    _refuse_packages(document, name)
    if document.getLevel() < 3:
        _convert(document, name)
    document.checkConsistency()
    _require_sound(document, name)
    return document, _warnings(document)


def _require_sound(document: libsbml.SBMLDocument, name: str) -> None:
    sbml = library()
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        if error.getSeverity() >= sbml.LIBSBML_SEV_ERROR:
            raise DataError(f"not valid SBML: {_told(error)}", where=f"{name}:{error.getLine()}")
    if document.getModel() is None:
        raise DataError("the file holds no SBML model", where=name)


def _refuse_packages(document: libsbml.SBMLDocument, name: str) -> None:
    """Packages that change what the mathematics means."""
    sbml = library()
    if document.getLevel() < 3:
        return
    for i in range(document.getNumPlugins()):
        package = document.getPlugin(i).getPackageName()
        if package != "l3v2extendedmath" and document.getPackageRequired(package):
            raise refused(f"a model that needs the package {package!r}", name)
    for i in range(document.getNumErrors()):
        if document.getError(i).getErrorId() == sbml.RequiredPackagePresent:
            raise refused("a model that needs a package unknown to libSBML", name)


def _convert(document: libsbml.SBMLDocument, name: str) -> None:
    if not document.setLevelAndVersion(3, 1, False, True):
        _require_sound(document, name)
        level = f"Level {document.getLevel()} Version {document.getVersion()}"
        raise refused(f"{level}, which libSBML cannot bring to Level 3,", name)


def _warnings(document: libsbml.SBMLDocument) -> list[str]:
    """Units that do not agree, and what else libSBML doubts; not what it could not check."""
    sbml = library()
    silent = (sbml.LIBSBML_CAT_MODELING_PRACTICE, sbml.LIBSBML_CAT_SBML_L2V4_COMPAT)
    found = []
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        units = error.getCategory() == sbml.LIBSBML_CAT_UNITS_CONSISTENCY
        unchecked = units and not _DISAGREE <= error.getErrorId() < _DISAGREE + 100
        if error.getCategory() not in silent and not unchecked and _UNDECLARED not in _told(error):
            found.append(f"line {error.getLine()}: {_told(error)}")
    return list(dict.fromkeys(found))


def _told(error: Any) -> str:
    return " ".join(error.getMessage().split()).rstrip(".")
