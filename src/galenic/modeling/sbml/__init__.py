"""Models from SBML (Systems Biology Markup Language), Level 1 to 3.

An SBML file becomes Python source in the language of models; what the language cannot say exactly
is refused by name. Needs the extra ``sbml``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from galenic.modeling.sbml.refusal import NotExpressible
from galenic.modeling.written import run_source

__all__ = ["Imported", "NotExpressible", "import_sbml", "import_text", "load_module"]


@dataclass(frozen=True)
class Imported:
    """An SBML model: its class, the Python source that defines it, and what to know about it.

    ``notes`` are libSBML's warnings (units that do not agree, for example) and what was left out.
    """

    name: str
    source: str
    notes: tuple[str, ...]
    module: ModuleType

    @property
    def model(self) -> Any:
        """The model class."""
        return getattr(self.module, self.name)


def import_sbml(path: str | Path) -> Imported:
    """The model in an SBML file.

    Parameters
    ----------
    path : path
        A file of Level 1, 2 or 3 without packages that change the mathematics.

    Returns
    -------
    Imported
        ``imported.model()`` is an ordinary model: ``simulate``, ``check``, ``card`` work on it.
        A species that counts as a concentration has its amount beside it as ``NAME_amount``, which
        is what doses and start values change.

    Raises
    ------
    DataError
        The file is not valid SBML.
    NotExpressible
        The model needs what the language cannot say exactly, such as delays that move.
    """
    from galenic.modeling.sbml.document import text_of

    return import_text(text_of(path), Path(path).name)


def import_text(text: str, name: str = "model.xml") -> Imported:
    """The model in the text of an SBML file called ``name``; see :func:`import_sbml`."""
    from galenic.modeling.sbml.document import read
    from galenic.modeling.sbml.quantities import Document
    from galenic.modeling.sbml.writer import class_name, source_of

    document, warnings = read(text, name)
    model = document.getModel()
    notes: list[str] = []
    title = model.getName() or model.getId() or Path(name).stem
    source = source_of(Document(model, notes), title)
    if model.getNumConstraints():
        notes.append(f"{model.getNumConstraints()} constraints are not watched")
    cls = class_name(model.getId() or title)
    return Imported(cls, source, (*dict.fromkeys(notes), *warnings), run_source("sbml", source))


def load_module(path: str | Path) -> ModuleType:
    """The module with the model of an SBML file, for ``--models file.xml``."""
    return import_sbml(path).module
