"""What can be taken away from a page: tables as CSV and Parquet, charts as pictures.

A table is the plain form that results have: ``{"title", "columns": [{"name", "unit", "data"}]}``.
A column of the kind "time" holds ns UTC; it is written twice, in UTC and in the site's zone.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from nicegui import ui

from galenic.app.views import shown
from galenic.app.views.facts import Facts
from galenic.app.views.feed import Feed, in_unit, since
from galenic.app.views.frame import complain
from galenic.clock import to_iso
from galenic.errors import GalenicError
from galenic.signals import Quality

Table = dict[str, Any]
TREND = (
    ("time", "", "time"),
    ("quantity", "", ""),
    ("meaning", "", ""),
    ("kind", "", ""),
    ("tag", "", ""),
    ("value", "", ""),
    ("unit", "", ""),
    ("lower 90 %", "", ""),
    ("upper 90 %", "", ""),
    ("quality", "", ""),
)


def as_csv(table: Mapping[str, Any]) -> str:
    """A table in full precision with units in its head.

    Examples
    --------
    >>> as_csv({"columns": [{"name": "V", "unit": "L", "data": [0.1, 2.0]}]}).split()
    ['V', '[L]', '0.1', '2.0']
    """
    columns = _written(table)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_head(column) for column in columns])
    writer.writerows(zip(*(column["data"] for column in columns), strict=True))
    return out.getvalue()


def as_parquet(table: Mapping[str, Any], **notes: str) -> bytes:
    """A table as Parquet; units stand in the metadata of its fields."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields, arrays = [], []
    for column in _written(table):
        kind = _arrow_type(column)
        unit = {"unit": column["unit"]} if column.get("unit") else None
        fields.append(pa.field(column["name"], kind, metadata=unit))
        data = column["ns"] if "ns" in column else column["data"]
        arrays.append(pa.array([_cell(value, kind) for value in data], kind))
    metadata = {"title": str(table.get("title", "")), **notes}
    out = io.BytesIO()
    made = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))
    pq.write_table(made, out, compression="zstd")
    return out.getvalue()


def _arrow_type(column: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    if "ns" in column:
        return pa.timestamp("ns", tz="UTC")
    kinds = {type(value) for value in column["data"] if value is not None}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()


def _cell(value: Any, kind: Any) -> Any:
    return str(value) if value is not None and kind == "string" else value


def _written(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns as they are written: each time in UTC and in the site's zone."""
    made: list[dict[str, Any]] = []
    for column in table["columns"]:
        if column.get("kind") != "time":
            made.append(dict(column))
            continue
        times, name = column["data"], column["name"]
        made.append({"name": f"{name} UTC", "data": [to_iso(t) for t in times], "ns": times})
        made.append({"name": f"{name} local", "data": [shown.local(t).isoformat() for t in times]})
    return made


def _head(column: Mapping[str, Any]) -> str:
    unit = column.get("unit")
    return f"{column['name']} [{unit}]" if unit and unit != "1" else str(column["name"])


def plot_table(plot: Mapping[str, Any]) -> Table:
    """The numbers of a result's plot."""
    x = plot["x"]
    columns = [{"name": x["name"], "unit": x.get("unit", ""), "data": list(x["data"])}]
    for one in plot["y"]:
        unit = one.get("unit", "")
        columns.append({"name": one["name"], "unit": unit, "data": list(one["data"])})
        for end in ("lower", "upper"):
            if one.get(end):
                name = f"{one['name']} {end} 90 %"
                columns.append({"name": name, "unit": unit, "data": list(one[end])})
    return {"title": plot["title"], "columns": columns}


def trend_table(
    facts: Facts, paths: Sequence[str], feed: Feed, store: Any, start: int, now: int
) -> Table:
    """All that a trend shows, one row per point, not thinned.

    Measurements come from the historian with their quality, each by its tag, in the unit of its
    quantity and calibrated; estimates and the newest forecast come from the feed.
    """
    rows: list[tuple[Any, ...]] = []
    for path in paths:
        rows += _measured(facts, path, store, start, now)
        common = (path, facts.meaning(path))
        unit = facts.unit(path)
        for time, value, low, high in since(feed.estimated.get((facts.id, path), ()), start):
            rows.append((time, *common, "estimated", "", value, unit, low, high, ""))
        rows += _predicted(feed.forecasts.get(facts.id), path, common, unit, now)
    data = list(zip(*rows, strict=True)) if rows else [()] * len(TREND)
    columns = [
        {"name": name, "unit": unit, "kind": kind, "data": list(values)}
        for (name, unit, kind), values in zip(TREND, data, strict=True)
    ]
    return {"title": f"trends of {facts.id}", "columns": columns}


def _measured(
    facts: Facts, path: str, store: Any, start: int, now: int
) -> Iterable[tuple[Any, ...]]:
    for channel in facts.read_as(path):
        binding = channel.binding
        table = store.history([facts.address(binding.tag)], start, now + 1)
        names = ("time", "value", "unit", "quality")
        for time, value, unit, quality in zip(
            *(table.column(name).to_pylist() for name in names), strict=True
        ):
            given = [] if value is None else [(time, value)]
            source = unit or binding.unit
            made = in_unit(given, source, facts.unit(path), *binding.calibration)
            word = Quality(quality).name.lower()
            yield (time, path, facts.meaning(path), "measured", facts.address(binding.tag),
                   made[0][1] if made else None, facts.unit(path), None, None, word)  # fmt: skip


def _predicted(
    forecast: Mapping[str, Any] | None, path: str, common: tuple[str, str], unit: str, now: int
) -> Iterable[tuple[Any, ...]]:
    row = forecast["series"].get(path) if forecast else None
    if forecast is None or row is None:
        return
    edges = (row["quantiles"]["0.05"], row["quantiles"]["0.95"])
    for time, mean, low, high in zip(forecast["times"], row["mean"], *edges, strict=True):
        if time > now:
            yield (time, *common, "predicted", "", mean, unit, low, high, "")


def file_name(*parts: str) -> str:
    """A name that every file system takes.

    Examples
    --------
    >>> file_name("line 1", "a/b", "2026-11-23 01:02:03+00:00")
    'line-1_a-b_2026-11-23-01-02-03-00-00'
    """
    return "_".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts if part)


def menu(
    title: str,
    note: str | Callable[[], str],
    element: Callable[[], Any] | None,
    table: Callable[[], Table | Awaitable[Table]] | None,
) -> ui.button:
    """One button with all downloads of a chart and of its data.

    Parameters
    ----------
    title, note : str
        Stand above the picture; the title also names the files.
    element : callable, optional
        The chart, for PNG and PDF.
    table : callable, optional
        Gives the table of its data, or an awaitable of it.
    """

    def said() -> str:
        return note() if callable(note) else note

    async def data(form: str) -> None:
        try:
            made = table() if table is not None else {"columns": []}
            made = await made if isinstance(made, Awaitable) else made
        except GalenicError as error:
            complain(error)
            return
        content = as_csv(made).encode() if form == "csv" else as_parquet(made, note=said())
        ui.download.content(content, f"{file_name(title)}.{form}")

    def picture(form: str) -> None:
        chart = element() if element is not None else None
        if chart is not None:
            words = [f"c{chart.id}", form, file_name(title), title, said()]
            ui.run_javascript(f"galenic.picture({', '.join(map(_quoted, words))})")

    button = ui.button("Download", color=None).props(
        f'no-caps unelevated dense aria-haspopup=menu aria-label="Download {title}"'
    )
    button.classes("plain no-print").style("padding: 5px 14px")
    with button, ui.menu().props("auto-close"):
        if element is not None:
            ui.menu_item("Picture (PNG)", lambda: picture("png"))
            ui.menu_item("Page (PDF)", lambda: picture("pdf"))
        if table is not None:
            ui.menu_item("Data (CSV)", lambda: data("csv"))
            ui.menu_item("Data (Parquet)", lambda: data("parquet"))
    return button


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False).replace("</", "<\\/")
