"""The command line: ``galenic``.

Exit codes: 0 all well, 1 the thing asked for failed, 2 the command was wrong, 130 interrupted.
``--json`` gives exactly one JSON document on standard output, errors included.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code."""
    import click

    from galenic.app.cli.root import root
    from galenic.errors import GalenicError

    line = list(sys.argv[1:] if argv is None else argv)
    try:
        code = root.main(line, prog_name="galenic", standalone_mode=False)
        return code if isinstance(code, int) else OK
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except click.ClickException as error:
        return _fail(_usage(error), line, USAGE)
    except GalenicError as error:
        return _fail(error, line, _code(error))
    except BrokenPipeError:  # the reader of a pipe has gone, as with | head
        sys.stderr.close()
        return OK
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _code(error: Exception) -> int:
    from galenic.errors import UnknownName
    from galenic.twin.arguments import ArgumentError

    return USAGE if isinstance(error, ArgumentError | UnknownName) else FAILED


def _usage(error: Any) -> Exception:
    """A click error in the form of ours, with suggestions."""
    from galenic.twin.arguments import ArgumentError

    where = error.ctx.command_path if getattr(error, "ctx", None) else "galenic"
    close = [f"'{name}'" for name in getattr(error, "possibilities", None) or ()]
    hint = f"did you mean {' or '.join(close)}?" if close else f"see {where} --help"
    found = error.format_message().split(" (Possible", 1)[0].split(" Did you mean", 1)[0]
    return ArgumentError(found.rstrip("."), where=where, hint=hint)


def _fail(error: Exception, line: Sequence[str], code: int) -> int:
    from galenic.app.cli.terminal import show_error

    show_error(error, as_json="--json" in line)
    return code
