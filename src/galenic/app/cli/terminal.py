"""What the command line shows: results as tables, errors with their hints, progress as a bar."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.errors import DataError
from galenic.twin.result import Plot, Result, Table, Value

if TYPE_CHECKING:
    from rich.console import Console

ROWS = 40  # rows of a table shown in the terminal; files hold all
COLOURS = {
    "measured": "#555555",
    "estimated": "#1f6fb2",
    "predicted": "#1f6fb2",
    "setpoint": "#888888",
    "line": None,
}


def console(*, error: bool = False) -> Console:
    """A terminal, or plain text where the output goes elsewhere."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else 200)


def show_json(document: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def show_error(error: Exception, *, as_json: bool) -> None:
    """What was found, where, what was expected, what to try."""
    from galenic.app.jobs import error_facts

    facts = error_facts(error)
    if as_json:
        show_json(facts)
        return
    lines = [f"error: {facts['found']}"]
    names = (("where", "in"), ("expected", "expected:"), ("hint", "hint:"))
    lines += [f"  {label} {facts[key]}" for key, label in names if facts.get(key)]
    print("\n".join(lines), file=sys.stderr)


def number(value: Any) -> str:
    """A number as people read it, six significant digits at most."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def show(result: Result) -> None:
    """A result: text, then values, then tables; plots and artefacts by name."""
    out = console()
    if result.text:
        out.print(result.text, markup=False)
    if result.values:
        out.print(_values(result.values))
    for table in result.tables:
        out.print(_table(table))
        if len(table) > ROWS:
            out.print(f"… {len(table) - ROWS} more rows; --csv FILE writes all", markup=False)
    for plot in result.plots:
        out.print(f"plot: {plot.title} (--plot FILE.png draws it)", markup=False)
    for made in result.artefacts:
        text = f"made: {made.name}, {len(made.data)} bytes (--out FOLDER writes it)"
        out.print(text, markup=False)


def _values(values: Mapping[str, Value]) -> Any:
    from rich.table import Table as Grid

    grid = Grid(box=None, pad_edge=False, show_header=False)
    grid.add_column()
    grid.add_column(justify="right")
    for _ in range(2):
        grid.add_column(style="dim")
    for name, value in values.items():
        text = number(value.value)
        if value.lower is not None and value.upper is not None:
            text += f"  ({number(value.lower)} to {number(value.upper)})"
        grid.add_row(name, text, _unit(value.unit), value.meaning)
    return grid


def _unit(unit: str) -> str:
    return "" if unit == "1" else unit


def _table(table: Table) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table as Grid

    grid = Grid(title=escape(table.title) or None, box=SIMPLE_HEAD, title_justify="left")
    for column in table.columns:
        words = any(isinstance(item, str) for item in column.data)
        unit = f" [dim]{escape(_unit(column.unit))}[/dim]" if _unit(column.unit) else ""
        grid.add_column(escape(column.name) + unit, justify="left" if words else "right")
    for _, row in zip(range(ROWS), table.rows(), strict=False):
        grid.add_row(*(escape(number(_item(item))) for item in row))
    return grid


def _item(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


@contextmanager
def progress(title: str, *, quiet: bool) -> Iterator[Callable[[float, str], None]]:
    """A function to report progress to; a bar where somebody looks."""
    if quiet or not sys.stderr.isatty():
        yield lambda fraction, text: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(error=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def report(fraction: float, text: str) -> None:
            bar.update(task, completed=fraction, description=text or title)

        yield report


def write_outputs(
    result: Result, plot: str | None, table: str | None, folder: str | None
) -> list[str]:
    """Write plots, tables and artefacts to files; the paths written."""
    written = []
    if plot:
        written += [draw(result.plots, Path(plot))]
    if table:
        written += write_tables(result.tables, Path(table))
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for made in result.artefacts:
            path = Path(folder) / Path(made.name).name
            path.write_bytes(made.data)
            written.append(str(path))
    return written


def write_tables(tables: Any, path: Path) -> list[str]:
    """Each table as CSV at full precision, units in the header; later ones are numbered."""
    if not tables:
        raise DataError("the result has no table to write", where=str(path))
    written = []
    for count, table in enumerate(tables):
        target = path if count == 0 else path.with_stem(f"{path.stem}-{count + 1}")
        with _opened(target) as stream:
            writer = csv.writer(stream)
            writer.writerow(
                f"{c.name} [{c.unit}]" if _unit(c.unit) else c.name for c in table.columns
            )
            writer.writerows([_item(item) for item in row] for row in table.rows())
        written.append(str(target))
    return written


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with path.open("w", newline="", encoding="utf-8") as stream:
            yield stream
    except OSError as error:
        raise DataError(f"cannot write {str(path)!r}: {error.strerror}") from error


def draw(plots: Any, path: Path) -> str:
    """All plots, one under the other, as PNG, SVG or PDF by the ending of ``path``."""
    if not plots:
        raise DataError("the result has no plot to draw", where=str(path))
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2 * len(plots)), layout="constrained")
    for axes, plot in zip(figure.subplots(len(plots), squeeze=False)[:, 0], plots, strict=True):
        _draw_one(axes, plot)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot write {str(path)!r}: {error}", expected="a path ending in .png, .svg or .pdf"
        ) from error
    return str(path)


def _gaps(data: Any) -> list[float]:
    """Values with gaps where there is none."""
    return [float("nan") if item is None else item for item in data]


def _draw_one(axes: Any, plot: Plot) -> None:
    for series in plot.y:
        label = series.name + (f" [{series.unit}]" if _unit(series.unit) else "")
        data = _gaps(series.data)
        colour = COLOURS[series.style]
        look = {"measured": ".", "predicted": "--"}.get(series.style, "-")
        drawing = "steps-post" if series.style == "setpoint" else "default"
        (line,) = axes.plot(
            plot.x.data, data, look, color=colour, lw=1.3, label=label, drawstyle=drawing
        )
        if series.lower is not None and series.upper is not None:
            band = (_gaps(series.lower), _gaps(series.upper))
            axes.fill_between(plot.x.data, *band, color=line.get_color(), alpha=0.2, lw=0)
    unit = f" [{plot.x.unit}]" if _unit(plot.x.unit) else ""
    axes.set(title=plot.title, xlabel=plot.x.name + unit)
    axes.grid(alpha=0.3)
    if len(plot.y) <= 12:
        axes.legend(fontsize="small")
