"""A small network as a part of a model: zero until it has learned, silent outside of its data."""

from __future__ import annotations

from typing import Any

from galenic import Model, Parameter, Size
from galenic.modeling.functions import smooth_step, tanh

UNTRAINED = "untrained: zero"


class Network(Model):
    """One hidden layer on ``n`` plain numbers: g(x) sum_j v_j tanh(b_j + sum_i W_ji x_i).

    With ``v`` zero it is zero: the model around it is then the mechanistic one. The gate g(x) is 1
    where every input lies between ``low`` and ``high`` and falls to 0 within about ``width``, so
    that outside of what it has seen the mechanistic model is left. Inputs should be of the size of
    1.

    Examples
    --------
    Inside the equations of a model with ``term = Part(Network, hidden=3)``::

        yield der(m.A) == -m.CL * m.C * exp(m.term.of(m.C / "10 mg/L"))
    """

    n = Size(1, "inputs")
    hidden = Size(4, "hidden units")

    v = Parameter(0.0, "1", "weight of each hidden unit", shape="hidden", nominal=1,
                  source=UNTRAINED)  # fmt: skip
    W = Parameter(1.0, "1", "weights of the inputs", shape=("hidden", "n"), nominal=1,
                  source=UNTRAINED)  # fmt: skip
    b = Parameter(0.0, "1", "offsets", shape="hidden", nominal=1, source=UNTRAINED)
    low = Parameter(-1e3, "1", "smallest input seen", shape="n", nominal=1, source="open")
    high = Parameter(1e3, "1", "largest input seen", shape="n", nominal=1, source="open")
    width = Parameter(0.05, "1", "over which it falls silent", lower=1e-6, source="chosen")

    def of(m, *x: Any) -> Any:
        """The term [1] of inputs [1]."""
        total: Any = 0.0
        for j in range(m.hidden):
            inside = m.b[j]
            for i, one in enumerate(x):
                inside = inside + m.W[j, i] * one
            total = total + m.v[j] * tanh(inside)
        for i, one in enumerate(x):
            total = total * smooth_step(one - m.low[i], m.width)
            total = total * smooth_step(m.high[i] - one, m.width)
        return total
