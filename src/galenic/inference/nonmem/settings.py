"""Which model $SUBROUTINES and $MODEL ask for, and how $ESTIMATION is to be done."""

from __future__ import annotations

import re
from dataclasses import dataclass

from galenic.inference.nonmem import advan
from galenic.inference.nonmem.refusal import refused
from galenic.inference.nonmem.stream import Record, Stream

IGNORED = (
    "PRINT", "MAXEVALS", "MAXEVALUATIONS", "NOABORT", "SIGDIGITS", "NSIG", "SIGL", "POSTHOC",
    "MSFO", "FILE", "FORMAT", "NITER", "NBURN", "ISAMPLE", "SEED", "CTYPE", "CITER", "NUMERICAL",
    "SLOW", "NOSLOW",
)  # fmt: skip
METHODS = {
    "0": "fo", "ZERO": "fo", "FO": "fo", "1": "foce", "COND": "foce", "CONDITIONAL": "foce",
    "SAEM": "saem",
}  # fmt: skip


@dataclass(frozen=True)
class Structure:
    """The compartments: their number and labels, where doses go, what is seen, equations."""

    name: str
    labels: tuple[str, ...]
    dosed: int
    observed: int
    general: bool
    asked: tuple[str, ...] = ()
    micro: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()

    @property
    def compartments(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Settings:
    """The method of estimation, and whether only the objective is evaluated."""

    method: str
    evaluate: bool


def structure(stream: Stream) -> Structure:
    """The structure that $SUBROUTINES and $MODEL declare."""
    record = stream.needed("SUBROUTINES")
    number, trans = 0, 1
    for word in record.text.upper().replace(",", " ").split():
        if found := re.fullmatch(r"(?:ADVAN\s*=\s*)?ADVAN(\d+)", word):
            number = int(found[1])
        elif found := re.fullmatch(r"(?:TRANS\s*=\s*)?TRANS(\d+)", word):
            trans = int(found[1])
        elif not re.fullmatch(r"(TOL|ATOL)\s*=\s*\d+", word):
            raise refused(f"{word} in $SUBROUTINES", record.number, "ADVANn TRANSn TOL=n")
    if number in advan.GENERAL:
        if trans != 1:
            raise refused(f"TRANS{trans} with ADVAN{number}", record.number, "TRANS1")
        return _general(stream, number)
    if model := stream.one("MODEL"):
        raise refused(f"$MODEL with ADVAN{number}", model.number, "$MODEL with ADVAN6 or 13")
    ready, asked, micro = advan.ready(number, trans, record.number)
    labels = [""] * ready.compartments
    for i in range(1, ready.compartments + 1):
        labels[i - 1] = "depot" if ready.depot and i == 1 else (
            "central compartment" if i == ready.central else "peripheral compartment")  # fmt: skip
    steps = [f"{name} = {value}" for name, value in micro.items()]
    return Structure(
        f"ADVAN{number} TRANS{trans}", tuple(labels), ready.dosed, ready.observed, False, asked,
        tuple(steps), tuple(ready.equations()),
    )  # fmt: skip


def _general(stream: Stream, number: int) -> Structure:
    record = stream.needed("MODEL")
    labels, dosed, observed = [], 0, 0
    text = record.text.upper()
    rest = re.sub(r"COMP(ARTMENT)?\s*=?\s*(\([^()]*\)|\w+)|N(COMP(ARTMENTS|S)?)?\s*=\s*\d+", "",
                  text).strip()  # fmt: skip
    if rest:
        raise refused(f"{rest} in $MODEL", record.number, "COMP=(NAME, DEFDOSE, DEFOBS)")
    for found in re.finditer(r"COMP(?:ARTMENT)?\s*=?\s*(\([^()]*\)|\w+)", text):
        words = found[1].strip("()").replace(",", " ").split()
        labels.append(words[0].lower())
        for word in words[1:]:
            if word in ("DEFDOSE", "DEFDOS"):
                dosed = len(labels)
            elif word in ("DEFOBS", "DEFOBSERVATION"):
                observed = len(labels)
            else:
                raise refused(f"{word} in $MODEL", record.number, "DEFDOSE, DEFOBS")
    count = re.search(r"\bN(?:COMP(?:ARTMENTS|S)?)?\s*=\s*(\d+)", text)
    if count and not labels:
        labels = [f"compartment {i + 1}" for i in range(int(count[1]))]
    if not labels or (count and int(count[1]) != len(labels)):
        raise refused("$MODEL without its compartments", record.number, "COMP=(NAME) for each")
    # without a mark NONMEM doses DEPOT and observes CENTRAL, where there are such names
    dosed = dosed or (labels.index("depot") + 1 if "depot" in labels else 1)
    observed = observed or (labels.index("central") + 1 if "central" in labels else 1)
    return Structure(f"ADVAN{number}", tuple(labels), dosed, observed, True)


def settings(stream: Stream, notes: list[str]) -> Settings:
    """The last $ESTIMATION; FO, NONMEM's default, where there is none."""
    for name in ("COVARIANCE", "TABLE"):
        for record in stream.all(name):
            notes.append(f"line {record.number}: ${name} is not taken over")
    records = stream.all("ESTIMATION")
    if not records:
        return Settings("fo", True)
    for record in records[:-1]:
        notes.append(f"line {record.number}: only the last $ESTIMATION is taken over")
    return _estimation(records[-1], notes)


def _estimation(record: Record, notes: list[str]) -> Settings:
    method, interaction, laplace, evaluate = "fo", False, False, False
    for word in re.sub(r"\s*=\s*", "=", record.text.upper()).replace(",", " ").split():
        name, _, value = word.partition("=")
        if len(name) >= 4 and "METHOD".startswith(name):
            if value not in METHODS:
                raise refused(f"METHOD={value}", record.number, ", ".join(METHODS))
            method = METHODS[value]
        elif len(name) >= 4 and "INTERACTION".startswith(name) and not value:
            interaction = True
        elif len(name) >= 4 and "LAPLACIAN".startswith(name) and not value:
            laplace = True
        elif name == "LAPLACE":
            laplace = True
        elif any(len(name) >= 3 and one.startswith(name) for one in IGNORED):
            evaluate = evaluate or (name.startswith("MAX") and value == "0")
            notes.append(f"line {record.number}: {word} is not taken over")
        else:
            raise refused(
                f"{word} in $ESTIMATION", record.number,
                f"METHOD, INTERACTION, LAPLACIAN; without effect: {', '.join(IGNORED)}",
            )  # fmt: skip
    if laplace:
        return Settings("laplace", evaluate)
    if interaction and method == "fo":
        raise refused("INTERACTION with METHOD=0", record.number, "METHOD=1 INTERACTION")
    return Settings("focei" if interaction and method == "foce" else method, evaluate)
