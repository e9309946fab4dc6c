"""Every model that ships passes what a stranger's model must pass."""

from __future__ import annotations

import pytest

from galenic import Model, Parameter, State, der, plugins
from galenic.errors import ModelError
from galenic.modeling.contract import check_model


@pytest.mark.parametrize("name", sorted(plugins.models()))
def test_every_model_passes(name):
    model = plugins.model(name)()

    assert check_model(model).ok


class Growing(Model):
    """Leaves its bounds."""

    a = State(1.0, "kg", "amount", upper=2)
    k = Parameter(1.0, "1/s", "rate")
    example_duration = "10 s"

    def equations(m):
        yield der(m.a) == m.k * m.a


class Idle(Model):
    """Has a parameter that nothing uses."""

    a = State(1.0, "kg", "amount")
    k = Parameter(1.0, "1/s", "rate")

    def equations(m):
        yield der(m.a) == "1 kg/s"


class Nameless(Model):
    """Says nothing about its state."""

    a = State(1.0, "kg")

    def equations(m):
        yield der(m.a) == "1 kg/s"


@pytest.mark.parametrize(
    ("model", "fault"),
    [(Growing, "leaves its bounds"), (Idle, "depends on k"), (Nameless, "a has no meaning")],
)
def test_the_contract_finds_faults(model, fault):
    with pytest.raises(ModelError, match=fault):
        check_model(model)
