"""Samples from files: CSV with a declared mapping, folders that grow, recorded Parquet."""

from galenic.connect.files.folder import CsvFolder
from galenic.connect.files.mapping import CsvColumn, CsvMapping
from galenic.connect.files.reader import CsvReader
from galenic.connect.files.recorded import Recorded
from galenic.connect.files.rows import Rejected, RowReader

__all__ = ["CsvColumn", "CsvFolder", "CsvMapping", "CsvReader", "Recorded", "Rejected", "RowReader"]
