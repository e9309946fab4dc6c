"""Partition from water, lipids and binding: published values, formulas written out, limits."""

from __future__ import annotations

import pytest

from galenic.errors import DataError
from galenic.library.pbpk.composition import (
    RAT_BLOOD,
    Lipids,
    Spaces,
    berezhkovskiy,
    everywhere,
    poulin_theil,
    rat_tissues,
    rodgers_rowland,
)
from galenic.library.pbpk.partition import Compound
from galenic.library.pbpk.physiology import ORGANS

PLASMA = Lipids(0.945, 0.0035, 0.00225)
# Composition of human tissue as in Poulin and Theil: water, neutral lipid, phospholipid.
HUMAN = {
    "adipose": Lipids(0.18, 0.79, 0.002), "bone": Lipids(0.439, 0.074, 0.0011),
    "brain": Lipids(0.77, 0.051, 0.0565), "gut": Lipids(0.718, 0.0487, 0.0163),
    "heart": Lipids(0.758, 0.0115, 0.0166), "kidney": Lipids(0.783, 0.0207, 0.0162),
    "liver": Lipids(0.751, 0.0348, 0.0252), "lung": Lipids(0.811, 0.003, 0.009),
    "muscle": Lipids(0.76, 0.0238, 0.0072), "spleen": Lipids(0.788, 0.0201, 0.0198),
}  # fmt: skip
# Zane and Thakker, Clin Pharmacokinet 53:1171-1182, 2014, doi:10.1007/s40262-014-0181-y, as
# reprinted in the public voriconazole model of Metrum.
VORICONAZOLE = {
    "adipose": 9.89, "bone": 7.91, "brain": 7.35, "gut": 5.82, "heart": 1.95, "kidney": 2.9,
    "liver": 4.66, "lung": 0.83, "muscle": 2.94, "spleen": 2.96,
}  # fmt: skip
# Rat tissue as in Rodgers and Rowland: water outside and inside, lipids, binding.
MUSCLE = Spaces(0.118, 0.630, 0.010, 0.0072, 1.53, 0.064, 0.059)
ADIPOSE = Spaces(0.135, 0.017, 0.853, 0.0016, 0.40, 0.049, 0.068)


def test_the_tables_that_ship_are_those_of_this_file():
    assert rat_tissues()["muscle"] == MUSCLE
    assert rat_tissues()["adipose"] == ADIPOSE
    assert set(rat_tissues()) == set(ORGANS) - {"rest"}


def test_voriconazole_by_poulin_and_theil():
    """Two or three digits are printed; half a unit of the last."""
    drug = Compound(log_p=2.56, fup=0.42, bases=(1.76,))

    found = {n: poulin_theil(drug, t, PLASMA, fat=n == "adipose") for n, t in HUMAN.items()}

    assert found == pytest.approx(VORICONAZOLE, abs=5.1e-3)


def test_a_drug_like_water_spreads_like_water():
    """Not lipophilic, not bound: tissue to plasma is the ratio of their water."""
    water = Compound(log_p=-9.0, fup=1.0)
    muscle = Lipids(0.76, 0.01, 0.007)

    expected = (0.76 + 0.7 * 0.007) / (0.945 + 0.7 * 0.00225)
    assert poulin_theil(water, muscle, PLASMA) == pytest.approx(expected, rel=1e-6)
    assert berezhkovskiy(water, muscle, PLASMA) == pytest.approx(expected, rel=1e-6)


def test_a_neutral_lipophilic_drug_goes_into_fat():
    """Lipid dominates both: the ratio of lipids, times half of what is bound in plasma."""
    oil = Compound(log_p=8.0, fup=0.01)
    muscle = Lipids(0.76, 0.01, 0.007)

    lipids = (0.01 + 0.3 * 0.007) / (0.0035 + 0.3 * 0.00225)
    assert poulin_theil(oil, muscle, PLASMA) == pytest.approx(lipids * 0.505, rel=1e-5)
    assert poulin_theil(oil, muscle, PLASMA, fat=True) == pytest.approx(lipids * 0.01, rel=1e-5)
    assert berezhkovskiy(oil, muscle, PLASMA) == pytest.approx(lipids, rel=1e-3)


def test_bound_drug_stays_in_water_by_berezhkovskiy():
    """Where lipids dissolve nothing, the ratio of waters, each over its unbound share."""
    drug = Compound(log_p=-9.0, fup=0.1)
    muscle, plasma = Lipids(0.76, 0.0, 0.0), Lipids(0.945, 0.0, 0.0)

    assert berezhkovskiy(drug, muscle, plasma) == pytest.approx(0.76 * 5.5 / (0.945 * 10.0))


@pytest.mark.parametrize(
    ("drug", "charged"),
    [
        (Compound(1.5, 0.3, acids=(4.5,)), lambda ph: 10 ** (ph - 4.5)),
        (Compound(1.5, 0.3, bases=(5.0,)), lambda ph: 10 ** (5.0 - ph)),
        (
            Compound(1.5, 0.3, acids=(3.0, 9.0)),
            lambda ph: 10 ** (ph - 3.0) + 10 ** (2 * ph - 3.0 - 9.0),
        ),
        (
            Compound(1.5, 0.3, acids=(4.0,), bases=(5.0,)),
            lambda ph: 10 ** (ph - 4.0) + 10 ** (5.0 - ph),
        ),
        (Compound(1.5, 0.3), lambda ph: 0.0),
    ],
    ids=["acid", "weak base", "two acids", "zwitterion", "neutral"],
)
def test_acids_weak_bases_neutrals_and_zwitterions(drug, charged):
    """The formula of the second paper, written out for muscle."""
    P, X, Y = 10**1.5, charged(7.0), charged(7.4)
    protein = 0.064 if drug.acids or drug.bases else 0.059
    binding = 1 / 0.3 - 1 - (P * 0.0023 + (0.3 * P + 0.7) * 0.0013) / (1 + Y)
    Kpu = (1 + X) / (1 + Y) * 0.630 + 0.118
    Kpu += (P * 0.010 + (0.3 * P + 0.7) * 0.0072) / (1 + Y) + binding * protein

    assert rodgers_rowland(drug, MUSCLE) == pytest.approx(0.3 * Kpu, rel=1e-12)


def test_a_strong_base_binds_to_acidic_phospholipids():
    """The formula of the first paper, written out for muscle and adipose."""
    fup, pka, Rb, hct = 0.3, 9.5, 1.3, 0.45
    drug = Compound(2.4, fup, bases=(pka,))
    P, Y = 10**2.4, 10 ** (pka - 7.4)
    X, Z = 10 ** (pka - 7.0), 10 ** (pka - 7.22)
    cells = (hct - 1 + Rb) / (hct * fup) - (1 + Z) / (1 + Y) * 0.603
    cells -= (P * 0.0017 + (0.3 * P + 0.7) * 0.0029) / (1 + Y)
    Ka = cells * (1 + Y) / (0.5 * Z)

    def Kp(oil, outside, inside, neutral, phospholipid, acidic):
        water = (1 + X) / (1 + Y) * inside + outside
        lipid = (oil * neutral + (0.3 * oil + 0.7) * phospholipid) / (1 + Y)
        return fup * (water + lipid + Ka * acidic * X / (1 + Y))

    assert rodgers_rowland(drug, MUSCLE, Rb=Rb) == pytest.approx(
        Kp(P, 0.118, 0.630, 0.010, 0.0072, 1.53), rel=1e-12
    )
    oil = 10 ** (1.115 * 2.4 - 1.35)
    assert rodgers_rowland(drug, ADIPOSE, Rb=Rb, fat=True) == pytest.approx(
        Kp(oil, 0.135, 0.017, 0.853, 0.0016, 0.40), rel=1e-12
    )


def test_blood_cells_hold_what_was_measured():
    """The affinity put back into blood cells gives the blood to plasma ratio it came from."""
    drug, Rb = Compound(2.0, 0.4, bases=(8.5,)), 1.4
    cells = RAT_BLOOD.cells
    as_tissue = Spaces(0.0, cells.inside, cells.neutral, cells.phospholipid, cells.acidic)
    blood = RAT_BLOOD.__class__(pH_tissue=RAT_BLOOD.pH_cells)

    Kp = rodgers_rowland(drug, as_tissue, Rb=Rb, blood=blood)
    assert 1 - blood.hematocrit + blood.hematocrit * Kp == pytest.approx(Rb, rel=1e-12)


def test_a_strong_base_needs_its_ratio_of_blood_to_plasma():
    with pytest.raises(DataError, match="pKa 9 without its ratio"):
        everywhere(Compound(1.0, 0.5, bases=(9.0,)), {"muscle": MUSCLE})


def test_fat_is_told_from_other_tissue():
    drug = Compound(2.0, 0.2)
    found = everywhere(drug, {"adipose": ADIPOSE, "muscle": MUSCLE})

    assert found["adipose"] == rodgers_rowland(drug, ADIPOSE, fat=True)
    assert found["muscle"] == rodgers_rowland(drug, MUSCLE)
