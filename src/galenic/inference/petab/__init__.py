"""Estimation problems in PEtab (format version 1): model in SBML, tables of what was measured.

A problem gives the likelihood that its tables define and a fit with uncertainty. What cannot be
taken over exactly is refused with file and line. Needs the extra ``petab``.
"""

from galenic.inference.petab.estimate import Estimate, fit
from galenic.inference.petab.problem import Problem, import_petab
from galenic.inference.petab.refusal import NotExpressible
from galenic.inference.petab.tables import Measurement, Observable, Parameter

__all__ = [
    "Estimate",
    "Measurement",
    "NotExpressible",
    "Observable",
    "Parameter",
    "Problem",
    "fit",
    "import_petab",
]
