"""Ports: what crosses the border of a model, and how it mixes.

A port type lists what flows (:class:`Flow`) and what is carried along (:class:`Property`). New
kinds of material are subclasses that add members; an outlet may feed an inlet of its own type or
of a base of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

from galenic.errors import StructureError, UnknownName
from galenic.modeling.declare import Declaration, Parameter, Ref, Variable
from galenic.modeling.expression import Expression, here, lift, made
from galenic.modeling.functions import maximum, minimum
from galenic.modeling.model import Model
from galenic.units import quantity


class Flow(Variable):
    """What flows through a port: conserved where streams meet."""


class Property(Variable):
    """What a flow carries along: mixes by flow."""


class PortType:
    """Base of port types; members are class attributes."""

    members: ClassVar[dict[str, Variable]] = {}

    def __init_subclass__(cls) -> None:
        own = {k: v for k, v in vars(cls).items() if isinstance(v, Variable)}
        cls.members = {**cls.members, **own}

    @classmethod
    def flow_name(cls) -> str:
        """The name of the one flow of this type."""
        flows = [name for name, member in cls.members.items() if isinstance(member, Flow)]
        if len(flows) != 1:
            raise StructureError(f"{cls.__name__} has {len(flows)} flows", expected="one, to mix")
        return flows[0]


class Liquid(PortType):
    """A liquid stream with one dissolved substance."""

    flow = Flow("L/min", "volume flow", lower=0)
    c = Property("mol/L", "concentration", lower=0)


class Powder(PortType):
    """A powder stream with one tracked component."""

    flow = Flow("kg/h", "mass flow", lower=0)
    x = Property("1", "mass fraction of API", lower=0, upper=1)


@cache
def signal(unit: str = "1") -> type[PortType]:
    """The port type of one value in ``unit``: ``Port(signal("kg/h"))``."""
    return type(f"Signal[{unit}]", (PortType,), {"value": Variable(unit, "value")})


class Port(Declaration):
    """A port of a model: ``inlet = Port(Liquid)``; ``default`` sets values of an open inlet.

    Which way a port works follows from the equations: what they assign flows out.
    """

    def __init__(self, kind: type[PortType], meaning: str = "", **default: Any) -> None:
        self.kind = kind
        self.meaning = meaning
        self.default = default
        for name in default:
            if name not in kind.members:
                raise UnknownName.among("member", name, kind.members, where=kind.__name__)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        scope = instance.__dict__.get("_scope")
        return scope[self.name] if scope is not None else PortRef(self, instance)


class PortRef:
    """A reference to a port; its attributes are references to what it carries."""

    def __init__(self, port: Port, owner: Model) -> None:
        self._port = port
        self._path = owner.path_of(port.name)

    def __getattr__(self, name: str) -> Ref:
        if name.startswith("__") or name not in self._port.kind.members:
            raise AttributeError(f"{self._port.kind.__name__} carries no {name!r}")
        return Ref(f"{self._path}.{name}")

    def __str__(self) -> str:
        return str(self._path)

    def __hash__(self) -> int:
        return hash(self._path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PortRef) and other._path == self._path

    def __rshift__(self, other: Any) -> Any:
        raise StructureError(
            "ports are connected inside of a model's connections", hint="yield a >> b there"
        )


class PortView:
    """A port while the model is traced: its members as expressions, and ``>>``."""

    def __init__(self, port: Port, owner: Model, path: str, members: dict[str, Expression]) -> None:
        self.__dict__.update(members)
        self._members = members
        self._port = port
        self._owner = owner
        self._path = path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise StructureError(
            f"{self._path} carries no {name!r}",
            where=here().with_source(),
            expected=", ".join(self._members),
        )

    def __rshift__(self, other: Any) -> Connection:
        if not isinstance(other, PortView):
            raise StructureError(
                f"{self._path} is connected to a {type(other).__name__}",
                where=here().with_source(),
                expected="a port",
            )
        return Connection(self, other)

    @property
    def flow_of(self) -> Expression:
        """The flow of the port, whatever it is called in its type."""
        return self._members[self._port.kind.flow_name()]


class Connection:
    """``outlet >> inlet``: every member of the inlet equals that of the outlet."""

    def __init__(self, source: PortView, target: PortView) -> None:
        self.source = source
        self.target = target
        self.place = here()
        self.owner: Any = None
        given, wanted = source._port.kind, target._port.kind
        if not issubclass(given, wanted):
            raise StructureError(
                f"{source._path} carries {given.__name__}, {target._path} takes {wanted.__name__}",
                where=self.place.with_source(),
            )
        made(self)


def mixed(streams: Sequence[PortView], name: str, *, smallest: Any = None) -> Expression:
    """A carried property of several streams joined, weighted by flow.

    Exact where the total flow exceeds ``smallest`` (by default a millionth of the flow's unit).
    Below that the plain mean of the streams is blended in, so that value and derivatives stay
    finite down to zero flow. Streams that flow backwards carry nothing in.
    """
    flows = [stream.flow_of for stream in streams]
    least = quantity(f"1e-6 {flows[0].unit}") if smallest is None else smallest
    weights = [maximum(flow, 0) for flow in flows]
    carried = [getattr(stream, name) for stream in streams]
    sum_of = sum(weights[1:], weights[0])
    blend = lift(least) * (1 - minimum(sum_of / least, 1)) ** 2
    products = [weight * value for weight, value in zip(weights, carried, strict=True)]
    plain = sum(carried[1:], carried[0]) / len(streams)
    joined: Expression = (sum(products[1:], products[0]) + blend * plain) / (sum_of + blend)
    return joined


class _Mixing(Model):
    """Equations shared by all mixers."""

    kind: ClassVar[type[PortType]]
    ways: ClassVar[int]

    def equations(m) -> Any:
        inlets = [getattr(m, f"inlet{i + 1}") for i in range(m.ways)]
        flow = m.kind.flow_name()
        yield m.outlet.flow_of == sum((s.flow_of for s in inlets[1:]), inlets[0].flow_of)
        for name in m.kind.members:
            if name != flow:
                yield getattr(m.outlet, name) == mixed(inlets, name)


class _Splitting(Model):
    """Equations shared by all splitters."""

    kind: ClassVar[type[PortType]]
    ways: ClassVar[int]

    def equations(m) -> Any:
        outlets = [getattr(m, f"outlet{i + 1}") for i in range(m.ways)]
        shares = [getattr(m, f"share{i + 1}") for i in range(m.ways - 1)]
        last = 1 - sum(shares[1:], shares[0])
        for outlet, share in zip(outlets, [*shares, last], strict=True):
            yield outlet.flow_of == share * m.inlet.flow_of
            for name in m.kind.members:
                if name != m.kind.flow_name():
                    yield getattr(outlet, name) == getattr(m.inlet, name)


@cache
def Mixer(kind: type[PortType], ways: int = 2) -> Any:
    """The model of a junction of ``ways`` streams: ``junction = Part(Mixer(Liquid, 3))``.

    Ports ``inlet1`` ... ``inletN`` and ``outlet``.
    """
    ports: dict[str, Any] = {f"inlet{i + 1}": Port(kind) for i in range(ways)}
    body = ports | {"outlet": Port(kind), "ways": ways}
    return type(
        f"Mixer{ways}{kind.__name__}",
        (_Mixing,),
        {"__doc__": f"{ways} streams of {kind.__name__} joined.", "kind": kind, **body},
    )


@cache
def Splitter(kind: type[PortType], ways: int = 2) -> Any:
    """The model of a stream divided into ``ways``: ``branch = Part(Splitter(Liquid), share1=0.3)``.

    Ports ``inlet`` and ``outlet1`` ... ``outletN``; parameters ``share1`` ... of all but the last.
    """
    ports: dict[str, Any] = {f"outlet{i + 1}": Port(kind) for i in range(ways)}
    shares = {
        f"share{i + 1}": Parameter(
            1 / ways, "1", f"share of the inflow that leaves through outlet {i + 1}",
            lower=0, upper=1,
        )
        for i in range(ways - 1)
    }  # fmt: skip
    body = {"inlet": Port(kind)} | ports | shares | {"ways": ways}
    return type(
        f"Splitter{ways}{kind.__name__}",
        (_Splitting,),
        {"__doc__": f"A stream of {kind.__name__} divided in {ways}.", "kind": kind, **body},
    )
