"""Data sets: what is read, what is flagged, what is refused, with row and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.errors import DataError
from galenic.inference.mixed.layout import Column, Layout, Route
from galenic.inference.mixed.records import Records, read

LAYOUT = Layout(Route("A1"), "C", {"weight": Column("WT", "kg")})
HEADER = "ID,TIME,AMT,DV,EVID,WT"
GOOD = ["1,0,100,.,1,70", "1,1,.,5.5,0,70", "1,2,.,4.0,0,71", "2,0,100,.,1,60", "2,1,.,6.0,0,."]


def told(rows: list[str], header: str = HEADER, layout: Layout = LAYOUT) -> Records:
    names = header.split(",")
    return read([dict(zip(names, row.split(","), strict=True)) for row in rows], layout)


def test_rows_become_individuals_in_si() -> None:
    records = told(GOOD)

    first, second = records.individuals
    assert (first.id, len(first.doses), list(first.values)) == ("1", 1, [5.5, 4.0])
    assert first.doses[0].amount == pytest.approx(1e-4)
    assert list(first.times) == [3600.0, 7200.0]
    assert second.covariates[:, 0] == pytest.approx([60.0, 60.0])
    assert "row 6: weight missing in 1 rows, carried" in records.flags
    assert records.used["observations"] == 3


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({2: "1,0.5,.,4.0,0,71"}, "row 4, column TIME"),
        ({0: "1,0,-100,.,1,70"}, "row 2, column AMT"),
        ({2: "1,1,.,5.5,0,70"}, "row 4, column TIME"),
        ({1: "1,1,.,.,0,70"}, "row 3, column DV"),
        ({1: "1,one,.,5,0,70"}, "row 3, column TIME"),
        ({1: "1,1,.,5,7,70"}, "row 3, column EVID"),
        ({3: "2,0,100,.,1,.", 4: "2,1,.,6.0,0,NA"}, "row 5, column WT"),
        ({4: "1,3,.,6.0,0,70"}, "row 6, column ID"),
        ({4: "2,1,.,6.0,0,heavy"}, "row 6, column WT"),
    ],
)
def test_what_cannot_be_names_row_and_column(change: dict[int, str], where: str) -> None:
    rows = [change.get(i, row) for i, row in enumerate(GOOD)]

    with pytest.raises(DataError) as error:
        told(rows)

    assert where in error.value.where


def test_a_level_before_any_dose_is_flagged() -> None:
    records = told(["1,0,.,3.0,0,70", *[row.replace("1,0,", "1,0.5,", 1) for row in GOOD[:1]]])

    assert "row 2: an observation of 3 before any dose" in records.flags


def test_rows_that_stand_for_many_doses() -> None:
    header = "ID,TIME,AMT,DV,EVID,ADDL,II,RATE"
    layout = Layout(Route("A1"), "C")

    records = told(["1,0,100,.,1,2,12,50", "1,30,.,1,0,.,.,."], header, layout)

    doses = records.individuals[0].doses
    assert [d.time / 3600 for d in doses] == [0, 12, 24]
    assert doses[0].rate == pytest.approx(50e-6 / 3600)


def test_endpoints_limits_and_occasions() -> None:
    header = "ID,TIME,AMT,DV,EVID,DVID,CENS,OCC"
    layout = Layout(Route("A1"), {"cp": "C", "pca": ("R", "1"), "x": None})
    rows = ["1,0,9,.,1,cp,0,1", "1,1,.,2,0,cp,0,1", "1,1,.,80,0,pca,0,1", "1,2,.,.5,0,cp,1,2"]

    records = told([*rows, "1,3,.,1,0,x,0,2"], header, layout)

    one = records.individuals[0]
    assert records.endpoints == (("C", ""), ("R", "1"))
    assert list(one.endpoint) == [0, 1, 0]
    assert list(one.censored) == [False, False, True]
    assert one.limits[2] == 0.5
    assert list(one.occasions) == [0, 0, 0, 1, 1]
    assert records.used["left out endpoints"] == 1


def test_an_unknown_endpoint_and_a_steady_state_without_interval() -> None:
    with pytest.raises(DataError, match="an observation of"):
        told(["1,1,.,2,0,y"], "ID,TIME,AMT,DV,EVID,DVID", Layout(Route("A1"), {"cp": "C"}))
    with pytest.raises(DataError, match="no interval"):
        told(["1,0,9,.,1,1,0"], "ID,TIME,AMT,DV,EVID,SS,II", Layout(Route("A1"), "C"))


def test_a_file_is_read_with_its_own_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("\n".join([HEADER, *GOOD[:2], "1,0,.,4,0,70"]))

    with pytest.raises(DataError) as error:
        read(path, LAYOUT)

    assert error.value.where == "data.csv, row 4, column TIME"


def test_only_wanted_rows_and_periods_that_begin_anew() -> None:
    rows = ["1,0,9,.,1,1", "1,5,.,2,0,1", "1,0,9,.,1,2", "1,5,.,3,0,2"]
    header = "ID,TIME,AMT,DV,EVID,OCC"

    first: Any = told(rows, header, Layout(Route("A1"), "C", keep={"OCC": 1}))
    both: Any = told(rows, header, Layout(Route("A1"), "C", restart=True))

    assert first.count == 1
    assert both.individuals[0].resets == ((5 * 3600.0, 2),)
    assert np.diff(both.individuals[0].times) == pytest.approx([5 * 3600.0])
