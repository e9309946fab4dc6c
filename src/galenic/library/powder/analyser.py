"""Process analysers on powder streams."""

from __future__ import annotations

from galenic import Model, Parameter, Port, State, Variable, der
from galenic.modeling.ports import Powder


class NIRAnalyser(Model):
    """Near-infrared probe in a powder stream: content with a bias, averaged over its beam.

    The result belongs to the moment of measurement; that it arrives later is a matter of its time
    stamp, not of this model. ``bias`` is what an estimator follows.
    """

    inlet = Port(Powder)
    outlet = Port(Powder)

    bias = Parameter(0.0, "%", "systematic error of the shown content", source="calibration")
    tau = Parameter(3.0, "s", "averaging time of the probe", lower=0, source="assumed")

    seen = State(10.0, "%", "content averaged by the probe", lower=0)

    content = Variable("%", "content that the analyser shows")

    def equations(m):
        yield der(m.seen) == (m.inlet.x - m.seen) / m.tau
        yield m.content == m.seen + m.bias
        yield m.outlet.flow == m.inlet.flow
        yield m.outlet.x == m.inlet.x
