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


def read(path: str | Path) -> tuple[libsbml.SBMLDocument, list[str]]:
    """The document at ``path`` in Level 3, and what libSBML warns about.

    Level 1 and 2 are converted, which writes out the units that they leave unsaid.
    """
    sbml = library()
    place = Path(path)
    if not place.is_file():
        raise DataError(f"there is no file {str(path)!r}", hint="an SBML file is wanted")
    document = sbml.readSBMLFromString(place.read_text(encoding="utf-8", errors="replace"))
    _require_sound(document, place)
    _refuse_packages(document, place)
    if document.getLevel() < 3:
        _convert(document, place)
    document.checkConsistency()
    _require_sound(document, place)
    return document, _warnings(document)


def _require_sound(document: libsbml.SBMLDocument, place: Path) -> None:
    sbml = library()
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        if error.getSeverity() >= sbml.LIBSBML_SEV_ERROR:
            raise DataError(
                f"not valid SBML: {_told(error)}", where=f"{place.name}:{error.getLine()}"
            )
    if document.getModel() is None:
        raise DataError("the file holds no SBML model", where=place.name)


def _refuse_packages(document: libsbml.SBMLDocument, place: Path) -> None:
    """Packages that change what the mathematics means."""
    sbml = library()
    if document.getLevel() < 3:
        return
    for i in range(document.getNumPlugins()):
        package = document.getPlugin(i).getPackageName()
        if package != "l3v2extendedmath" and document.getPackageRequired(package):
            raise refused(f"a model that needs the package {package!r}", place.name)
    for i in range(document.getNumErrors()):
        if document.getError(i).getErrorId() == sbml.RequiredPackagePresent:
            raise refused("a model that needs a package unknown to libSBML", place.name)


def _convert(document: libsbml.SBMLDocument, place: Path) -> None:
    if not document.setLevelAndVersion(3, 1, False, True):
        _require_sound(document, place)
        level = f"Level {document.getLevel()} Version {document.getVersion()}"
        raise refused(f"{level}, which libSBML cannot bring to Level 3,", place.name)


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
