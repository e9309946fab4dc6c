"""The alarms that every twin has about itself: what they mean and what to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """Cause, consequence, action, and the time to respond [s] of a kind of alarm."""

    cause: str
    consequence: str
    action: str
    respond: float


MEANINGS: dict[str, Meaning] = {
    "health": Meaning(
        "measurements are missing, or the model does not explain them",
        "estimates and forecasts are less certain; a lost twin stops acting",
        "look at the reasons; mend or bypass the sensor, or go over to other parameters",
        600.0,
    ),
    "level": Meaning(
        "the twin lowered its own level",
        "the plant runs in local control, without the twin's moves",
        "find out why, and raise the level again with a reason",
        600.0,
    ),
    "bypass": Meaning(
        "a person left a sensor out",
        "the belief rests on the other sensors",
        "mend the sensor and end the bypass",
        8 * 3600.0,
    ),
    "late": Meaning(
        "a source sends data that are older than the lateness",
        "they are kept, but the belief does not use them",
        "look at the connection and at the clock of the source",
        3600.0,
    ),
    "rejected": Meaning(
        "a sample is of bad quality, or outside what is plausible",
        "the tag does not correct the belief; alarms on it hold their state",
        "look at the sensor and its connection",
        1800.0,
    ),
    "clock-ahead": Meaning(
        "a source stamps samples with times from the future",
        "its samples count less",
        "set the clock of the source",
        3600.0,
    ),
    "clock-back": Meaning(
        "the clock of this machine went back",
        "nothing is done twice; the twin waits until its time is reached again",
        "look at the time service of this machine",
        600.0,
    ),
    "keys": Meaning(
        "samples come faster than their keys can be kept for the lateness",
        "old repeats are no longer known as such; the belief takes none of them twice",
        "give the definition a shorter lateness, or read fewer tags or slower",
        8 * 3600.0,
    ),
    "integrity": Meaning(
        "one tag gave different values with one time stamp",
        "both are kept and count less",
        "find out which is right, and correct the other",
        3600.0,
    ),
    "controller": Meaning(
        "the controller failed or ran out of time several times in a row",
        "the last written values hold; the twin steps down",
        "control by hand; look at the error in the ledger",
        600.0,
    ),
    "guard": Meaning(
        "the guard refused a move",
        "the value in the plant stays as it is",
        "look at the reason; mend what stands against it, or set the value by hand",
        600.0,
    ),
    "write": Meaning(
        "a write failed, or its outcome is not known",
        "the plant may not do what the twin reckons with",
        "look at the plant's own display; after three failures the twin steps down",
        180.0,
    ),
    "approve": Meaning(
        "a move waits for a person",
        "it is dropped when nobody approves it in time",
        "approve or reject it",
        60.0,
    ),
}


def meaning(key: str) -> Meaning:
    """What a built-in alarm means; ``key`` is ``kind:subject``."""
    nothing = Meaning("", "", "look at the records", 3600.0)
    return MEANINGS.get(key.partition(":")[0], nothing)
