"""The scoring of a press record as a service."""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path

from galenic.twin.service import File, Result, Run, service


@service("Score a press record", stage="manufacturing")
def score_record(data: File, tuned_on: str = "368", *, run: Run) -> Result:
    """Follow a press record with the twin press-record and score what it foretold.

    Main and pre compression force 1, 5 and 15 minutes ahead against persistence, rolling mean and
    ridge regression; stops, restarts and fill changes recognised from forces alone; and which
    combinations of powder and die the forces can tell.

    Parameters
    ----------
    data : file
        The record as CSV, with the columns of doi 10.1038/s41597-022-01203-x.
    tuned_on : str
        Batch on which the rivals are tuned.
    """
    from galenic.connect.files import CsvReader
    from galenic.stages.manufacturing.press_record.report import scored

    mapping = resources.files(__package__) / "columns.toml"
    with tempfile.TemporaryDirectory() as folder, resources.as_file(mapping) as columns:
        path = Path(folder) / "record.csv"
        path.write_bytes(data.read())
        return scored(CsvReader(path, columns), tuned_on, run.progress).result()
