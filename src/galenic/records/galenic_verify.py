"""Check an exported bundle of records without galenic.

    python galenic_verify.py BUNDLE [--head TEXT|FILE] [--json]

Needs Python 3.9 or later and the package ``cryptography`` (for signatures), nothing else. The
bundle is a folder: ledger, journal and signed heads as lines of JSON, sealed segments, artefacts,
and a manifest. Everything is recomputed: the hash of each ledger entry and its chain, the Merkle
tree over all of them (RFC 6962) at each signed head, the signatures (Ed25519), the chain through
all rows of the journal and its values in the ledger, the hash of each segment and artefact, and
whether each electronic signature fits the record that it names. What does not fit is named:
entry, row, head or file.

Who can change the bundle can also make it shorter, or make all of it anew. Only a head that was
kept elsewhere shows that: give it with --head, as the line ``index:hash:offset:journal:root`` or
as the file that the site publishes its signed heads to. Exit code: 0 intact, 1 not intact, 2 no
bundle.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = "galenic bundle 2"
EARLIER = ("galenic bundle 1",)
MANIFEST = "manifest.json"
ZERO = "0" * 64
LIMIT = 50
OUTSIDE = "the outside head"
MEANINGS = ("authorship", "review", "approval", "responsibility")
SIGNED = ("record", "signer", "printed", "time", "offset", "meaning", "reason", "method", "session")

Facts = dict[str, Any]


class Problem(NamedTuple):
    """One thing that is not as it was recorded; part, place and reason are for people."""

    part: str
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.part}: {self.place}: {self.reason}"


@dataclass(frozen=True)
class Head:
    """A state that somebody vouches for: the last entry, the last journal row, the tree's root."""

    who: str
    index: int
    hash: str
    offset: int = 0
    journal: str = ""
    root: str = ""

    @property
    def state(self) -> tuple[int, str, int, str, str]:
        """All of it but who says so."""
        return self.index, self.hash, self.offset, self.journal, self.root


class Enough(Exception):
    """More problems would not help anybody."""


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def read_line(line: bytes) -> Facts:
    """The facts in one line; it must be in the one canonical form."""
    facts = json.loads(line)
    if not isinstance(facts, dict) or canonical(facts) != line:
        raise ValueError("is not in canonical form")
    return facts


def sha256(path: Path) -> str:
    """Hash of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


class Tree:
    """A Merkle tree that grows leaf by leaf (RFC 6962, section 2.1)."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, data: bytes) -> None:
        node, size = hashlib.sha256(b"\0" + data).digest(), self.size
        while size & 1:
            node = hashlib.sha256(b"\1" + self._peaks.pop() + node).digest()
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    @property
    def root(self) -> str:
        if not self._peaks:
            return hashlib.sha256(b"").hexdigest()
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = hashlib.sha256(b"\1" + peak + root).digest()
        return root.hex()


def can_check_signatures() -> bool:
    """Whether the one package that is needed is there."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError:
        return False
    return True


def signature_fault(facts: Facts) -> str:
    """What is wrong with the signature of a signed head, or ''."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    body = canonical({name: value for name, value in facts.items() if name != "signature"})
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(facts["key"]))
        key.verify(bytes.fromhex(facts["signature"]), body)
    except (InvalidSignature, ValueError, TypeError, KeyError):
        return "its signature does not fit"
    return ""


def span_of(facts: Facts | None) -> int:
    """How many offsets a row of the journal stands for: a pack, as many as it has samples."""
    try:
        if facts is not None and facts["kind"] == "pack":
            return max(1, int(json.loads(facts["body"])["count"]))
    except (KeyError, TypeError, ValueError):
        pass
    return 1


def head_of(facts: Facts, who: str) -> Head:
    """The state that a signed head names."""
    return Head(
        who, facts["size"] - 1, facts["hash"], facts["offset"], facts["journal"], facts["root"]
    )


def outside_heads(text: str) -> list[Head]:
    """The head that is written there, or all signed heads in the file that is named."""
    if Path(text).is_file():
        heads = []
        for number, line in enumerate(Path(text).read_bytes().splitlines(), 1):
            try:
                facts = read_line(line)
                fault = signature_fault(facts) if can_check_signatures() else ""
                head = head_of(facts, f"{OUTSIDE} of {text}:{number}")
            except (ValueError, KeyError, TypeError) as error:
                raise SystemExit(f"{text}:{number} is no signed head: {error}") from error
            if fault:
                raise SystemExit(f"{text}:{number}: {fault}")
            heads.append(head)
        return heads
    index, digest, *more = text.strip().split(":")
    if not more:
        return [Head(OUTSIDE, int(index), digest)]
    return [Head(OUTSIDE, int(index), digest, int(more[0]), *more[1:3])]


class SignatureCheck:
    """Whether electronic signatures fit the records that they name, entry by entry.

    A signature names its record by type, id, version and SHA-256: the record must stand in the
    ledger before it, with that hash. A call that was performed on request must have all the
    signatures that it needed, by different people.
    """

    def __init__(self) -> None:
        self.count = 0
        self._hashes = bytearray()
        self._artefacts: dict[str, str] = {}  # hash, identity in its provenance
        self._requests: dict[str, Facts] = {}
        self._signed: dict[str, list[Facts]] = {}

    def fault(self, number: int, facts: Facts, digest: str) -> str:
        """What is wrong with entry ``number``, or ''; ``digest`` is its own hash."""
        try:
            return self._look(facts)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return f"cannot be read as a {facts.get('kind')}: {error!r}"
        finally:
            self._hashes += bytes(32 * number - len(self._hashes)) + bytes.fromhex(digest)

    def _look(self, facts: Facts) -> str:
        kind, subject, detail = facts["kind"], facts["subject"], facts["detail"]
        if kind == "artefact":
            self._artefacts[subject] = str(detail.get("provenance", {}).get("identity", ""))
        elif kind == "request" and detail["what"] == "made":
            return self._made(subject, detail)
        elif kind == "request" and detail["what"] == "performed":
            return self._performed(subject)
        elif kind == "signature":
            self.count += 1
            return self._signature(facts, detail)
        return ""

    def _made(self, subject: str, detail: Facts) -> str:
        right = hashlib.sha256(canonical(detail["content"])).hexdigest()
        self._requests[subject] = detail
        return "" if right == detail["sha256"] else "its content does not give its SHA-256"

    def _performed(self, subject: str) -> str:
        if subject not in self._requests:
            return f"performs a request {subject} that was never made"
        signed = self._signed.get(subject, [])
        lacking = set(self._requests[subject]["meanings"]) - {one["meaning"] for one in signed}
        if lacking:
            return f"performs a request without the signature of {', '.join(sorted(lacking))}"
        if len({one["signer"] for one in signed}) < len(self._requests[subject]["meanings"]):
            return "performs a request whose signatures are of too few people"
        return ""

    def _signature(self, facts: Facts, detail: Facts) -> str:
        for name in SIGNED:
            if not detail[name]:
                return f"is a signature without {name}"
        if detail["meaning"] not in MEANINGS:
            return f"is a signature with the meaning {detail['meaning']!r}"
        if detail["signer"] != facts["who"] or detail["reason"] != facts["reason"]:
            return "is a signature whose signer or reason is not that of its entry"
        record = detail["record"]
        if record["type"] == "request":
            self._signed.setdefault(record["id"], []).append(detail)
        if not self._fits(record):
            named = f"{record['type']} {record['id']}, version {record['version']}"
            return f"is a signature that does not fit its record: {named}"
        return ""

    def _fits(self, record: Facts) -> bool:
        id, version, sha256 = record["id"], record["version"], record["sha256"]
        if record["type"] == "entry":
            place = 32 * int(id)
            return bool(sha256) and self._hashes[place : place + 32].hex() == sha256
        if record["type"] == "artefact":
            return bool(id == sha256 and id in self._artefacts)
        if record["type"] == "definition":
            return bool(self._artefacts.get(sha256) == version)
        made = self._requests.get(id, {})
        return bool(made and made["sha256"] == sha256 and str(made["version"]) == version)


class Verifier:
    """One pass over a bundle."""

    def __init__(self, folder: Path, outside: list[Head]) -> None:
        self.folder = folder
        self.problems: list[Problem] = []
        self.counts = {
            "entries": 0, "rows": 0, "heads": 0, "segments": 0, "artefacts": 0, "signatures": 0
        }  # fmt: skip
        self._signatures = SignatureCheck()
        self.signed: Head | None = None
        self.site = ""
        self._outside = outside
        self._claims = list(outside)
        self._signers: list[tuple[str, Facts]] = []
        self._keys: set[str] = set()
        self._tree = Tree()
        self._last = (-1, ZERO)
        self._rows = (0, ZERO)
        self._anchors: list[tuple[int, str, str]] = []  # row, who says so, hash
        self._seals: dict[str, Facts] = {}
        self._gaps: dict[int, tuple[int, str]] = {}  # volumes that were lawfully disposed of
        self._artefacts: dict[str, Facts] = {}

    def run(self) -> None:
        """Check everything; each part stops where there are `LIMIT` problems."""
        for step in (self.heads, self.ledger, self.journal, self.files, self.manifest):
            try:
                step()
            except Enough:
                continue

    @property
    def head(self) -> Head:
        """The state that the bundle ends with."""
        return Head("the bundle", *self._last, *self._rows, self._tree.root)

    def bad(self, part: str, place: str, reason: str) -> None:
        self.problems.append(Problem(part, place, reason))
        if len(self.problems) >= LIMIT:
            raise Enough

    def has_bad(self, part: str) -> bool:
        return any(problem.part == part for problem in self.problems)

    def lines(self, name: str, part: str) -> Iterator[tuple[int, Facts | None]]:
        """Number and facts of each line; None where a line cannot be read."""
        path = self.folder / name
        if not path.is_file():
            self.bad(part, name, "the file is missing")
            return
        with path.open("rb") as file:
            for number, line in enumerate(file):
                try:
                    if not line.endswith(b"\n"):
                        raise ValueError("is cut short")
                    yield number, read_line(line[:-1])
                except (ValueError, RecursionError) as error:
                    self.bad(part, f"line {number + 1} of {name}", f"cannot be read: {error}")
                    yield number, None

    def heads(self) -> None:
        """Signatures and numbers of the signed heads; what they say is compared later."""
        can_check = can_check_signatures()
        if not can_check:
            self.bad("head", "all", "no signature can be checked: install the package cryptography")
        for number, facts in self.lines("heads.jsonl", "head"):
            self.counts["heads"] += 1
            place = f"signed head {number + 1}"
            if facts is None:
                continue
            try:
                fault = signature_fault(facts) if can_check else ""
                if facts["number"] != number + 1:
                    self.bad("head", place, f"has number {facts['number']}: moved or missing")
                elif fault:
                    self.bad("head", place, fault)
                else:
                    self.signed = head_of(facts, place)
                    self._claims.append(self.signed)
                    self._signers.append((place, facts))
            except (KeyError, TypeError) as error:
                self.bad("head", place, f"lacks {error}")

    def ledger(self) -> None:
        for number, facts in self.lines("ledger.jsonl", "ledger"):
            self.counts["entries"] += 1
            place = f"entry {number}"
            if facts is None:
                self._last = (number, "")
                continue
            try:
                self._entry(number, place, facts)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                self.bad("ledger", place, f"cannot be read: {error!r}")
                self._last = (number, str(facts.get("hash")))
        if not self.counts["entries"]:
            self.bad("ledger", "entry 0", "is missing")
        for claim in self._claims:
            if claim.index > self._last[0]:
                place = f"entry {self._last[0] + 1}"
                self.bad("head", place, f"is cut off: {claim.who} names entry {claim.index}")
        for place, facts in self._signers:
            if facts["site"] != self.site:
                self.bad("head", place, f"is of the site {facts['site']!r}")
            elif facts["key"] not in self._keys:
                self.bad("head", place, "is signed with a key that the ledger does not name")

    def _entry(self, number: int, place: str, facts: Facts) -> None:
        listed = facts.pop("hash")
        body = canonical(facts)
        digest = hashlib.sha256(body).hexdigest()
        before, previous = self._last
        if digest != listed:
            self.bad("ledger", place, "its contents do not give its hash")
        elif facts["index"] != number:
            self.bad("ledger", place, f"says that it is entry {facts['index']}: moved or missing")
        elif facts["previous"] != previous and previous and not self.has_bad("ledger"):
            self.bad("ledger", f"entry {before}", f"is not the one entry {number} was chained to")
        if number == 0:
            self.site = facts["subject"]
            if facts["kind"] != "genesis":
                self.bad("ledger", place, "is no genesis entry")
        self._tree.append(body)
        self._last = (number, listed)
        self._note(number, facts)
        fault = self._signatures.fault(number, facts, digest)
        self.counts["signatures"] = self._signatures.count
        if fault:
            self.bad("signature", place, fault)
        for claim in self._claims:
            if claim.index == number:
                self._claimed(place, digest, claim)

    def _claimed(self, place: str, digest: str, claim: Head) -> None:
        if digest != claim.hash:
            self.bad("head", place, f"is not the entry that {claim.who} names")
        elif claim.root and claim.root != self._tree.root and not self.has_bad("ledger"):
            self.bad("head", f"entries 0 to {claim.index}", f"give another root than {claim.who}")

    def _note(self, number: int, facts: Facts) -> None:
        """Remember what an entry vouches for."""
        kind, subject, detail, who = (
            facts["kind"], facts["subject"], facts["detail"], f"entry {number}",
        )  # fmt: skip
        if kind in ("genesis", "key"):
            self._keys.add(detail.get("key", ""))
        elif kind == "journal":
            self._anchors.append((detail["offset"], who, detail["hash"]))
        elif kind == "volume":
            self._anchors.append((detail["first"] - 1, who, detail["before"]))
            self._anchors.append((detail["last"], who, detail["after"]))
        elif kind in ("seal", "compact", "dispose"):
            self._sealed(number, kind, subject, detail)
        elif kind == "artefact":
            self._artefacts[subject] = detail

    def _sealed(self, number: int, kind: str, subject: str, detail: Facts) -> None:
        """Segments that are there after an entry; those taken away must have been there."""
        if detail.get("what") == "volume":
            self._gaps[detail["first"]] = (detail["last"], detail["after"])
            return
        gone = [(one["name"], one["hash"]) for one in detail.get("replaces", ())]
        if kind == "dispose":
            gone.append((subject, detail["hash"]))
        for name, digest in gone:
            if self._seals.pop(name, {}).get("hash") != digest:
                self.bad("ledger", f"entry {number}", f"takes away {name}, which was not there")
        new = {"name": subject, **detail} if kind != "dispose" else detail["by"]
        if new is not None:
            self._seals[new["name"]] = new

    def journal(self) -> None:
        expected: dict[int, list[tuple[str, str]]] = {}
        for offset, who, digest in self._anchors:
            expected.setdefault(offset, []).append((who, digest))
        for claim in self._claims:
            if claim.offset:
                expected.setdefault(claim.offset, []).append((claim.who, claim.journal))
        self._fixed(0, ZERO, 0, expected.pop(0, []))
        fixed = 0
        for _, facts in self.lines("journal.jsonl", "journal"):
            self._skip(expected)
            span = span_of(facts)
            offset = self._rows[0] + span
            self.counts["rows"] += span
            digest = self._row(offset, facts)
            self._rows = (offset, digest)
            if offset in expected:
                self._fixed(offset, digest, fixed, expected.pop(offset))
                fixed = offset
        self._skip(expected)
        last = self._rows[0]
        for offset, said in sorted(expected.items()):
            self.bad(
                "journal", f"rows {last + 1} to {offset}", f"are missing: {said[0][0]} says so"
            )

    def _skip(self, expected: dict[int, list[tuple[str, str]]]) -> None:
        """Go over rows that were disposed of: the ledger has the chain's value behind them."""
        while self._rows[0] + 1 in self._gaps:
            self._rows = self._gaps.pop(self._rows[0] + 1)
            for offset in [offset for offset in expected if offset <= self._rows[0]]:
                del expected[offset]

    def _row(self, offset: int, facts: Facts | None) -> str:
        """Check one row; the hash that the next one is chained to."""
        if facts is None:
            return ""
        first, previous = self._rows[0] + 1, self._rows[1]
        place = f"row {offset}" if first == offset else f"rows {first} to {offset}"
        try:
            head = struct.pack(">qq", facts["offset"], facts["received"])
            body = facts["kind"].encode() + b"\0" + facts["body"].encode()
            right = hashlib.sha256(bytes.fromhex(previous) + head + body).hexdigest()
            if facts["offset"] != offset:
                self.bad("journal", place, f"says it is row {facts['offset']}: moved or missing")
            elif right != facts["hash"] and previous:
                self.bad("journal", place, "its contents do not give its hash")
            return str(facts["hash"])
        except (KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
            self.bad("journal", place, f"cannot be read: {error!r}")
            return str(facts.get("hash") or "")

    def _fixed(self, offset: int, digest: str, fixed: int, said: list[tuple[str, str]]) -> None:
        for who, expected in said:
            if digest != expected and not self.has_bad("journal"):
                place = f"rows {fixed + 1} to {offset}"
                self.bad("journal", place, f"rewritten: {who} has another hash")

    def files(self) -> None:
        """Segments and artefacts against the entries that carry their hashes."""
        parts = (("segment", "segments", self._seals), ("artefact", "artefacts", self._artefacts))
        for part, folder, known in parts:
            found = {path.name for path in (self.folder / folder).glob("*")}
            for name, detail in known.items():
                self.counts[folder] += 1
                expected = detail["hash"] if part == "segment" else name
                path = self.folder / folder / name
                if Path(name).name != name or name not in found:
                    self.bad(part, f"{folder}/{name}", "the file is missing")
                elif sha256(path) != expected:
                    self.bad(part, f"{folder}/{name}", "its bytes do not give its hash")
            for name in sorted(found - set(known)):
                self.bad(part, f"{folder}/{name}", "is in no ledger entry")

    def manifest(self) -> None:
        """Every byte of every file, and the end, against the manifest."""
        try:
            manifest = json.loads((self.folder / MANIFEST).read_bytes())
            files = {one["name"]: one for one in manifest["files"]}
            head = Head("the manifest", **manifest["head"])
            if manifest["format"] not in (FORMAT, *EARLIER):
                raise ValueError(f"format {manifest['format']!r}")
            site = manifest["site"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.bad("manifest", MANIFEST, f"cannot be read: {error!r}")
            return
        if site != self.site:
            self.bad("manifest", MANIFEST, f"is of the site {site!r}")
        for name, one in files.items():
            path = self.folder / name
            if not path.is_file():
                self.bad("manifest", name, "the file is missing")
            elif sha256(path) != one.get("sha256") or path.stat().st_size != one.get("size"):
                self.bad("manifest", name, "its bytes are not those that were exported")
        present = (path for path in self.folder.rglob("*") if path.is_file())
        for name in sorted(path.relative_to(self.folder).as_posix() for path in present):
            if name not in files and name != MANIFEST:
                self.bad("manifest", name, "was not exported")
        if head.state != self.head.state:
            self.bad("manifest", MANIFEST, "its head is not the end of ledger and journal")

    def notes(self) -> list[str]:
        """What was not shown, in sentences."""
        found = []
        if self.signed is None:
            found.append("there is no signed head: nothing is signed")
        else:
            entries = self._last[0] - self.signed.index
            rows = self._rows[0] - self.signed.offset
            if entries > 0 or rows > 0:
                found.append(f"{entries} entries and {rows} rows follow the last signed head")
        if self._outside:
            newest = max(self._outside, key=lambda one: (one.index, one.offset))
            found.append(f"compared with the outside head at entry {newest.index}")
        else:
            found.append(
                "no head from outside was given: a cut-off end or a complete rewrite cannot be seen"
            )
        return found


def report(verifier: Verifier) -> str:
    """The verdict in sentences."""
    counts = ", ".join(f"{count} {name}" for name, count in verifier.counts.items())
    verdict = "NOT intact" if verifier.problems else "intact"
    lines = [f"{verdict}: {counts} of site {verifier.site!r}"]
    lines += [f"  {problem}" for problem in verifier.problems]
    if len(verifier.problems) >= LIMIT:
        lines.append("  and maybe more")
    head = verifier.head
    text = f"{head.index}:{head.hash}:{head.offset}:{head.journal}:{head.root}"
    return "\n".join([*lines, *verifier.notes(), f"head: {text}"])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 intact, 1 not intact, 2 no bundle."""
    parser = argparse.ArgumentParser(
        prog="galenic-verify", description="Check an exported bundle of records without galenic."
    )
    parser.add_argument("bundle", help="folder of the bundle")
    parser.add_argument("--head", action="append", default=[], metavar="TEXT|FILE",
                        help="a head kept outside, or a file of published ones")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    options = parser.parse_args(arguments)
    folder = Path(options.bundle)
    if not (folder / MANIFEST).is_file() and not (folder / "ledger.jsonl").is_file():
        print(f"there is no bundle in {folder}", file=sys.stderr)
        return 2
    try:
        outside = [head for text in options.head for head in outside_heads(text)]
    except ValueError:
        parser.error("--head: expected index:hash:offset:journal:root, or a file")
    verifier = Verifier(folder, outside)
    verifier.run()
    if options.json:
        problems = [problem._asdict() for problem in verifier.problems]
        facts = {"ok": not problems, "problems": problems, "counts": verifier.counts}
        print(
            json.dumps({**facts, "head": verifier.head.state, "notes": verifier.notes()}, indent=2)
        )
    else:
        print(report(verifier))
    return 1 if verifier.problems else 0


if __name__ == "__main__":
    sys.exit(main())
