"""A body of organs that blood flows through: the whole-body model, swappable in its physiology.

Flow-limited tissues: blood leaves an organ in balance with its tissue; any of several may be
limited by permeability instead. Reference: Nestorov, Clin
Pharmacokinet 42:883-908, 2003, doi:10.2165/00003088-200342100-00002. States are amounts, so that
the balance of drug is their sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from galenic import Conserved, Experiment, Input, Model, Output, Parameter, Part, Port, State, der
from galenic.errors import DataError, UnknownName
from galenic.library.pbpk.absorption import Intestine
from galenic.library.pbpk.physiology import ORGANS, PORTAL, SYSTEMIC, Physiology
from galenic.modeling.ports import signal

BLOOD = signal("mg/L")
PERSON = "human of 70 kg, see library/data/pbpk"
DRAINED = (*SYSTEMIC, "rest", "liver")
"""Organs whose blood returns to the right heart."""


class Tissue(Model):
    """An organ whose tissue is in balance with the blood that leaves it."""

    arriving = Port(BLOOD, "concentration in the blood that arrives", value=0.0)
    leaving = Port(BLOOD, "concentration in the blood that leaves")

    V = Parameter(1.0, "L", "volume of tissue", lower=0, source=PERSON)
    Q = Parameter(10.0, "L/h", "blood flow", lower=0, source=PERSON)
    Kp = Parameter(1.0, "1", "partition of tissue to plasma", lower=0, source="a drug like water")
    Rb = Parameter(1.0, "1", "concentration in blood to plasma", lower=0, source="even in blood")

    A = State(0.0, "mg", "amount in the tissue", lower=0, nominal=10)

    example_duration = "10 h"

    def removed(m) -> Any:
        """Drug that leaves otherwise than with the blood; None where none does."""
        return None

    def held(m) -> Any:
        """Drug in the organ."""
        return m.A

    def equations(m):
        yield m.leaving.value == m.A / m.V * m.Rb / m.Kp
        change, removed = m.Q * (m.arriving.value - m.leaving.value), m.removed()
        yield der(m.A) == (change if removed is None else change - removed)

    def example_experiment(m):
        return Experiment().dose("A", "100 mg")


class GutWall(Tissue):
    """The wall of the gut, which takes in what is absorbed."""

    absorbed = Port(signal("mg/h"), "drug from the lumen", value=0.0)

    def removed(m):
        return -m.absorbed.value


class Liver(Tissue):
    """The liver: what portal vein and artery bring, less what its enzymes take (well stirred).

    The intrinsic clearance acts on the unbound drug in balance with the tissue; it saturates by
    CLint / (1 + Cu / Km). Another drug changes it by ``activity``.
    """

    activity = Port(signal("1"), "activity of the enzymes relative to usual", value=1.0)

    fu = Parameter(0.1, "1", "unbound share in plasma", lower=0, upper=1, source="assumed")
    CLint = Parameter(
        0.0, "L/h", "intrinsic clearance of the whole liver", lower=0, source="assumed"
    )
    Km = Parameter(1e9, "mg/L", "unbound level at half of the largest rate", lower=0,
                   source="as good as linear")  # fmt: skip

    def removed(m):
        unbound = m.fu * m.leaving.value / m.Rb
        return m.activity.value * m.CLint * unbound / (1.0 + unbound / m.Km)


class Kidney(Tissue):
    """The kidney: filters what is unbound in the plasma that arrives."""

    fu = Parameter(0.1, "1", "unbound share in plasma", lower=0, upper=1, source="assumed")
    GFR = Parameter(7.5, "L/h", "glomerular filtration", lower=0, source=PERSON)
    filtered = Parameter(
        0.0, "1", "share of what is filtered that stays in the urine", lower=0, source="assumed"
    )

    def removed(m):
        return m.filtered * m.GFR * m.fu * m.arriving.value / m.Rb


class BarrierTissue(Tissue):
    """A tissue whose cells take up the drug slowly: limited by permeability instead of flow.

    The space outside of cells is in balance with the blood that leaves; unbound drug crosses into
    cells by PS fu (Cp - Ccell / Kcell). ``Kp`` remains the partition of the whole tissue at rest.
    Of a large PS nothing is left but the flow. Reference: Nestorov 2003, as above.
    """

    fu = Parameter(0.1, "1", "unbound share in plasma", lower=0, upper=1, source="assumed")
    PS = Parameter(10.0, "L/h", "permeability times surface, for unbound drug", lower=0,
                   source="assumed")  # fmt: skip
    outside = Parameter(0.2, "1", "share of volume outside of cells", lower=0, upper=1,
                        source="of the size found in most organs, from memory")  # fmt: skip
    K_outside = Parameter(1.0, "1", "partition of the space outside of cells to plasma", lower=0,
                          source="assumed")  # fmt: skip

    A_cell = State(0.0, "mg", "amount in cells", lower=0, nominal=10)

    def held(m):
        return m.A + m.A_cell

    def equations(m):
        capacity = m.Kp - m.outside * m.K_outside
        plasma = m.A / (m.outside * m.V * m.K_outside)
        uptake = m.PS * m.fu * (plasma - m.A_cell / (m.V * capacity))
        yield m.leaving.value == m.Rb * plasma
        yield der(m.A) == m.Q * (m.arriving.value - m.leaving.value) - uptake
        yield der(m.A_cell) == uptake


def _throughput(m: Any) -> Any:
    """Blood that passes the lung: all that leaves the heart to the other side."""
    past = m.shunt * sum((getattr(m, organ).Q for organ in PORTAL[1:]), getattr(m, PORTAL[0]).Q)
    return sum((getattr(m, organ).Q for organ in DRAINED), past)


class WholeBody(Model):
    """Blood, lung, liver with portal organs, kidney and the other tissues of one body.

    Build one with ``whole_body(physiology("human"), ...)``. An intravenous dose goes into the input
    ``dose`` or the state ``A_ven``, an oral one into ``intestine.stomach``.
    """

    Rb = Parameter(1.0, "1", "concentration in blood to plasma", lower=0, source="even in blood")
    fu = Parameter(0.1, "1", "unbound share in plasma", lower=0, upper=1, source="assumed")
    V_art = Parameter(1.34, "L", "arterial blood", lower=0, source=PERSON)
    V_ven = Parameter(4.02, "L", "venous blood", lower=0, source=PERSON)
    shunt = Parameter(0.0, "1", "share of portal blood that bypasses the liver", lower=0, upper=1,
                      source="none in health")  # fmt: skip

    adipose = Part(Tissue, Rb=lambda m: m.Rb)
    bone = Part(Tissue, Rb=lambda m: m.Rb)
    brain = Part(Tissue, Rb=lambda m: m.Rb)
    heart = Part(Tissue, Rb=lambda m: m.Rb)
    muscle = Part(Tissue, Rb=lambda m: m.Rb)
    skin = Part(Tissue, Rb=lambda m: m.Rb)
    rest = Part(Tissue, Rb=lambda m: m.Rb)
    gut = Part(GutWall, Rb=lambda m: m.Rb)
    spleen = Part(Tissue, Rb=lambda m: m.Rb)
    kidney = Part(Kidney, Rb=lambda m: m.Rb, fu=lambda m: m.fu)
    liver = Part(Liver, Rb=lambda m: m.Rb, fu=lambda m: m.fu)
    lung = Part(Tissue, Rb=lambda m: m.Rb, Q=_throughput)
    intestine = Part(Intestine)

    dose = Input(0.0, "mg/h", "drug given into a vein", role="dose", lower=0)

    A_art = State(0.0, "mg", "amount in arterial blood", lower=0, nominal=10)
    A_ven = State(0.0, "mg", "amount in venous blood", lower=0, nominal=10)
    metabolised = State(0.0, "mg", "amount metabolised in the liver", lower=0, nominal=10)
    excreted = State(0.0, "mg", "amount in urine", lower=0, nominal=10)
    AUC = State(0.0, "mg*h/L", "area under venous plasma", lower=0, nominal=1)

    C = Output("mg/L", "concentration in venous plasma", lower=0)

    example_duration = "24 h"

    def equations(m):
        art, ven = m.A_art / m.V_art, m.A_ven / m.V_ven
        liver, lung = m.liver, m.lung
        portal = [getattr(m, organ) for organ in PORTAL]
        into = 1.0 - m.shunt
        own = liver.Q - into * sum((organ.Q for organ in portal[1:]), portal[0].Q)
        brought = sum((into * o.Q * o.leaving.value for o in portal), own * art)
        bypassed = sum((m.shunt * o.Q * o.leaving.value for o in portal), m.dose)
        yield m.C == ven / m.Rb
        for organ in (*SYSTEMIC, *PORTAL, "rest"):
            yield getattr(m, organ).arriving.value == art
        yield liver.arriving.value == brought / liver.Q
        yield lung.arriving.value == ven
        yield m.gut.absorbed.value == m.intestine.absorbed.value
        drained = [getattr(m, organ) for organ in DRAINED]
        returned = sum((o.Q * o.leaving.value for o in drained), bypassed)
        yield der(m.A_ven) == returned - lung.Q * ven
        yield der(m.A_art) == lung.Q * (lung.leaving.value - art)
        yield der(m.metabolised) == liver.removed()
        yield der(m.excreted) == m.kidney.removed()
        yield der(m.AUC) == m.C

    def conserved(m):
        organs = [getattr(m, organ) for organ in ORGANS]
        lumen = m.intestine.held()
        left = m.intestine.passed + m.intestine.consumed + m.metabolised + m.excreted
        held = sum((organ.held() for organ in organs), m.A_art + m.A_ven)
        yield Conserved("drug", held + lumen + left, m.dose)

    def example_experiment(m):
        return Experiment().dose("intestine.stomach", "100 mg")


BARRIERS = (*(o for o in SYSTEMIC if o != "kidney"), "rest", "spleen")
"""Organs whose cells can be behind a barrier: all that nothing enters or leaves otherwise."""


def whole_body(
    body: Physiology,
    *,
    Kp: Mapping[str, float] | None = None,
    barriers: Mapping[str, str | float] | None = None,
    lumen: type[Intestine] = Intestine,
    **values: Any,
) -> WholeBody:
    """The model of one body and one drug.

    Parameters
    ----------
    body : Physiology
    Kp : mapping of organ to float
        Partition of tissue to plasma; 1 where not named.
    barriers : mapping of organ to PS [L/h]
        Organs that are limited by permeability, see ``BarrierTissue``; the others by flow.
    lumen : type of Intestine
        ``DissolvingIntestine`` for a solid.
    values : any
        Further values: ``fu=0.1``, ``Rb=0.7``, ``liver={"CLint": "300 L/h"}``,
        ``kidney={"filtered": 1}``, ``intestine={"ka": "1 1/h"}``.
    """
    given = body_values(body, Kp=Kp, **values)
    parts: dict[str, Any] = {} if lumen is Intestine else {"intestine": Part(lumen)}
    for organ, ps in (barriers or {}).items():
        if organ not in BARRIERS:
            raise UnknownName.among("organ", organ, BARRIERS, where="barriers")
        own = {"Kp": 1.0, "outside": 0.2, "K_outside": 1.0} | given[organ]
        if not own["Kp"] > own["outside"] * own["K_outside"]:
            raise DataError(
                f"{organ}: a partition of {own['Kp']:g}, of which the space outside of cells "
                f"already holds {own['outside'] * own['K_outside']:g}",
                where="barriers",
                hint="lower outside or K_outside of the organ, or leave its flow to limit it",
            )
        given[organ] = {**given[organ], "PS": ps}
        parts[organ] = Part(BarrierTissue, Rb=lambda m: m.Rb, fu=lambda m: m.fu)
    if not parts:
        return WholeBody(**given)
    kind: type[WholeBody] = type("WholeBody", (WholeBody,), {"__doc__": WholeBody.__doc__, **parts})
    return kind(**given)


def body_values(
    body: Physiology, *, Kp: Mapping[str, float] | None = None, **values: Any
) -> dict[str, Any]:
    """Values for ``WholeBody(**values)`` of one body and one drug; arguments as in whole_body."""
    given: dict[str, Any] = body.values()
    for organ, value in (Kp or {}).items():
        if organ not in ORGANS:
            raise UnknownName.among("organ", organ, ORGANS, where="Kp")
        given[organ] = {**given[organ], "Kp": value}
    for name, value in values.items():
        both = isinstance(value, Mapping) and isinstance(given.get(name), Mapping)
        given[name] = {**given[name], **value} if both else value
    return given
