"""A bundle: a copy of the records that an auditor can check, and read, without galenic.

A folder with ledger, journal and signed heads as lines of canonical JSON, the sealed segments and
the artefacts as they are, a manifest with the size and SHA-256 of each file, and the program that
checks all of it (`galenic.records.galenic_verify`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from galenic.errors import DataError
from galenic.records import galenic_verify
from galenic.records.codec import canonical
from galenic.records.files import storage_errors
from galenic.records.historian import FOLDER
from galenic.records.journal import Row
from galenic.records.ledger import ARTEFACT, COMPACT, DISPOSE, SEAL, Head
from galenic.records.signatures import SIGNATURE, Signed
from galenic.records.site import SiteStore

PROGRAM = "galenic_verify.py"
READ_ME = """Records of the site {site} up to ledger entry {index} and journal row {offset}.

Check them with Python 3.9 or later and its package cryptography, nothing else:

    python galenic_verify.py . --head HEAD-THAT-WAS-KEPT-ELSEWHERE

Better take galenic_verify.py from where you trust it: whoever changes records can change the
program beside them.

ledger.jsonl    every entry, one line each; hash is the SHA-256 of the canonical JSON of the rest
journal.jsonl   every signal as it came, and in which order it was applied; hashes are chained
heads.jsonl     signed heads (Ed25519): what ledger and journal were at a moment
segments/       sealed samples (Parquet), named in entries of kind seal
artefacts/      files under their SHA-256; entries of kind artefact say what they are
signatures.txt  the electronic signatures for people, one line each; they are entries of the ledger
manifest.json   size and SHA-256 of each file here
"""


def write_bundle(store: SiteStore, folder: str | Path) -> dict[str, Any]:
    """Write the records to a new or empty folder; the manifest, which is also written there."""
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError("there is something already", where=str(target), expected="a new folder")
    if not store.readonly:
        store.sign()
    with storage_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        head = store.head()
        _write_lines(target / "ledger.jsonl", _entries(store, head))
        _write_lines(target / "journal.jsonl", _rows(store, head))
        _write_lines(target / "heads.jsonl", _heads(store, head))
        _write_signatures(store, head, target / "signatures.txt")
        _copy_files(store, head, target)
        facts = {"site": store.site, "index": head.index, "offset": head.offset}
        (target / "README.txt").write_text(READ_ME.format(**facts), encoding="utf-8")
        shutil.copyfile(galenic_verify.__file__, target / PROGRAM)
        manifest = {
            "format": galenic_verify.FORMAT,
            "site": store.site,
            "head": head.to_dict(),
            "files": [
                _listed(target, path) for path in sorted(target.rglob("*")) if path.is_file()
            ],
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (target / galenic_verify.MANIFEST).write_text(text, encoding="utf-8")
    return manifest


def _entries(store: SiteStore, head: Head) -> Iterator[dict[str, Any]]:
    return (entry.to_dict() for entry in store.ledger_read(0, head.index + 1))


def _rows(store: SiteStore, head: Head) -> Iterator[dict[str, Any]]:
    return (_row(row) for row in store.journal_rows(1, head.offset + 1))


def _row(row: Row) -> dict[str, Any]:
    offset, received, kind, body, digest = row
    return {
        "offset": offset,
        "received": received,
        "kind": kind,
        "body": body.decode(),
        "hash": digest.hex(),
    }


def _heads(store: SiteStore, head: Head) -> Iterator[dict[str, Any]]:
    for signed in store.signed_heads():
        if signed.size <= head.index + 1 and signed.offset <= head.offset:
            yield dict(vars(signed))


def _write_signatures(store: SiteStore, head: Head, path: Path) -> None:
    """Each signature in words: what was signed, who, when, what for and why."""
    with path.open("w", encoding="utf-8") as file:
        for entry in store.ledger_read(0, head.index + 1, [SIGNATURE]):
            signed = Signed.of(entry)
            record = signed.record
            named = f"{record['type']} {record['id']}, version {record['version']}"
            file.write(f"entry {entry.index}: {named}: {signed.text}\n")


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("wb") as file:
        for row in rows:
            file.write(canonical(row) + b"\n")


def _copy_files(store: SiteStore, head: Head, target: Path) -> None:
    for name in (FOLDER, "artefacts"):
        (target / name).mkdir()
    for name in _segments(store, head):
        shutil.copyfile(store.folder / FOLDER / name, target / FOLDER / name)
    for entry in store.ledger_read(0, head.index + 1, [ARTEFACT]):
        data = store.artefact(entry.subject).data
        (target / "artefacts" / entry.subject).write_bytes(data)


def _segments(store: SiteStore, head: Head) -> list[str]:
    """The segments that the ledger up to a head says are there."""
    found: dict[str, None] = {}
    for entry in store.ledger_read(0, head.index + 1, [SEAL, COMPACT, DISPOSE]):
        for one in entry.detail.get("replaces", ()):
            found.pop(one["name"], None)
        if entry.kind == DISPOSE:
            found.pop(entry.subject, None)
        new = entry.detail.get("by", {"name": entry.subject})
        if new is not None and entry.detail.get("what") != "volume":
            found[new["name"]] = None
    return list(found)


def _listed(target: Path, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = path.relative_to(target).as_posix()
    return {"name": name, "size": path.stat().st_size, "sha256": digest}
