"""Long looks at the records in a process of their own, so that live twins are not held up.

The process opens the site for reading only. It may be stopped at any time.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from galenic.app.jobs import ServiceFailed
from galenic.errors import GalenicError

NICE = 5  # live twins go first
BATCH = 50


class Aside:
    """A look that runs beside; what it gives is taken as it comes, in a thread.

    Parameters
    ----------
    look : callable (store, *arguments) -> iterator
        A function of a module, run in the process over the site's store.
    folder : str
        Of the site.
    arguments : tuple
    take : callable
        Gets each thing that ``look`` gives.
    end : callable
        Is called once at the end, with the facts of an error, or None.
    """

    def __init__(
        self,
        look: Callable[..., Iterator[Any]],
        folder: str,
        arguments: tuple[Any, ...],
        take: Callable[[Any], None],
        end: Callable[[dict[str, str] | None], None],
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe(duplex=False)
        self._process = context.Process(
            target=work, args=(other, look, folder, arguments), daemon=True, name="galenic-aside"
        )
        self._process.start()
        other.close()
        self._reader = threading.Thread(target=self._read, args=(take, end), daemon=True)
        self._reader.start()

    def _read(
        self, take: Callable[[Any], None], end: Callable[[dict[str, str] | None], None]
    ) -> None:
        error: dict[str, str] | None = {"found": "it was stopped", "hint": "start it again"}
        try:
            while True:
                what, content = self._pipe.recv()
                if what == "end":
                    error = content
                    break
                for one in content:
                    take(one)
        except (EOFError, OSError):
            pass
        finally:
            self._pipe.close()
            self._process.join()
            end(error)

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the end."""
        self._reader.join(seconds)

    def stop(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._reader.join(5)


def work(
    pipe: Connection, look: Callable[..., Iterator[Any]], folder: str, arguments: tuple[Any, ...]
) -> None:
    """Send what ``look`` gives: main of the process."""
    import os
    import signal
    import time

    from galenic.records import open_site

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's; it ends this too
    os.nice(NICE)
    error: dict[str, str] | None = None
    batch: list[Any] = []
    sent = time.monotonic()
    try:
        with open_site(folder, readonly=True) as store:
            for one in look(store, *arguments):
                batch.append(one)
                if len(batch) == BATCH or time.monotonic() - sent > 0.2:
                    pipe.send(("some", batch))
                    batch, sent = [], time.monotonic()
    except GalenicError as found:
        error = found.to_dict()
    except Exception as found:
        error = ServiceFailed.of(look.__name__, found).to_dict()
    pipe.send(("some", batch))
    pipe.send(("end", error))
