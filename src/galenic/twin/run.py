"""What a service function may reach while it runs: progress, randomness, models, a site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from galenic.errors import DataError, GalenicError, UnknownName
from galenic.twin.references import ModelRef, load_error

if TYPE_CHECKING:
    import numpy as np


class Cancelled(GalenicError):
    """The run was cancelled by a person; nothing it made is kept."""


class Host:
    """What a run may reach: the catalogue of models and, on a site, its store and its runner.

    Parameters
    ----------
    store : Store, optional
        The site's records; None for pure modelling.
    runner : Runner, optional
        The live twins; only in the process that runs them.
    local : bool, default True
        Whether the caller sits at this machine and may name files of models: code is loaded
        from them, so a call over the network may not.
    """

    def __init__(self, store: Any = None, runner: Any = None, *, local: bool = True) -> None:
        self._store = store
        self._runner = runner
        self.local = local

    def model(self, name: str) -> ModelRef:
        """The model called ``name`` in the catalogue, or of a file for a local caller."""
        from galenic import plugins

        known = plugins.models()
        if name in known:
            return ModelRef(name, known[name])
        place, _, attribute = name.rpartition(":")
        if self.local and (place or attribute).endswith(plugins.FILES):
            return _of_file(place or attribute, attribute if place else "")
        raise UnknownName.among("model", name, known)

    @property
    def has_store(self) -> bool:
        return self._store is not None

    @property
    def store(self) -> Any:
        """The site's store."""
        if self._store is None:
            raise DataError(
                "this service needs the records of a site, and there is none here",
                hint="name one with --project PROJECT.toml, or start it with galenic run",
            )
        return self._store

    @property
    def has_runner(self) -> bool:
        return self._runner is not None

    @property
    def runner(self) -> Any:
        """The runner of the live twins."""
        if self._runner is None:
            raise DataError(
                "this service needs a running twin, and none runs here",
                hint="start it with galenic run PROJECT.toml and call the service through it",
            )
        return self._runner


@dataclass(frozen=True)
class Run:
    """What a service function may ask of its surroundings while it runs.

    Parameters
    ----------
    who : str
        Name of the person or program that called.
    seed : int
        Seed of ``rng``; equal calls draw equal numbers.
    host : Host
        Models, and store and runner where there are any.
    """

    who: str = "local"
    seed: int = 0
    name: str = ""
    host: Host = field(default_factory=Host)
    report: Callable[[float, str], None] | None = field(default=None, repr=False)
    stopped: Callable[[], bool] | None = field(default=None, repr=False)

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far the work is, 0 to 1; raises Cancelled when nobody waits for it any more."""
        if self.cancelled:
            raise Cancelled("the run was cancelled")
        if self.report is not None:
            self.report(min(1.0, max(0.0, float(fraction))), text)

    @property
    def cancelled(self) -> bool:
        """Whether the caller has asked to stop."""
        return self.stopped is not None and self.stopped()

    @property
    def rng(self) -> np.random.Generator:
        """A fresh generator that depends on the service and the seed alone."""
        from galenic.identity import generator

        return generator("run", self.name, self.seed)

    @property
    def store(self) -> Any:
        """The site's store; an error that says so where there is none."""
        return self.host.store

    @property
    def runner(self) -> Any:
        """The live runner; an error that says so where there is none."""
        return self.host.runner

    def model(self, name: str) -> ModelRef:
        """The model called ``name``."""
        return self.host.model(name)


def models_of_file(path: str) -> dict[str, Any]:
    """The models that a file defines, by class name; a failing file is an error with its line."""
    from galenic import plugins

    try:
        found = plugins.models_in(path)
    except GalenicError:
        raise
    except Exception as error:
        raise load_error(path, path, error) from error
    return {entry.at.rpartition(":")[2]: entry for entry in found}


def _of_file(path: str, attribute: str) -> ModelRef:
    """The model ``attribute`` of a file, or its only one."""
    offered = models_of_file(path)
    if not offered:
        raise DataError(f"{path!r} defines no model", expected="a class that inherits Model")
    if not attribute and len(offered) > 1:
        raise DataError(
            f"{path!r} defines {len(offered)} models",
            hint="name one: " + ", ".join(f"{path}:{name}" for name in offered),
        )
    attribute = attribute or next(iter(offered))
    if attribute not in offered:
        raise UnknownName.among("model", attribute, offered, where=path)
    return ModelRef(offered[attribute].name, offered[attribute])
