"""CSV files as samples; what cannot be read is reported, never dropped silently."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from galenic.connect.files.mapping import CsvMapping
from galenic.connect.files.rows import RowReader
from galenic.errors import DataError
from galenic.signals import Sample


class CsvReader(RowReader):
    """Reads one file; iterate over it for samples row by row, in file order.

    Parameters
    ----------
    path : Path
        The file; its first row names the columns.
    mapping : CsvMapping, mapping, or path of a TOML file
        What the columns mean.

    Attributes
    ----------
    rejected : list of Rejected
        What the last pass could not read; rows are numbered as an editor does, the header is 1.
    header : list of str
        The columns that the last pass found.
    """

    def __init__(
        self, path: str | Path, mapping: CsvMapping | Mapping[str, Any] | str | Path
    ) -> None:
        super().__init__(mapping, str(path))
        self.path = Path(path)
        self.header: list[str] = []

    def __iter__(self) -> Iterator[Sample]:
        for batch in self.rows():
            yield from batch

    def rows(self) -> Iterator[list[Sample]]:
        """The samples of each row; empty rows give none."""
        self.begin()
        try:
            with self.path.open(encoding=self.mapping.encoding, newline="") as file:
                lines = csv.reader(file, delimiter=self.mapping.delimiter)
                self.header = next(lines, [])
                self.check_header(self.header)
                for cells in lines:
                    yield self.read_row(lines.line_num, self.header, cells)
        except OSError as error:
            raise DataError(f"cannot read {str(self.path)!r}: {error.strerror}") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                f"not a {self.mapping.encoding} CSV file: {error}", where=str(self.path)
            ) from error
