"""Reference case V5 and the limits in which the three models of binding must meet."""

from __future__ import annotations

import numpy as np
import pytest

from galenic import Experiment
from galenic.library.pk.tmdd import FullBinding, QuasiSteadyState, SaturableLoss

TIMES = [0.1, 1, 5, 10, 20, 30, 40]


def run(model, state, times=TIMES, amount="100 nmol/L"):
    trajectory = model.simulate(
        Experiment().dose(state, amount), times=[f"{t} h" for t in times], rtol=1e-11
    )
    assert trajectory.drift("drug") < 1e-9
    return trajectory


def printed(values):
    """To the digits of the reference: half a unit of the sixth decimal."""
    return pytest.approx(np.array(values), abs=5.01e-7)


def test_v5_full_binding():
    found = run(FullBinding(), "Cf")

    free = [89.446903, 83.769122, 61.431137, 39.176259, 9.051693, 0.243342, 0.025715]
    bound = [9.921364, 9.917201, 9.887482, 9.824886, 9.297608, 3.199932, 0.481709]
    assert np.asarray(found["C"]) == printed(free)
    assert np.asarray(found["P"]) == printed(bound)


def test_v5_quasi_steady_state():
    found = run(QuasiSteadyState(), "Ctot", TIMES[1:])

    free = [83.754412, 61.419258, 39.167538, 9.065000, 0.328645, 0.036689]
    assert np.asarray(found["C"]) == printed(free)


def test_fast_binding_ends_in_the_quasi_steady_state():
    """With binding 1e4 times as fast the full model is 1e-4 away from its limit."""
    fast = FullBinding(kon="1e4 L/(nmol*h)", koff="5e3 1/h")
    limit = QuasiSteadyState(Kss="0.50002 nmol/L")

    assert np.asarray(run(fast, "Cf")["C"]) == pytest.approx(
        np.asarray(run(limit, "Ctot")["C"]), rel=2e-3
    )


def test_a_constant_target_in_balance_loses_like_michaelis_and_menten():
    """Target made and lost as fast as the complex, and scarce: Rtot stays, Ctot is C."""
    scarce = QuasiSteadyState(kdeg="0.2 1/h", kint="0.2 1/h", ksyn="0.002 nmol/(L*h)")
    limit = SaturableLoss(kint="0.2 1/h", Rtot="0.01 nmol/L", Km="0.7 nmol/L")

    assert np.asarray(run(scarce, "Ctot")["C"]) == pytest.approx(
        np.asarray(run(limit, "Cf")["C"]), rel=2e-3
    )


def test_without_target_drug_and_periphery_are_two_compartments():
    """Without target: eigenvalues of the two-compartment matrix, by an independent exponential."""
    from scipy.linalg import expm

    kel, kpt, ktp = 0.05, 0.3, 0.1
    bare = FullBinding(ksyn="0 nmol/(L*h)", kpt=f"{kpt} 1/h", ktp=f"{ktp} 1/h")
    A = np.array([[-kel - kpt, ktp], [kpt, -ktp]])

    exact = [100.0 * (expm(A * t) @ [1.0, 0.0])[0] for t in TIMES]
    assert np.asarray(run(bare, "Cf")["C"]) == pytest.approx(exact, rel=1e-8)
