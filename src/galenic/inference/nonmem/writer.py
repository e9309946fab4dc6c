"""A control stream as Python source: model, population, layout of the data, settings."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from galenic.inference.nonmem.code import Code, Statement, read
from galenic.inference.nonmem.data import Columns
from galenic.inference.nonmem.refusal import refused
from galenic.inference.nonmem.residual import Error, recognise, sigma_of
from galenic.inference.nonmem.settings import settings, structure
from galenic.inference.nonmem.stream import Stream
from galenic.units import unit

OUTPUT = "Y"
_DOSING = re.compile(r"(F|ALAG|R|D)(\d+)")
_ROUTE = {"F": "bioavailability", "ALAG": "lag", "R": "rate", "D": "duration"}
_NOT_KNOWN = (
    "TIME", "T", "DV", "AMT", "EVID", "MDV", "NEWIND", "ICALL", "IREP", "TAD", "DOSTIM", "COMACT",
)  # fmt: skip


@dataclass(frozen=True)
class Units:
    """What a control stream does not say: units of time, amounts and DV; covariates with one.

    ``covariates`` maps a column to the value of a typical subject with its unit, ``"70 kg"``.
    """

    time: str
    amount: str
    dv: str
    covariates: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """The source and what to know about it."""

    name: str
    source: str
    notes: tuple[str, ...]


def source_of(stream: Stream, units: Units, title: str) -> Written:
    """The Python file of a control stream."""
    return _Writer(stream, units, title).written()


class _Writer:
    def __init__(self, stream: Stream, units: Units, title: str) -> None:
        self.stream, self.units = stream, units
        problem = stream.one("PROBLEM")
        self.title = " ".join((problem.text if problem else "").split()) or title
        self.notes: list[str] = []
        self.columns = Columns.of(stream)
        self.pk = read(stream.needed("PK"))
        self.structure = structure(stream)
        self.des = self._des()
        self.error = read(stream.needed("ERROR"))
        self.routes: dict[int, dict[str, str]] = {}
        self.parameters: list[str] = []
        self.theta_units = dict.fromkeys(range(1, len(stream.thetas) + 1), "1")
        self.omega = sigma_of(stream.omegas)
        self._check_assigned()
        self._check_omega()

    def written(self) -> Written:
        error = self.error.kept({"Y"})
        if not error.statements:
            raise refused("$ERROR does not give Y", self.stream.needed("ERROR").number, "Y = ...")
        found = recognise(error, self.stream.thetas, self.stream.sigmas)
        error = error.without_errors().kept({"Y"})
        wanted = set(self.structure.asked) | error.uses | (self.des.uses if self.des else set())
        n = self.structure.compartments
        scale = f"S{self.structure.observed}"
        wanted |= {scale} & self.pk.names
        if "SC" in self.pk.names:
            raise refused("SC", self._line_of("SC"), f"the scale as {scale}")
        self._dosing()
        pk = self.pk.kept(wanted)
        for name in self.structure.asked:
            if name not in pk.names:
                raise refused(
                    f"$PK does not give {name}", self.stream.needed("PK").number,
                    f"{', '.join(self.structure.asked)} for {self.structure.name}",
                )  # fmt: skip
        if self.des and self.des.names & error.uses:
            name = sorted(self.des.names & error.uses)[0]
            raise refused(
                f"$ERROR uses {name} of $DES", error.line_of(name), "names of $PK and $ERROR"
            )
        double = found.thetas & {int(u[5:]) for u in pk.uses if u.startswith("THETA")}
        if double:
            raise refused(f"THETA({min(double)}) in $PK and in the residual error", expected="one")
        states = {f"A{i}" for i in range(1, n + 1)}
        outside = set(pk.uses) | (error.uses - pk.names - states - {"F"})
        if self.des:
            outside |= self.des.uses - pk.names - states
        self._check_own(pk, error)
        covariates = self._covariates(outside, (pk, error, self.des))
        self._check_numbers(outside)
        equations = self._equations(pk, error, scale, covariates)
        text = self._assembled(equations, covariates, found, n)
        self.notes += [*pk.notes, *error.notes, *(self.des.notes if self.des else [])]
        return Written(self._class, text, tuple(dict.fromkeys(self.notes)))

    # -- code --

    def _des(self) -> Code | None:
        record = self.stream.one("DES")
        if not self.structure.general:
            if record:
                raise refused(f"$DES with {self.structure.name}", record.number, "ADVAN6 or 13")
            return None
        code = read(self.stream.needed("DES"))
        moving = {f"A{i}" for i in range(1, self.structure.compartments + 1)} | {"T"}
        for one in code.statements:
            if one.name.startswith("if_") and one.uses & moving:
                raise refused("an IF in $DES on amounts or time", one.line, "IF on names of $PK")
            if "T" in one.uses:
                raise refused("T in $DES", one.line, "equations without time")
        for i in range(1, self.structure.compartments + 1):
            if f"DADT{i}" not in code.names:
                raise refused(f"$DES does not give DADT({i})", self.stream.needed("DES").number)
        return code

    def _check_assigned(self) -> None:
        """Data items are not assigned to, and no column has the name of something else."""
        for code in (self.pk, self.error, self.des):
            for one in code.statements if code else ():
                if one.name in self.columns.names or one.name in _NOT_KNOWN:
                    raise refused(f"an assignment to {one.name}", one.line, "a name of its own")
        for name in self.columns.names:
            if re.fullmatch(r"(THETA|ETA|EPS|A|DADT)\d+|Y|F", name):
                raise refused(
                    f"a column {name}", self.stream.needed("INPUT").number, "another name"
                )

    def _line_of(self, name: str) -> int:
        return next((s.line for s in self.pk.statements if s.name == name), 0)

    def _dosing(self) -> None:
        """Parameters of doses have to be a THETA or a number, as data sets need them."""
        for one in self.pk.statements:
            match = _DOSING.fullmatch(one.name)
            if not match or one.name in self.structure.asked:
                if re.fullmatch(r"S\d+", one.name) and int(one.name[1:]) not in (
                    self.structure.observed,
                ):
                    self.notes.append(f"line {one.line}: {one.name} scales what is not observed")
                continue
            kind, place = match[1], int(match[2])
            value = self._expanded(one.value)
            path = self._dose_parameter(one, kind, value)
            self.routes.setdefault(place, {})[_ROUTE[kind]] = path

    def _dose_parameter(self, one: Statement, kind: str, value: str) -> str:
        text = {"F": "1", "ALAG": self.units.time, "D": self.units.time,
                "R": f"{self.units.amount}/({self.units.time})"}[kind]  # fmt: skip
        if theta := re.fullmatch(r"THETA(\d+)", value):
            place = int(theta[1])
            if place not in self.theta_units:
                raise refused(f"THETA({place}) without $THETA", one.line)
            if self.theta_units[place] in ("1", text):
                self.theta_units[place] = text
                return value
        try:
            number = float(value)
        except ValueError:
            raise refused(f"{one.name} = {value}", one.line, "a THETA alone or a number") from None
        self.parameters.append(
            f"{one.name} = Parameter({number!r}, {text!r}, 'of doses', source='control stream')"
        )
        return one.name

    def _expanded(self, value: str) -> str:
        """An expression with names that are assigned once put in."""
        counts: dict[str, list[str]] = {}
        outside = self.pk.uses
        for one in self.pk.statements:
            counts.setdefault(one.name, []).append(one.value)

        class Put(ast.NodeTransformer):
            def visit_Name(self, node: ast.Name) -> ast.AST:
                found = counts.get(node.id, [])
                if len(found) != 1 or node.id in outside:
                    return node
                inner: ast.AST = self.visit(ast.parse(found[0], mode="eval").body)
                return inner

        return ast.unparse(Put().visit(ast.parse(value, mode="eval").body))

    # -- names --

    def _check_own(self, pk: Code, error: Code) -> None:
        for code in (error, self.des):
            for one in code.statements if code else ():
                if one.name in pk.names:
                    raise refused(f"{one.name} of $PK assigned again", one.line, "another name")

    def _covariates(self, outside: set[str], blocks: tuple[Code | None, ...]) -> list[str]:
        found = []
        for name in sorted(outside):
            if re.fullmatch(r"(THETA|ETA|EPS)\d+", name):
                continue
            line = max((b.line_of(name) for b in blocks if b), default=0)
            if name in _NOT_KNOWN or name not in self.columns.names:
                raise refused(
                    f"{name} is not known here", line,
                    f"names assigned before, or columns: {', '.join(self.columns.free)}",
                )  # fmt: skip
            found.append(name)
        missing = [name for name in found if name not in self.units.covariates]
        if missing:
            raise refused(
                f"no unit of the covariate {', '.join(missing)}",
                self.stream.needed("INPUT").number,
                "a value of a typical subject with its unit for each",
                " ".join(f"--covariates '{name}=70 kg'" for name in missing),
            )  # fmt: skip
        return found

    def _check_numbers(self, outside: set[str]) -> None:
        for kind, size, record in (
            ("THETA", len(self.stream.thetas), "$THETA"), ("ETA", len(self.omega), "$OMEGA"),
        ):  # fmt: skip
            for name in outside:
                match = re.fullmatch(rf"{kind}(\d+)", name)
                if match and not 1 <= int(match[1]) <= size:
                    raise refused(f"{kind}({match[1]}) without {record}", 0, f"{size} are declared")
        for k in self.varied:
            if f"ETA{k}" not in outside:
                raise refused(f"ETA({k}) of $OMEGA acts on nothing", expected="each ETA once used")

    @property
    def varied(self) -> list[int]:
        """Numbers of the ETA with a variance; the others are 0 for everyone."""
        return [k for k in range(1, len(self.omega) + 1) if self.omega[k - 1, k - 1] > 0]

    def _check_omega(self) -> None:
        at = 0
        for block in self.stream.omegas:
            for i in range(len(block.rows)):
                at += 1
                value = self.omega[at - 1, at - 1]
                if value < 0 or (value == 0 and not block.fixed):
                    raise refused(
                        f"variance {value:g} of ETA({at})", block.line, "above 0, or 0 FIX"
                    )
                if block.fixed and any(block.rows[i][:i]):
                    raise refused("a fixed BLOCK with covariances", block.line, "BLOCK estimated")

    # -- the file --

    @property
    def _class(self) -> str:
        words = re.findall(r"[A-Za-z0-9]+", self.title)
        parts = [
            w.capitalize() if w.isupper() and len(w) > 3 else w[:1].upper() + w[1:] for w in words
        ]
        name = "".join(parts)[:40] or "Run"
        return name if name[0].isalpha() else f"Run{name}"

    def _equations(self, pk: Code, error: Code, scale: str, covariates: list[str]) -> list[str]:
        n = self.structure.compartments
        used = pk.uses | error.uses | (self.des.uses if self.des else set())
        names = sorted(
            {u for u in used if re.fullmatch(r"(THETA|ETA)\d+", u)} | set(covariates), key=_order
        )
        lines = [f"m, _ = plain(self, {self.units.time!r})"]
        lines += [f"{name} = m.{name}" for name in names]
        lines += [f"A{i} = m.A{i}" for i in range(1, n + 1)]
        lines += pk.python()
        observed = f"A{self.structure.observed}"
        lines.append(f"F = {observed} / {scale}" if scale in pk.names else f"F = {observed}")
        lines += error.python()
        lines.append(f"yield self.{OUTPUT} == as_unit({OUTPUT}, {self.units.dv!r})")
        lines += [*self.structure.micro, *(self.des.python() if self.des else [])]
        sides = [f"DADT{i}" for i in range(1, n + 1)] if self.des else self.structure.sides
        lines += [f"yield der(m.A{i}) == {side}" for i, side in enumerate(sides, 1)]
        return lines

    def _declared(self, covariates: list[str], used: str) -> list[str]:
        lines = []
        for k, theta in enumerate(self.stream.thetas, 1):
            if not re.search(rf"\bTHETA{k}\b", used):
                continue
            bounds = "".join(
                f", {side}={value!r}"
                for side, value in (("lower", theta.lower), ("upper", theta.upper))
                if math.isfinite(value)
            )
            if not theta.fixed and math.isfinite(theta.lower) != math.isfinite(theta.upper) and (
                theta.lower != 0.0
            ):  # fmt: skip
                self.notes.append(
                    f"line {theta.line}: the bound of THETA({k}) is not watched in a search; "
                    "0 and two-sided bounds are"
                )
            meaning = theta.comment or f"THETA({k})"
            lines.append(
                f"THETA{k} = Parameter({theta.value!r}, {self.theta_units[k]!r}, {meaning!r}"
                f"{bounds}, source='control stream')"
            )
        for k in range(1, len(self.omega) + 1):
            if not re.search(rf"\bETA{k}\b", used):
                continue
            lines.append(f"ETA{k} = Parameter(0.0, '1', 'ETA({k})', source='an effect')")
        for name in covariates:
            number, text = self._typical(name)
            lines.append(
                f"{name} = Parameter({number!r}, {text!r}, 'covariate', source='typical subject')"
            )
        lines += self.parameters
        for i, label in enumerate(self.structure.labels, 1):
            lines.append(f"A{i} = State(0.0, {self.units.amount!r}, {label!r}, nominal=100)")
        lines.append(f"{OUTPUT} = Output({self.units.dv!r}, 'prediction of DV')")
        return lines

    def _typical(self, name: str) -> tuple[float, str]:
        number, _, text = self.units.covariates[name].strip().partition(" ")
        try:
            value = float(number)
        except ValueError:
            raise refused(
                f"covariate {name}={self.units.covariates[name]}", expected="a number with unit"
            ) from None
        text = text.strip() or "1"
        unit(text)
        return value, text

    def _assembled(self, equations: list[str], covariates: list[str], error: Error, n: int) -> str:
        title = self.title.replace("\\", " ").replace('"', "'").rstrip(". ")
        used = "\n".join([*equations, *(v for r in self.routes.values() for v in r.values())])
        body = [f'"""{title}."""', "", *self._declared(covariates, used), "",
                "def equations(self):", *_indented(equations)]  # fmt: skip
        made = [
            "\n".join([f"class {self._class}(Model):", *_indented(body)]),
            self._population(covariates, error),
            self._layout(covariates, n),
            self._problem(used, error),
        ]
        text = "\n\n\n".join(made) + "\n"
        return f'"""{title}.\n\nMade from a NONMEM control stream: numbers are plain within the ' \
            f'equations.\n"""\n\n{_imports(text)}\n\n\n{text}'  # fmt: skip

    def _population(self, covariates: list[str], error: Error) -> str:
        lines = ["def population() -> Population:", f'    """The population of {self._class}."""']
        lines += ["    return Population(", f"        {self._class}(),"]
        rows = []
        for name in covariates:
            value, text = self._typical(name)
            rows.append(f"Covariate({name!r}, {value!r}, {text!r}, positive={value > 0})")
        lines.append(f"        covariates=({''.join(f'{row}, ' for row in rows)}),")
        relations = ", ".join(f"{n!r}: lambda typical, c: c.{n}" for n in covariates)
        lines.append(f"        relations={{{relations}}},")
        sd = np.sqrt(np.diag(self.omega))
        between = "".join(
            f"Between('ETA{k}', {float(sd[k - 1])!r}, 'normal'), " for k in self.varied
        )
        lines.append(f"        between=({between}),")
        pairs = [
            f"('ETA{i + 1}', 'ETA{j + 1}'): {float(self.omega[i, j] / (sd[i] * sd[j]))!r}"
            for i in range(len(sd)) for j in range(i) if self.omega[i, j] != 0
        ]  # fmt: skip
        lines.append(f"        correlations={{{', '.join(pairs)}}},")
        additive = f"'{error.additive!r} {self.units.dv}'" if error.additive else "0.0"
        lines.append(
            f"        residuals=(Residual('{OUTPUT}', {error.proportional!r}, {additive}, "
            f"{error.combine!r}),),"
        )
        return "\n".join([*lines, "    )"])

    def _layout(self, covariates: list[str], n: int) -> str:
        def route(place: int) -> str:
            more = "".join(f", {k}={v!r}" for k, v in self.routes.get(place, {}).items())
            return f"Route('A{place}', {self.units.amount!r}{more})"

        doses = [f"'*': {route(self.structure.dosed)}"]
        ends = f"'{OUTPUT}'"
        if "CMT" in self.columns.names:
            doses = [f"0: {route(self.structure.dosed)}"]
            doses += [f"{i}: {route(i)}" for i in range(1, n + 1)]
            # NONMEM predicts the compartment of the row: another one than the default is an error
            ends = f"{{0: '{OUTPUT}', {self.structure.observed}: '{OUTPUT}'}}"
        columns = ", ".join(f"{c!r}: Column({c!r}, {self._typical(c)[1]!r})" for c in covariates)
        return (
            f"LAYOUT = Layout(\n    {{{', '.join(doses)}}},\n    {ends},\n    {{{columns}}},\n"
            f"    time={self.units.time!r},\n    columns={self.columns.roles()!r},\n)"
        )

    def _problem(self, used: str, error: Error) -> str:
        chosen = settings(self.stream, self.notes)
        estimate, hold = [], [f"ETA{k}" for k in self.varied]
        for k, theta in enumerate(self.stream.thetas, 1):
            if re.search(rf"\bTHETA{k}\b", used) and not theta.fixed and k not in error.thetas:
                estimate.append(f"THETA{k}")
        at = 0
        for block in self.stream.omegas:
            for i in range(len(block.rows)):
                if block.fixed and at + i + 1 in self.varied:
                    hold.append(f"omega(ETA{at + i + 1})")
            at += len(block.rows)
        hold += [f"{OUTPUT}.{part}" for part in error.held]
        return (
            f"METHOD = {chosen.method!r}\nEVALUATE = {chosen.evaluate!r}\n\n\n"
            "def problem(records: Records) -> Problem:\n"
            '    """The population joined with data."""\n'
            f"    estimate, hold = {estimate!r}, {hold!r}\n"
            "    return Problem(population(), records, estimate, hold)"
        )


def _order(name: str) -> tuple[str, int]:
    match = re.fullmatch(r"(THETA|ETA)(\d+)", name)
    return (match[1], int(match[2])) if match else (name, 0)


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


_HOMES = {
    "galenic": ("Model", "Output", "Parameter", "Population", "State", "exp", "log", "maximum",
                "minimum", "where", "cos", "sin", "sqrt"),
    "galenic.inference.mixed.layout": ("Column", "Layout", "Route"),
    "galenic.inference.mixed.problem": ("Problem",),
    "galenic.inference.mixed.records": ("Records",),
    "galenic.modeling.functions": ("absolute", "as_unit", "log10", "tan"),
    "galenic.modeling.sbml.language": ("above", "at_least", "at_most", "below", "der", "equal",
                                       "plain", "unequal"),
    "galenic.modeling.variability": ("Between", "Covariate", "Residual"),
}  # fmt: skip


def _imports(text: str) -> str:
    lines = []
    for home, names in _HOMES.items():
        used = [name for name in sorted(names) if re.search(rf"(?<![.\w]){name}\(", text) or (
            re.search(rf"[(>:] ?{name}\b", text) and name[0].isupper())]  # fmt: skip
        if used:
            lines.append(f"from {home} import {', '.join(used)}")
    return "\n".join(lines)
