"""The card of a model: what it is, as a table for people and as LaTeX for a report.

python examples/model_card.py [card.tex]
"""

import sys
from pathlib import Path

from galenic import Model, Output, Parameter, State, der


class Cooling(Model):
    """A vial that cools in a shipper. Assumes one temperature in the vial and Newton's law."""

    tau = Parameter(3.0, "h", "time constant of the shipper", lower=0, spread=0.3, source="assumed")
    outside = Parameter(30.0, "degC", "temperature outside", source="assumed")
    T = State(5.0, "degC", "temperature of the vial")
    spare = Output("K", "distance to 8 degC")

    def equations(m):
        yield der(m.T) == (m.outside - m.T) / m.tau
        yield m.spare == "8 degC" - m.T


def main(path: str = "card.tex") -> None:
    model = Cooling()

    print(model.check())
    print(model.card())
    Path(path).write_text(model.latex(), encoding="utf-8")
    print(f"equations as LaTeX: {path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
