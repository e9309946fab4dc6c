"""Case V7: Schmitt's partition coefficients of a base in human tissues."""

from __future__ import annotations

import csv

import pytest

from galenic.library.pbpk.partition import Composition, Compound, schmitt

BASE = Compound(log_p=2.9, fup=0.031, bases=(6.2,))
V7 = {
    "adipose": 17.7954, "bone": 0.4464, "brain": 1.5445, "gut": 1.2240, "heart": 2.3438,
    "kidney": 1.0121, "liver": 1.4368, "lung": 0.2914, "muscle": 0.4388, "skin": 1.7690,
    "spleen": 0.5962,
}  # fmt: skip


def human_tissues(folder):
    tissues: dict[str, dict[str, float]] = {}
    rows = (folder / "physiology" / "tissue_by_species.csv").read_text().splitlines()
    for row in csv.DictReader(rows):
        if row["Species"] == "Human" and row["variable"] in Composition.__dataclass_fields__:
            tissues.setdefault(row["Tissue"], {})[row["variable"]] = float(row["value"])
    return {name: Composition(**shares) for name, shares in tissues.items() if len(shares) == 9}


def test_v7_schmitt(shared_data):
    """Four decimals are printed; half a unit of the last."""
    tissues = human_tissues(shared_data)

    found = {name: schmitt(BASE, tissues[name]) for name in V7}

    assert found == pytest.approx(V7, abs=5.1e-5)


@pytest.mark.parametrize(
    ("drug", "ph", "shares"),
    [
        (Compound(2.0, 0.1), 7.4, (1.0, 0.0, 0.0, 0.0)),
        (Compound(2.0, 0.1, acids=(7.4,)), 7.4, (0.5, 0.0, 0.0, 0.5)),
        (Compound(2.0, 0.1, bases=(8.4,)), 7.4, (1 / 11, 0.0, 10 / 11, 0.0)),
        (Compound(2.0, 0.1, acids=(3.0,), bases=(10.0,)), 6.5, (0.0, 1.0, 0.0, 0.0)),
    ],
)
def test_forms_by_henderson_and_hasselbalch(drug, ph, shares):
    forms = drug.at(ph)

    got = (forms.neutral, forms.zwitterion, forms.cation, forms.anion)
    assert got == pytest.approx(shares, abs=7e-4)
    assert sum(got) == pytest.approx(1.0, abs=1e-12)
