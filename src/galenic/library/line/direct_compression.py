"""The continuous direct compression line: two feeders to tablets, as one system."""

from __future__ import annotations

from galenic import Conserved, Model, Parameter, Part, Variable
from galenic.library.powder.analyser import NIRAnalyser
from galenic.library.powder.blending import ContinuousBlender, FeedFrame, Hopper
from galenic.library.powder.feeder import LossInWeightFeeder
from galenic.library.tablet.diverter import Diverter
from galenic.library.tablet.press import TabletPress
from galenic.modeling.ports import Mixer, Powder


class DirectCompressionLine(Model):
    """Two feeders, blender, chute, NIR, press hopper, feed frame, press, diverter.

    The press takes powder at the rate of its turret and die filling; the hopper holds what the
    blender brings beyond that. Refill flags of the feeders are inputs: measured while they
    happen, scheduled in a forecast. Content of a tablet is that of the powder it is made of.
    """

    example_duration = "30 min"

    api = Part(
        LossInWeightFeeder, x_feed=1.0, ff_max="0.6 g/rev", ff_min="0.4 g/rev", beta="1.5 1/kg",
        refill_rate="0.06 kg/s",
        W_full="1.045 kg", W="0.8 kg", N="61.7 rpm", demand="1852 rev/kg",
        ff_fast="0.54 g/rev", ff_seen="0.54 g/rev", ff_learned="0.54 g/rev",
        setpoint="2 kg/h",
    )  # fmt: skip
    excipient = Part(
        LossInWeightFeeder, x_feed=0.0, ff_max="6 g/rev", ff_min="4.5 g/rev", beta="0.4 1/kg",
        refill_rate="0.35 kg/s",
        W_full="7.47 kg", W="5 kg", N="51.7 rpm", demand="172.4 rev/kg",
        ff_fast="5.8 g/rev", ff_seen="5.8 g/rev", ff_learned="5.8 g/rev",
        setpoint="18 kg/h",
    )  # fmt: skip
    junction = Part(Mixer(Powder))
    blender = Part(ContinuousBlender, n=4)
    chute = Part(FeedFrame, n=2, M="50 g")
    nir = Part(NIRAnalyser)
    hopper = Part(Hopper, n=8, M="0.4 kg")
    feed_frame = Part(FeedFrame)
    press = Part(TabletPress)
    diverter = Part(Diverter)

    label_weight = Parameter(
        250.0, "mg", "label weight of a tablet", lower=0, source="specification"
    )
    label_content = Parameter(
        10.0, "%", "label content of the powder", lower=0, source="specification"
    )

    content = Variable("%", "content of active in the powder of the tablets, of label")
    coming = Variable("%", "content of active in the powder that has reached the hopper, of label")
    assay = Variable("%", "active per tablet, of label")

    def example_experiment(self):
        """Half an hour with a refill of each feeder."""
        from galenic.engine import Experiment

        return (
            Experiment()
            .set("api.refilling", 1, at=600).set("api.refilling", 0, at=611)
            .set("excipient.refilling", 1, at=400).set("excipient.refilling", 0, at=413)
        )  # fmt: skip

    def equations(m):
        yield m.content == m.press.outlet.x / m.label_content
        yield m.coming == m.hopper.x[0] / m.label_content
        yield m.assay == m.content * m.press.weight / m.label_weight

    def connections(m):
        yield m.api.outlet >> m.junction.inlet1
        yield m.excipient.outlet >> m.junction.inlet2
        yield m.junction.outlet >> m.blender.inlet
        yield m.blender.outlet >> m.chute.inlet
        yield m.chute.outlet >> m.nir.inlet
        yield m.nir.outlet >> m.hopper.inlet
        yield m.hopper.outlet >> m.feed_frame.inlet
        yield m.feed_frame.outlet >> m.press.inlet
        yield m.press.outlet >> m.diverter.inlet

    def conserved(m):
        held = m.api.W + m.excipient.W + m.blender.M + m.hopper.M
        gone = m.diverter.product + m.diverter.waste
        refill = m.api.inflow + m.excipient.inflow
        yield Conserved("mass", held + gone, refill)
