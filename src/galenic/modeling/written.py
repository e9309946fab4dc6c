"""Models that were written as Python source by an importer, run as modules of their own."""

from __future__ import annotations

import linecache
import sys
from hashlib import sha256
from types import ModuleType


def run_source(kind: str, source: str) -> ModuleType:
    """The source run as a module; tracebacks and model cards find its lines.

    Parameters
    ----------
    kind : str
        What it was made from; stands in the module's name with the hash of the source, so equal
        sources are one module.
    """
    name = f"galenic_{kind}_{sha256(source.encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    file = f"<{name}.py>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module
