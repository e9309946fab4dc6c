"""The C compiler of this machine, where there is one."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from galenic.errors import ModelError

_STANDARD = ("-std=c99", "-O2", "-ffp-contract=off")


def compiler() -> list[str] | None:
    """The command of a C compiler: the variable CC, else cc, gcc or clang; None without one."""
    given = shlex.split(os.environ.get("CC", ""))
    if given and shutil.which(given[0]):
        return given
    return next(([name] for name in ("cc", "gcc", "clang") if shutil.which(name)), None)


def build(sources: Sequence[Path], target: Path, options: Sequence[str] = ()) -> Path:
    """Compile and link C99 ``sources`` into ``target``."""
    command = compiler()
    if command is None:
        raise ModelError("there is no C compiler", hint="install gcc or clang, or set CC")
    line = [*command, *_STANDARD, *options, *map(str, sources), "-o", str(target), "-lm"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ModelError(
            f"the C compiler failed: {done.stderr.strip()[-2000:]}", where=" ".join(line[:1])
        )
    return target
