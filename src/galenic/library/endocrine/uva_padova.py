"""The UVA/Padova model of a person with type 1 diabetes (2008), and its virtual persons.

Equations: Dalla Man, Rizza and Cobelli, IEEE Trans Biomed Eng 54:1740-1749, 2007,
doi:10.1109/TBME.2007.893506; Kovatchev et al., J Diabetes Sci Technol 3:44-55, 2009,
doi:10.1177/193229680900300106; in the form of simglucose 0.2.11 (MIT). Parameters of the thirty
virtual persons are not part of this package: `read_persons` takes simglucose's table.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from galenic import Experiment, Input, Model, Output, Parameter, State, der
from galenic.errors import DataError
from galenic.modeling.functions import maximum, tanh, where

SOURCE = "order of magnitude of an adult in the cited papers, not a person of theirs"
PMOL_PER_UNIT = 6000.0
"""Insulin [pmol] in one international unit, as simglucose counts."""


class TypeOneDiabetes(Model):
    """Glucose and insulin of a person without insulin of their own, from meals and a pump.

    Where a pool of glucose would fall below zero its derivative is cut, as simglucose does; that
    happens only far below any glucose that a person survives.
    """

    meal = Input(0.0, "mg/min", "carbohydrate eaten", role="disturbance", lower=0)
    content = Input(
        0.0, "mg", "carbohydrate of the present meal: in the stomach as it began, and eaten since",
        role="disturbance", lower=0,
    )  # fmt: skip
    insulin = Input(1.4, "pmol/kg/min", "insulin infused under the skin", role="dose", lower=0)

    BW = Parameter(75.0, "kg", "body weight", lower=0, source=SOURCE)
    kmax = Parameter(0.04, "1/min", "largest rate of gastric emptying", lower=0, source=SOURCE)
    kmin = Parameter(0.01, "1/min", "smallest rate of gastric emptying", lower=0, source=SOURCE)
    kabs = Parameter(0.1, "1/min", "rate of intestinal absorption", lower=0, source=SOURCE)
    b = Parameter(0.7, "1", "share at which emptying slows", lower=0, upper=1, source=SOURCE)
    d = Parameter(
        0.2, "1", "share at which emptying is fast again", lower=0, upper=1, source=SOURCE
    )
    f = Parameter(0.9, "1", "share of carbohydrate that reaches plasma", lower=0, source=SOURCE)
    k1 = Parameter(0.07, "1/min", "glucose from plasma to tissue", lower=0, source=SOURCE)
    k2 = Parameter(0.1, "1/min", "glucose from tissue to plasma", lower=0, source=SOURCE)
    Vg = Parameter(1.8, "dL/kg", "volume of glucose", lower=0, source=SOURCE)
    kp1 = Parameter(5.0, "mg/kg/min", "production at zero glucose and insulin", source=SOURCE)
    kp2 = Parameter(0.005, "1/min", "effect of glucose in the liver", lower=0, source=SOURCE)
    kp3 = Parameter(0.01, "mg/kg/min/(pmol/L)", "effect of insulin in the liver", source=SOURCE)
    Fsnc = Parameter(1.0, "mg/kg/min", "uptake by brain and blood cells", lower=0, source=SOURCE)
    ke1 = Parameter(0.0005, "1/min", "rate of filtration in the kidney", lower=0, source=SOURCE)
    ke2 = Parameter(339.0, "mg/kg", "threshold of the kidney", lower=0, source=SOURCE)
    Vm0 = Parameter(4.0, "mg/kg/min", "uptake without insulin", lower=0, source=SOURCE)
    Vmx = Parameter(0.06, "mg/kg/min/(pmol/L)", "uptake by insulin", lower=0, source=SOURCE)
    Km0 = Parameter(240.0, "mg/kg", "glucose of half the uptake", lower=0, source=SOURCE)
    m1 = Parameter(0.18, "1/min", "insulin from liver to plasma", lower=0, source=SOURCE)
    m2 = Parameter(0.3, "1/min", "insulin from plasma to liver", lower=0, source=SOURCE)
    m30 = Parameter(0.27, "1/min", "loss of insulin in the liver", lower=0, source=SOURCE)
    m4 = Parameter(0.12, "1/min", "loss of insulin from plasma", lower=0, source=SOURCE)
    Vi = Parameter(0.05, "L/kg", "volume of insulin", lower=0, source=SOURCE)
    Ib = Parameter(100.0, "pmol/L", "basal insulin", lower=0, source=SOURCE)
    p2u = Parameter(0.03, "1/min", "rate of insulin's action on uptake", lower=0, source=SOURCE)
    ki = Parameter(0.008, "1/min", "rate of insulin's action on the liver", lower=0, source=SOURCE)
    kd = Parameter(0.016, "1/min", "dissociation of insulin under the skin", lower=0, source=SOURCE)
    ka1 = Parameter(0.003, "1/min", "absorption before dissociation", lower=0, source=SOURCE)
    ka2 = Parameter(0.013, "1/min", "absorption after dissociation", lower=0, source=SOURCE)
    ksc = Parameter(0.1, "1/min", "delay of glucose under the skin", lower=0, source=SOURCE)

    solid = State(0.0, "mg", "carbohydrate in the stomach, solid", lower=0, nominal=1e4)
    liquid = State(0.0, "mg", "carbohydrate in the stomach, liquid", lower=0, nominal=1e4)
    gut = State(0.0, "mg", "carbohydrate in the intestine", lower=0, nominal=1e4)
    Gp = State(250.0, "mg/kg", "glucose in plasma and fast tissue", lower=0)
    Gt = State(150.0, "mg/kg", "glucose in slow tissue", lower=0)
    Ip = State(5.0, "pmol/kg", "insulin in plasma", lower=0)
    X = State(0.0, "pmol/L", "action of insulin on uptake", nominal=100)
    I1 = State(100.0, "pmol/L", "insulin on its way to act", lower=0)
    Id = State(100.0, "pmol/L", "insulin that acts on the liver", lower=0)
    Il = State(3.0, "pmol/kg", "insulin in the liver", lower=0)
    Isc1 = State(70.0, "pmol/kg", "insulin under the skin, not dissociated", lower=0)
    Isc2 = State(90.0, "pmol/kg", "insulin under the skin, dissociated", lower=0)
    Gsc = State(250.0, "mg/kg", "glucose under the skin", lower=0)

    G = Output("mg/dL", "glucose in plasma")
    CGM = Output("mg/dL", "glucose under the skin, as a sensor without error sees it")
    Ra = Output("mg/kg/min", "glucose that appears from meals")

    example_duration = "6 h"

    def emptying(m):
        """Rate at which the stomach empties: fast when full or nearly empty, slow between."""
        size = maximum(m.content, "1 mg")
        steep, shallow = 5.0 / (2.0 * (1.0 - m.b)), 5.0 / (2.0 * m.d)
        held = (m.solid + m.liquid) / size
        swing = tanh(steep * (held - m.b)) - tanh(shallow * (held - m.d)) + 2.0
        return where(m.content > "1 mg", m.kmin + (m.kmax - m.kmin) / 2.0 * swing, m.kmax)

    def equations(m):
        kgut = m.emptying()
        yield der(m.solid) == m.meal - m.kmax * m.solid
        yield der(m.liquid) == m.kmax * m.solid - kgut * m.liquid
        yield der(m.gut) == kgut * m.liquid - m.kabs * m.gut
        yield m.Ra == m.f * m.kabs * m.gut / m.BW

        produced = maximum(m.kp1 - m.kp2 * m.Gp - m.kp3 * m.Id, 0.0)
        filtered = m.ke1 * maximum(m.Gp - m.ke2, 0.0)
        exchanged = m.k1 * m.Gp - m.k2 * m.Gt
        used = (m.Vm0 + m.Vmx * m.X) * m.Gt / (m.Km0 + m.Gt)
        yield der(m.Gp) == while_there(m.Gp, produced + m.Ra - m.Fsnc - filtered - exchanged)
        yield der(m.Gt) == while_there(m.Gt, exchanged - used)
        yield der(m.Gsc) == m.ksc * (m.Gp - m.Gsc)

        absorbed = m.ka1 * m.Isc1 + m.ka2 * m.Isc2
        yield der(m.Ip) == absorbed + m.m1 * m.Il - (m.m2 + m.m4) * m.Ip
        yield der(m.Il) == m.m2 * m.Ip - (m.m1 + m.m30) * m.Il
        yield der(m.Isc1) == m.insulin - (m.ka1 + m.kd) * m.Isc1
        yield der(m.Isc2) == m.kd * m.Isc1 - m.ka2 * m.Isc2

        plasma = m.Ip / m.Vi
        yield der(m.X) == m.p2u * (plasma - m.Ib - m.X)
        yield der(m.I1) == m.ki * (plasma - m.I1)
        yield der(m.Id) == m.ki * (m.I1 - m.Id)
        yield m.G == m.Gp / m.Vg
        yield m.CGM == m.Gsc / m.Vg

    def example_experiment(m):
        eaten = Experiment().set("meal", "5000 mg/min", at="60 min").set("meal", 0.0, at="70 min")
        return eaten.set("content", "50000 mg", at="60 min")


def while_there(pool, change):
    """A change that stops where nothing is left to take."""
    return where(pool > "0 mg/kg", change, maximum(change, 0.0))


STATES = (
    "solid", "liquid", "gut", "Gp", "Gt", "Ip", "X", "I1", "Id", "Il", "Isc1", "Isc2", "Gsc",
)  # fmt: skip
PARAMETERS = (
    "BW", "kmax", "kmin", "kabs", "b", "d", "f", "k1", "k2", "Vg", "kp1", "kp2", "kp3", "Fsnc",
    "ke1", "ke2", "Vm0", "Vmx", "Km0", "m1", "m2", "m30", "m4", "Vi", "Ib", "p2u", "ki", "kd",
    "ka1", "ka2", "ksc",
)  # fmt: skip


@dataclass(frozen=True)
class VirtualPerson:
    """One virtual person: values of `TypeOneDiabetes`, and what pumps and people must know.

    Parameters
    ----------
    name : str
    values : mapping of path to float
        Parameters, start values and the basal ``insulin``, in declared units.
    weight : float [kg]
    basal : float [pmol/kg/min]
        Insulin that holds the start values.
    """

    name: str
    values: Mapping[str, float]
    weight: float
    basal: float

    def infusion(self, units_per_minute: float) -> float:
        """A pump's rate [U/min] as the input ``insulin`` [pmol/kg/min]."""
        return units_per_minute * PMOL_PER_UNIT / self.weight

    @property
    def basal_units(self) -> float:
        """Basal insulin [U/min]."""
        return self.basal * self.weight / PMOL_PER_UNIT


def read_persons(rows: Iterable[str], where: str = "persons") -> dict[str, VirtualPerson]:
    """Virtual persons by name, from the lines of simglucose's ``vpatient_params.csv``.

    Raises
    ------
    DataError
        Where a column is missing or a value is no number, with row and column.
    """
    reader = csv.DictReader(rows)
    columns = {f"x0_{i:2d}": name for i, name in enumerate(STATES, 1)}
    wanted = {**columns, **{name: name for name in PARAMETERS}, "u2ss": "insulin"}
    missing = [name for name in ("Name", *wanted) if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            f"there is no column {', '.join(missing)}", where=where,
            expected="the columns of simglucose's vpatient_params.csv",
        )  # fmt: skip
    found = {}
    for i, row in enumerate(reader, 2):
        values = {}
        for column, path in wanted.items():
            try:
                values[path] = float(row[column])
            except ValueError:
                raise DataError(
                    f"{row[column]!r}", where=f"{where}, row {i}, column {column}",
                    expected="a number",
                ) from None  # fmt: skip
        found[row["Name"]] = VirtualPerson(row["Name"], values, values["BW"], values["insulin"])
    return found
