"""Samples from tables of other people's databases, by the mapping that CSV files have too."""

from galenic.connect.table.client import TableConnector
from galenic.connect.table.database import Database, DatabaseReader

__all__ = ["Database", "DatabaseReader", "TableConnector"]
