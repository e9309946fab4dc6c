"""From diplotypes to phenotypes of pharmacogenes, and what they mean for clearance and dose.

Functions of alleles are in ``library/data/patient/alleles.csv`` (common alleles, with sources); a
full table of CPIC or PharmCAT can be read instead. The rules are those of CPIC: a phenotype by the
pair of functions, or by the sum of activity values. An allele that is not in the table is never
taken for normal.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from galenic.errors import DataError, UnknownName

NORMAL, NO, DECREASED, INCREASED = "normal", "no", "decreased", "increased"
DOUBTFUL = ("uncertain", "unknown")
INDETERMINATE = "Indeterminate"
PM, IM, NM, RM, UM = (
    f"{word} Metabolizer" for word in ("Poor", "Intermediate", "Normal", "Rapid", "Ultrarapid")
)
POSSIBLE_IM = f"Possible {IM}"

PAIRS: Mapping[str, Mapping[tuple[str, str], str]] = {
    "CYP2C19": {
        (NORMAL, NORMAL): NM, (INCREASED, NORMAL): RM, (INCREASED, INCREASED): UM,
        (NO, NORMAL): IM, (INCREASED, NO): IM, (NO, NO): PM,
        (DECREASED, NORMAL): f"Likely {IM}", (DECREASED, INCREASED): f"Likely {IM}",
        (DECREASED, DECREASED): f"Likely {IM}", (DECREASED, NO): f"Likely {PM}",
    },
    "CYP2B6": {
        (NORMAL, NORMAL): NM, (INCREASED, NORMAL): RM, (INCREASED, INCREASED): UM,
        (DECREASED, NORMAL): IM, (NO, NORMAL): IM, (DECREASED, INCREASED): IM,
        (INCREASED, NO): IM, (DECREASED, DECREASED): PM, (DECREASED, NO): PM, (NO, NO): PM,
    },
    "TPMT": {
        (NORMAL, NORMAL): NM, (NO, NORMAL): IM, (NO, NO): PM,
        (NO, "uncertain"): POSSIBLE_IM, (NO, "unknown"): POSSIBLE_IM,
    },
    "NUDT15": {
        (NORMAL, NORMAL): NM, (NO, NORMAL): IM, (NO, NO): PM,
        (NO, "uncertain"): POSSIBLE_IM, (NO, "unknown"): POSSIBLE_IM,
    },
    "SLCO1B1": {
        (NORMAL, NORMAL): "Normal Function", (INCREASED, NORMAL): "Normal Function",
        (INCREASED, INCREASED): "Increased Function", (NO, NORMAL): "Decreased Function",
        (INCREASED, NO): "Decreased Function", (NO, NO): "Poor Function",
        (NO, "uncertain"): "Possible Decreased Function",
        (NO, "unknown"): "Possible Decreased Function",
    },
    "CYP3A5": {
        (NORMAL, NORMAL): NM, (NO, NORMAL): IM, (NO, NO): PM,
        (NORMAL, "unknown"): POSSIBLE_IM, (NORMAL, "uncertain"): POSSIBLE_IM,
    },
    "UGT1A1": {
        (NORMAL, NORMAL): NM, (INCREASED, NORMAL): NM, (INCREASED, INCREASED): NM,
        (DECREASED, NORMAL): IM, (DECREASED, INCREASED): IM, (DECREASED, DECREASED): PM,
    },
}  # fmt: skip
"""Phenotype by the pair of functions, in alphabetic order; any other pair is indeterminate."""

SCORED: Mapping[str, tuple[tuple[float, str], ...]] = {
    "CYP2C9": ((0.5, PM), (1.5, IM), (2.0, NM)),
    "DPYD": ((0.5, PM), (1.5, IM), (2.0, NM)),
    "CYP2D6": ((0.0, PM), (1.0, IM), (2.25, NM), (float("inf"), UM)),
}
"""Phenotype by the activity score: the first whose upper bound holds the score.

The bound of CYP2D6 intermediate is any score below 1.25; scores are multiples of 0.25.
"""

GENES = (*PAIRS, *SCORED)


@dataclass(frozen=True)
class Allele:
    """What one allele does. ``activity`` is None where the gene is not scored or it is unknown."""

    name: str
    function: str
    activity: float | None = None
    source: str = ""


@dataclass(frozen=True)
class Phenotype:
    """What a diplotype means.

    Parameters
    ----------
    gene, diplotype : str
    functions : tuple of str
        Of the alleles, in the order given.
    phenotype : str
        In CPIC's terms.
    activity : float or None
        Sum of the activity values where the gene is scored and all are known.
    """

    gene: str
    diplotype: str
    functions: tuple[str, ...]
    phenotype: str
    activity: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether a phenotype follows."""
        return self.phenotype != INDETERMINATE

    @property
    def is_expresser(self) -> bool | None:
        """For CYP3A5: whether a functional allele is there; None where that cannot be told."""
        if self.gene != "CYP3A5":
            raise DataError(f"the gene is {self.gene}", where="is_expresser", expected="CYP3A5")
        if NORMAL in self.functions:
            return True
        return False if set(self.functions) == {NO} else None


Table = Mapping[tuple[str, str], Allele]


@cache
def shipped() -> Table:
    """The alleles that ship, by gene and name."""
    with (files("galenic.library") / "data/patient/alleles.csv").open(encoding="utf-8") as file:
        return _table(csv.DictReader(file), "activity")


def read_alleles(rows: Iterable[str], where: str = "alleles") -> Table:
    """A table of alleles from the lines of a CSV file.

    Columns gene, allele, activity_value and function. Empty activity values and ``n/a`` are
    unknown; functions are CPIC's words, as "No function".
    """
    reader = csv.DictReader(rows)
    missing = {"gene", "allele", "activity_value", "function"} - set(reader.fieldnames or ())
    if missing:
        raise DataError(
            f"there is no column {', '.join(sorted(missing))}", where=where,
            expected="gene, allele, activity_value, function",
        )  # fmt: skip
    return _table(reader, "activity_value")


def _table(rows: Iterable[Mapping[str, str]], score: str) -> Table:
    found = {}
    for row in rows:
        function = row["function"].lower().removesuffix(" function").strip()
        value = row[score]
        activity = float(value) if value not in {"", "n/a"} else None
        allele = Allele(row["allele"], function, activity, row.get("source", ""))
        for name in _names(row["allele"]):
            found[row["gene"], name] = allele
    return found


def _names(text: str) -> list[str]:
    """An allele's name, and the short one that stands in brackets behind it."""
    short = re.search(r"\((\*\w+|HapB3)\)$", text)
    return [text, short[1]] if short else [text]


def phenotype(gene: str, diplotype: str, alleles: Table | None = None) -> Phenotype:
    """The phenotype of a diplotype.

    Parameters
    ----------
    gene : str
        One of :data:`GENES`.
    diplotype : str
        Two alleles joined by a slash; copies as ``*1x2``, tandems as ``*36+*10`` (CYP2D6). For DPYD
        any number of variants; the two with the least activity count.
    alleles : table, optional
        Other alleles than those that ship.

    Raises
    ------
    UnknownName
        For a gene or an allele that is not in the table.

    Examples
    --------
    >>> phenotype("CYP2C19", "*1/*17").phenotype
    'Rapid Metabolizer'
    >>> phenotype("CYP2D6", "*1x2/*4").activity
    2.0
    """
    if gene not in GENES:
        raise UnknownName.among("pharmacogene", gene, GENES)
    table = shipped() if alleles is None else alleles
    parts = [part.strip() for part in diplotype.split("/")]
    if len(parts) != 2 and not (gene == "DPYD" and len(parts) > 2):
        raise DataError(
            f"{diplotype!r} has {len(parts)} alleles", where=gene, expected="two, as *1/*2",
            hint="one allele alone says nothing about the other",
        )  # fmt: skip
    found = [_haplotype(gene, part, table) for part in parts]
    if gene == "DPYD":
        found.sort(key=lambda a: (a.activity is not None, a.activity or 0.0))
        found = found[:2]
    functions = tuple(a.function for a in found)
    if gene in PAIRS:
        first, second = sorted(functions)
        return Phenotype(
            gene, diplotype, functions, PAIRS[gene].get((first, second), INDETERMINATE)
        )
    scores = [a.activity for a in found if a.activity is not None]
    if len(scores) < len(found):
        return Phenotype(gene, diplotype, functions, INDETERMINATE)
    total = sum(scores)
    name = next((word for bound, word in SCORED[gene] if total <= bound), INDETERMINATE)
    return Phenotype(gene, diplotype, functions, name, total)


def _haplotype(gene: str, text: str, table: Table) -> Allele:
    """One chromosome: an allele, copies of it, or a tandem of several."""
    if gene != "CYP2D6":
        return _allele(gene, text, table)
    members: list[Allele] = []
    for part in text.split("+"):
        name, _, copies = part.partition("x")
        if copies and not (copies.isdigit() and int(copies) > 0):
            raise DataError(
                f"{text!r}", where=gene, expected="a whole number of copies, as *1x2",
                hint="count the copies first: *1xN can be normal or ultrarapid",
            )  # fmt: skip
        members += [_allele(gene, name, table)] * int(copies or 1)
    if len(members) == 1:
        return members[0]
    known = [m.activity for m in members if m.activity is not None]
    total = sum(known) if len(known) == len(members) else None
    function = members[0].function if len({m.function for m in members}) == 1 else "combined"
    return Allele(text, function, total)


def _allele(gene: str, name: str, table: Table) -> Allele:
    if (gene, name) not in table:
        known = [allele for own, allele in table if own == gene]
        raise UnknownName.among(f"allele of {gene}", name, known, where=gene)
    return table[gene, name]


def clearance_factor(share: float, activity: float, reference: float = 2.0) -> float:
    """Clearance relative to a reference genotype: 1 - fm + fm AS / AS_ref.

    Parameters
    ----------
    share : float [1]
        fm, the share of clearance by the gene's enzyme in the reference genotype.
    activity, reference : float
        Activity scores.

    Examples
    --------
    >>> clearance_factor(0.8, 1.0)
    0.6
    """
    if not (0.0 <= share <= 1.0 and activity >= 0.0 and reference > 0.0):
        raise DataError(
            f"fm {share:g}, scores {activity:g} and {reference:g}", where="clearance_factor",
            expected="fm from 0 to 1, scores not negative, reference positive",
        )  # fmt: skip
    return 1.0 - share * (1.0 - activity / reference)
