"""Where the tables of a site are: in its folder, or at the address of a PostgreSQL database.

The site's folder is always there: it holds the sealed files and the lock of the writer. Where the
tables are in PostgreSQL, the file `NOTE` in it says where, so that every reader finds them by the
folder alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from galenic.errors import DataError, StorageError
from galenic.records.files import storage_errors, sync_file, sync_folder

EMBEDDED = "embedded"
DATABASE = "site.sqlite"
NOTE = "store"
SCHEMA = "galenic"


@dataclass(frozen=True)
class Address:
    """A PostgreSQL database, and the schema in it that belongs to one site.

    Parameters
    ----------
    target : str
        ``postgresql://user@host:port/database?sslmode=...``, as libpq reads it, no password.
    schema : str
        Its ``schema=`` parameter, "galenic" if left out.
    """

    target: str
    schema: str = SCHEMA

    @classmethod
    def of(cls, text: str) -> Address:
        """The address that is written as one line; refused if it has a password in it."""
        parts = urlsplit(text)
        if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
            raise DataError(
                f"{_without_secret(text)!r} is no place for records",
                expected="embedded, or postgresql://user@host:port/database?schema=name",
            )
        query = dict(parse_qsl(parts.query))
        if parts.password is not None or "password" in query:
            raise DataError(
                "the address of the database has a password in it",
                where=_without_secret(text),
                hint="put it into ~/.pgpass or PGPASSWORD; addresses are shown and copied",
            )
        name = query.pop("schema", SCHEMA)
        if not name.isidentifier() or not name.isascii() or name != name.lower():
            raise DataError(f"schema={name!r}", expected="small letters, digits and underscores")
        target = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(query), ""))
        return cls(target, name)

    @property
    def text(self) -> str:
        """The one line that `of` reads."""
        return f"{self.target}{'&' if '?' in self.target else '?'}schema={self.schema}"


def _without_secret(text: str) -> str:
    parts = urlsplit(text)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def check_place(text: str) -> str:
    """A place in the form in which it is noted; a DataError where it is none."""
    return text if text == EMBEDDED else Address.of(text).text


def kept_at(folder: Path) -> str | None:
    """Where the tables of a folder's site are; None where there is no site yet."""
    with storage_errors(folder):
        if (folder / NOTE).is_file():
            return (folder / NOTE).read_text(encoding="utf-8").strip()
    return EMBEDDED if (folder / DATABASE).is_file() else None


def keep_at(folder: Path, place: str) -> None:
    """Note durably, and in one step, where the tables are."""
    with storage_errors(folder):
        target = folder / NOTE
        if place == EMBEDDED:
            target.unlink(missing_ok=True)
        else:
            temporary = folder / f"{NOTE}.tmp"
            temporary.write_text(f"{place}\n", encoding="utf-8")
            sync_file(temporary)
            temporary.replace(target)
        sync_folder(folder)


def agreed(folder: Path, wanted: str) -> str:
    """The wanted place of a folder's tables; refused where the site is in another."""
    place, kept = check_place(wanted), kept_at(folder)
    if kept not in (None, place):
        raise StorageError(
            f"the records of this site are in {kept}, not in {place}",
            where=str(folder),
            expected=f"store = {kept!r} under [site] of the project",
            hint="galenic move takes a site from one store to another",
        )
    return place
