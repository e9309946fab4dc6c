"""PREDPP's ready models: which parameters each asks for, and its equations.

ADVAN 1 to 4 and 10 to 12 with their TRANS, as in NONMEM Users Guide VI (PREDPP). Compartment n
has the amount ``A<n>``; the rates are expressions of numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from galenic.inference.nonmem.refusal import refused


@dataclass(frozen=True)
class Ready:
    """A model: number of compartments, which gets doses and is observed, micro-constants."""

    compartments: int
    dosed: int
    observed: int
    central: int
    depot: bool
    rates: dict[int, tuple[tuple[str, ...], dict[str, str]]]
    """By TRANS: the parameters asked for, and the micro-constants K, KA, K12 ... from them."""

    def equations(self) -> list[str]:
        """Right-hand sides of the compartments."""
        c = self.central
        sides = {i: "" for i in range(1, self.compartments + 1)}
        if self.depot:
            sides[1] += " - KA * A1"
            sides[c] += " + KA * A1"
        sides[c] += f" - K * A{c}"
        for p in range(c + 1, self.compartments + 1):
            away, back = f"K{c}{p} * A{c}", f"K{p}{c} * A{p}"
            sides[c] += f" - {away} + {back}"
            sides[p] += f" + {away} - {back}"
        return [side.removeprefix(" + ").replace(" - ", "-", 1) if side.startswith(" - ")
                else side.removeprefix(" + ") for side in sides.values()]  # fmt: skip


def _two(c: int, absorbed: tuple[str, ...]) -> dict[int, tuple[tuple[str, ...], dict[str, str]]]:
    p = c + 1
    out, back = f"K{c}{p}", f"K{p}{c}"
    v, w = ("V1", "V2") if c == 1 else ("V2", "V3")
    # TRANS5 and TRANS6: hybrid constants; the roots give the sum and product of the micro ones
    steady = {back: "(AOB * BETA + ALPHA) / (AOB + 1.0)"}
    hybrid = {"K": f"ALPHA * BETA / {back}", out: f"ALPHA + BETA - {back} - K"}
    return {
        1: (("K", out, back, *absorbed), {}),
        3: (("CL", "V", "Q", "VSS", *absorbed),
            {"K": "CL / V", out: "Q / V", back: "Q / (VSS - V)"}),
        4: (("CL", v, "Q", w, *absorbed),
            {"K": f"CL / {v}", out: f"Q / {v}", back: f"Q / {w}"}),
        5: (("AOB", "ALPHA", "BETA", *absorbed), {**steady, **hybrid}),
        6: (("ALPHA", "BETA", back, *absorbed), hybrid),
    }  # fmt: skip


def _three(c: int, absorbed: tuple[str, ...]) -> dict[int, tuple[tuple[str, ...], dict[str, str]]]:
    a, b = c + 1, c + 2
    volumes = ("V1", "V2", "V3") if c == 1 else ("V2", "V3", "V4")
    flows = ("Q2", "Q3") if c == 1 else ("Q3", "Q4")
    micro = (f"K{c}{a}", f"K{a}{c}", f"K{c}{b}", f"K{b}{c}")
    first, second, third = volumes
    return {
        1: (("K", *micro, *absorbed), {}),
        4: (("CL", first, flows[0], second, flows[1], third, *absorbed),
            {"K": f"CL / {first}", micro[0]: f"{flows[0]} / {first}",
             micro[1]: f"{flows[0]} / {second}", micro[2]: f"{flows[1]} / {first}",
             micro[3]: f"{flows[1]} / {third}"}),
    }  # fmt: skip


_ONE = {1: (("K",), {}), 2: (("CL", "V"), {"K": "CL / V"})}
_ORAL: dict[int, tuple[tuple[str, ...], dict[str, str]]] = {
    1: (("KA", "K"), {}),
    2: (("KA", "CL", "V"), {"K": "CL / V"}),
}
_SATURABLE: dict[int, tuple[tuple[str, ...], dict[str, str]]] = {
    1: (("VM", "KM"), {"K": "VM / (KM + A1)"})
}
READY = {
    1: Ready(1, 1, 1, 1, False, _ONE),
    2: Ready(2, 1, 2, 2, True, _ORAL),
    3: Ready(2, 1, 1, 1, False, _two(1, ())),
    4: Ready(3, 1, 2, 2, True, _two(2, ("KA",))),
    10: Ready(1, 1, 1, 1, False, _SATURABLE),
    11: Ready(3, 1, 1, 1, False, _three(1, ())),
    12: Ready(4, 1, 2, 2, True, _three(2, ("KA",))),
}
GENERAL = (6, 13)
SUPPORTED = "ADVAN1-4, 6, 10-13"


def ready(advan: int, trans: int, line: int) -> tuple[Ready, tuple[str, ...], dict[str, str]]:
    """The model of an ADVAN with what its TRANS asks for and calculates."""
    if advan not in READY:
        raise refused(f"ADVAN{advan}", line, SUPPORTED)
    model = READY[advan]
    if trans not in model.rates:
        names = ", ".join(f"TRANS{k}" for k in model.rates)
        raise refused(f"TRANS{trans} with ADVAN{advan}", line, names)
    return model, *model.rates[trans]
