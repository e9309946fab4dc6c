"""What a password must be, and its hash (Argon2id)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from galenic.errors import DataError
from galenic.records.policy import AccessRules

if TYPE_CHECKING:
    import argon2

COMMON = Path(__file__).parent / "common-passwords.csv"
LONGEST = 1000
LEET = str.maketrans("013457@$!", "oieastasi")
RUNS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm",
        "qwertzuiop", "yxcvbnm")  # fmt: skip


class Passwords:
    """Rules and hashes of passwords.

    Parameters
    ----------
    rules : AccessRules
    hasher : argon2.PasswordHasher, optional
        Other costs than the library's defaults (RFC 9106, low memory).
    """

    def __init__(self, rules: AccessRules, hasher: argon2.PasswordHasher | None = None) -> None:
        import argon2

        self.rules = rules
        self._hasher = hasher or argon2.PasswordHasher()

    def new(self, word: str, names: Iterable[str], earlier: Iterable[str] = ()) -> str:
        """The hash of a new password that keeps the rules; a broken one is named.

        Parameters
        ----------
        word : str
        names : iterable of str
            User name and printed name, which it must not contain.
        earlier : iterable of str
            Hashes of the passwords before, newest first.
        """
        if len(word) < self.rules.password_length:
            raise DataError(
                f"the password has {len(word)} characters",
                expected=f"{self.rules.password_length} or more",
            )
        if len(word) > LONGEST:
            raise DataError("the password is too long", expected=f"at most {LONGEST} characters")
        folded = word.casefold()
        for name in _parts(names):
            if name in folded:
                raise DataError("the password contains the name", expected="one without it")
        if is_common(word):
            raise DataError(
                "the password is one of those that everybody tries first",
                expected="several words, or letters and digits without order",
            )
        for kept in list(earlier)[: self.rules.password_history]:
            if self.fits(kept, word):
                raise DataError(
                    "the password was used before",
                    expected=f"none of the last {self.rules.password_history}",
                )
        return self._hasher.hash(word)

    def fits(self, kept: str, word: str) -> bool:
        """Whether a password is the one of a hash."""
        import argon2

        try:
            return self._hasher.verify(kept, word)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    def waste(self, word: str) -> None:
        """Take as long as a check: an unknown name must not answer faster."""
        self._hasher.hash(word)

    def renewed(self, kept: str, word: str) -> str | None:
        """A hash of today's costs, where ``kept`` has others."""
        return self._hasher.hash(word) if self._hasher.check_needs_rehash(kept) else None


def _parts(names: Iterable[str]) -> set[str]:
    words = {word for name in names for word in (name, *re.split(r"[\W_]+", name))}
    return {word.casefold() for word in words if len(word) >= 3}


@cache
def _common() -> frozenset[str]:
    lines = COMMON.read_text(encoding="utf-8").splitlines()[1:]
    return frozenset(line.strip() for line in lines)


def is_common(word: str) -> bool:
    """Whether a password is a common one, also repeated, in leet or with digits behind it.

    Examples
    --------
    >>> [is_common(w) for w in ("P4ssw0rd2026!", "abcdefghij", "aaaaaaaaaaaa", "wide tall harbour")]
    [True, True, True, False]
    """
    folded = word.casefold()
    stem = re.sub(r"[\W\d_]+$", "", folded)
    tried = {folded, stem, folded.translate(LEET), stem.translate(LEET)}
    tried |= {re.sub(r"[\W_]+", "", one) for one in tried}
    if any(one in _common() for one in tried) or len(set(folded)) <= 3:
        return True
    whole = re.fullmatch(r"(.+?)\1+", folded)
    if whole is not None and (whole[1] in _common() or len(whole[1]) <= 4):
        return True
    return any(folded in run * 2 or folded in (run * 2)[::-1] for run in RUNS)
