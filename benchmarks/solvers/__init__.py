"""Tools that the population kernels are compared with, each used as its own documentation advises.

A peer is a class with ``name``, ``tool`` (the distribution it comes from) and
``prepare(work) -> run``, where ``run(count, rtol)`` solves the first individuals and gives their
values (count, times, outputs). What a tool compiles, it compiles in ``prepare`` or in a first run
that nobody times.
"""

from __future__ import annotations

from solvers.casadi_map import CasadiMap
from solvers.diffrax_vmap import Diffrax
from solvers.numbalsoda_loop import NumbaLsoda
from solvers.roadrunner_sbml import RoadRunner
from solvers.scipy_numba import ScipyBdf, ScipyLsoda
from solvers.sundae import Sundae

PEERS = (CasadiMap, RoadRunner, Diffrax, ScipyLsoda, ScipyBdf, NumbaLsoda, Sundae)

__all__ = ["PEERS"]
