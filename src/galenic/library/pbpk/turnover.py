"""One drug that changes the metabolism of another, over time: enzymes that turn over.

Reference: Rowland Yeo et al., Eur J Pharm Sci 43:160-173, 2011, doi:10.1016/j.ejps.2011.04.008.
The static formulas, which are its limits at a steady perpetrator, are in ``interaction``.
"""

from __future__ import annotations

from galenic import Experiment, Model, Parameter, Part, Port, State, der
from galenic.library.pbpk.interaction import KDEG_GUT, KDEG_LIVER
from galenic.library.pbpk.whole_body import WholeBody
from galenic.modeling.ports import signal

NEVER = 1e9


class Enzyme(Model):
    """An enzyme that is made, degraded, inactivated, induced and reversibly inhibited.

    E' = kdeg (1 + Emax I / (EC50 + I)) - (kdeg + kinact I / (KI + I)) E, with E relative to usual;
    the pathway that carries ``fm`` of the metabolism works at E / (1 + I / Ki).
    """

    perpetrator = Port(signal("mg/L"), "unbound level of the other drug", value=0.0)
    activity = Port(signal("1"), "metabolism relative to usual")

    fm = Parameter(1.0, "1", "share of metabolism by this enzyme", lower=0, upper=1,
                   source="assumed")  # fmt: skip
    kdeg = Parameter(KDEG_LIVER, "1/h", "degradation", lower=0,
                     source="CYP3A4 of the liver, FDA 2020, from memory")  # fmt: skip
    Ki = Parameter(NEVER, "mg/L", "reversible inhibition", lower=0, source="none")
    kinact = Parameter(0.0, "1/h", "largest rate of inactivation", lower=0, source="none")
    KI = Parameter(1.0, "mg/L", "level at half of that rate", lower=0, source="assumed")
    Emax = Parameter(0.0, "1", "largest induction, relative to usual synthesis", lower=0,
                     source="none")  # fmt: skip
    EC50 = Parameter(1.0, "mg/L", "level at half of it", lower=0, source="assumed")

    E = State(1.0, "1", "enzyme relative to usual", lower=0)

    example_duration = "100 h"

    def equations(m):
        level = m.perpetrator.value
        made = m.kdeg * (1.0 + m.Emax * level / (m.EC50 + level))
        yield der(m.E) == made - (m.kdeg + m.kinact * level / (m.KI + level)) * m.E
        yield m.activity.value == 1.0 - m.fm + m.fm * m.E / (1.0 + level / m.Ki)


class DrugInteraction(Model):
    """Two drugs in one body: the perpetrator changes the metabolism of the victim.

    In the liver by its unbound level in balance with the tissue; in the wall of the gut by what is
    absorbed, over the flow of the villi. Build both drugs with ``body_values``:
    ``DrugInteraction(victim=..., perpetrator=..., liver={"Ki": "0.01 mg/L"})``.
    """

    Q_villi = Parameter(18.0, "L/h", "blood flow of the villi", lower=0,
                        source="Yang et al. 2007, from memory")  # fmt: skip

    victim = Part(WholeBody)
    perpetrator = Part(WholeBody)
    liver = Part(Enzyme)
    gut = Part(Enzyme, kdeg=f"{KDEG_GUT} 1/h")

    example_duration = "24 h"

    def equations(m):
        drug = m.perpetrator
        yield m.liver.perpetrator.value == drug.fu * drug.liver.leaving.value / drug.Rb
        yield m.gut.perpetrator.value == drug.intestine.absorbed.value / m.Q_villi
        yield m.victim.liver.activity.value == m.liver.activity.value
        yield m.victim.intestine.activity.value == m.gut.activity.value

    def example_experiment(m):
        doses = Experiment().dose("victim.intestine.stomach", "10 mg")
        return doses.dose("perpetrator.intestine.stomach", "100 mg")
