"""Models for others and from others: C, FMI units, SBML, NONMEM."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from galenic.errors import DataError
from galenic.twin.service import (
    Artefact,
    Column,
    Duration,
    File,
    Help,
    ModelRef,
    Result,
    Run,
    Table,
    Values,
    service,
)


@service("Export a model", stage="models")
def export(
    model: ModelRef,
    format: Literal["c", "fmu"] = "c",
    values: Values | None = None,
    duration: Duration | None = None,
    *,
    run: Run,
) -> Result:
    """Write a model as C99 without dependency, or as an FMI 3.0 unit for other tools.

    Parameters
    ----------
    model : model
        Name of the model.
    format : choice
        c: source of the model, of its solver, and a program that runs it. fmu: one file for model
        exchange and co-simulation, with a binary where this machine has a C compiler.
    values : mapping
        Defaults of parameters and inputs, and start values, by path; others keep theirs.
    duration : duration
        End of the unit's default experiment; the model's example duration if left out.
    """
    built = model.load()()
    run.progress(0.1, "trace")
    if format == "c":
        return _as_c(built, values)
    return _as_fmu(built, values, duration)


def _as_c(built: Any, values: Values | None) -> Result:
    from galenic.engine.export import c_source

    source = c_source(built, values)
    artefacts = [Artefact(name, text.encode(), "text/x-c") for name, text in source.files().items()]
    program = f"cc -O2 main.c galenic.c {source.name}.c -lm -o {source.name}"
    return Result(f"compile with: {program}", artefacts=artefacts)


def _as_fmu(built: Any, values: Values | None, duration: Duration | None) -> Result:
    import tempfile
    from pathlib import Path

    from galenic.engine.export import export_fmu
    from galenic.engine.export.code import identifier

    name = f"{identifier(built.flatten().name)}.fmu"
    with tempfile.TemporaryDirectory() as folder:
        made = export_fmu(built, Path(folder) / name, values, until=duration)
        artefact = Artefact(name, made.path.read_bytes(), "application/vnd.fmi.fmu")
    told = (
        f"runs on {', '.join(made.binaries)}; other platforms compile its sources"
        if made.binaries
        else "sources only, as this machine has no C compiler: the importing tool compiles them"
    )
    return Result(told, artefacts=[artefact])


@service("Import an SBML model", stage="models")
def import_sbml(file: File) -> Result:
    """Turn an SBML file into a model file in Python, with what there is to know about it.

    Parameters
    ----------
    file : file
        SBML of Level 1 to 3. What cannot be said exactly is refused by name.
    """
    from galenic.modeling.sbml import import_text

    imported = import_text(file.text(), file.name)
    system = imported.model().flatten()
    rows = [(entry.path, entry.kind, entry.unit.text, entry.meaning) for entry in system.entries()]
    columns = tuple(
        Column(name, [row[i] for row in rows])
        for i, name in enumerate(("path", "kind", "unit", "meaning"))
    )
    name = f"{imported.name.lower()}.py"
    return Result(
        "\n".join([f"{imported.name}, written as {name}", *imported.notes]),
        {"states": len(system.states), "events": len(system.events)},
        [Table("quantities", columns)],
        artefacts=[Artefact(name, imported.source.encode(), "text/x-python")],
    )


@service("Import a NONMEM control stream", stage="models")
def import_nonmem(
    file: File,
    time_unit: Annotated[str, Help("Unit of TIME, as h.")],
    dose_unit: Annotated[str, Help("Unit of AMT, as mg.")],
    dv_unit: Annotated[str, Help("Unit of DV, as mg/L.")],
    covariates: Annotated[
        tuple[str, ...], Help("For each covariate a typical value with unit: 'WT=70 kg', SEX=0.")
    ] = (),
) -> Result:
    """Turn a NONMEM control stream into a Python file: model, population, data layout, settings.

    Parameters
    ----------
    file : file
        Control stream with ADVAN 1-4, 6 or 10-13. What is not taken over exactly is refused with
        its line.
    """
    from galenic.inference.nonmem import Units, import_text

    known = dict(_typical(text) for text in covariates)
    imported = import_text(file.text(), Units(time_unit, dose_unit, dv_unit, known), file.name)
    entries = imported.population().system.parameters
    rows = [(e.path, float(e.value / e.unit.scale), e.unit.text, e.meaning) for e in entries]
    columns = tuple(
        Column(name, [row[i] for row in rows])
        for i, name in enumerate(("path", "value", "unit", "meaning"))
    )
    name = f"{imported.name.lower()}.py"
    return Result(
        "\n".join([f"{imported.name}, written as {name}", *imported.notes]),
        {"method": imported.method},
        [Table("parameters", columns)],
        artefacts=[Artefact(name, imported.source.encode(), "text/x-python")],
    )


def _typical(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not value.strip():
        raise DataError(f"covariate {text!r}", expected="NAME=value unit, as WT=70 kg")
    return name.strip().upper(), value
