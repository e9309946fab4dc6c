"""GS1 keys in their forms: EPC URNs, GS1 Digital Link URIs, check digits.

Facts: GS1 General Specifications (check digit), EPC Tag Data Standard (URN forms), GS1 Digital Link
URI syntax. One thing has many names; `canonical` gives the one by which things are compared.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from galenic.errors import DataError

DOMAIN = "https://id.gs1.org"

# Primary keys (application identifiers), number of digits with check digit, and the qualifiers
# that may follow, finest first. 0 digits: no check digit, any length.
KEYS: dict[str, tuple[int, tuple[str, ...]]] = {
    "00": (18, ()), "01": (14, ("21", "235", "10")), "253": (13, ()), "255": (13, ()),
    "401": (0, ()), "402": (17, ()), "414": (13, ("254",)), "417": (13, ()), "8003": (14, ()),
    "8004": (0, ()), "8006": (14, ("21", "10")), "8010": (0, ("8011",)), "8017": (18, ()),
    "8018": (18, ()),
}  # fmt: skip

UNSAFE = {c: f"%{ord(c):02X}" for c in "!()*+,:"}
URN = re.compile(r"urn:epc:(id|class|idpat):([a-z]+):(.+)", re.DOTALL)


def check_digit(body: str) -> int:
    """The GS1 check digit of a string of digits.

    Examples
    --------
    >>> check_digit("1061414107346"), check_digit("10614141234567890")
    (4, 8)
    """
    if not body.isdecimal():
        raise DataError(f"{body!r} is not a row of digits", where="GS1 key")
    total = sum(int(d) * (3, 1)[i % 2] for i, d in enumerate(reversed(body)))
    return -total % 10


def with_check(body: str) -> str:
    """The digits followed by their check digit."""
    return f"{body}{check_digit(body)}"


@lru_cache(maxsize=100_000)
def canonical(uri: str) -> str:
    """The canonical, constrained GS1 Digital Link of a GS1 key; other URIs as they are.

    Examples
    --------
    >>> canonical("urn:epc:id:sgtin:0614141.107346.2017")
    'https://id.gs1.org/01/10614141073464/21/2017'
    >>> canonical("https://example.com/01/04012345999990/10/LOT1/21/XY?17=240101")
    'https://id.gs1.org/01/04012345999990/21/XY'
    >>> canonical("urn:uuid:2d6b")
    'urn:uuid:2d6b'
    """
    match = URN.fullmatch(uri)
    if match:
        path = _of_urn(*match.groups())
        return f"{DOMAIN}{path}" if path else uri
    if uri.startswith(("https://", "http://")):
        path = _of_link(uri)
        return f"{DOMAIN}{path}" if path else uri
    return uri


NAMES = {
    "00": "SSCC", "01": "GTIN", "10": "lot", "21": "serial", "235": "serial", "253": "document",
    "254": "extension", "255": "coupon", "401": "consignment", "402": "shipment",
    "414": "location", "417": "party", "8003": "returnable", "8004": "asset", "8006": "piece",
    "8010": "component", "8011": "serial", "8017": "provider", "8018": "recipient",
}  # fmt: skip
"""Application identifiers in a word (GS1 General Specifications, section 3)."""


def spoken(uri: str) -> str:
    """A GS1 key as people say it; other URIs as they are.

    Examples
    --------
    >>> spoken("urn:epc:id:sgtin:0614141.107346.2017")
    'GTIN 10614141073464, serial 2017'
    >>> spoken("urn:epc:id:sgln:4012345.00001.0"), spoken("urn:uuid:2d6b")
    ('location 4012345000016', 'urn:uuid:2d6b')
    """
    name = canonical(uri)
    if not name.startswith(f"{DOMAIN}/"):
        return uri
    steps = name.removeprefix(f"{DOMAIN}/").split("/")
    pairs = zip(steps[::2], steps[1::2], strict=False)
    return ", ".join(f"{NAMES[key]} {unquote(value)}" for key, value in pairs)


def class_of(epc: str) -> str:
    """The canonical class of an instance or lot (its GTIN), or nothing where it has none.

    Examples
    --------
    >>> class_of("urn:epc:id:sgtin:0614141.107346.2017")
    'https://id.gs1.org/01/10614141073464'
    """
    found = re.match(re.escape(DOMAIN) + r"(/01/\d{14}|/8006/\d{18})", canonical(epc))
    return found[0] if found else ""


def lot_of(epc_class: str) -> str:
    """The lot in the name of a class, or nothing."""
    _, mark, lot = canonical(epc_class).partition("/10/")
    return lot if mark else ""


def _safe(text: str) -> str:
    return "".join(UNSAFE.get(c, c) for c in text)


def _of_urn(form: str, scheme: str, rest: str) -> str:
    """Path of the Digital Link, or nothing where the URN is of no known form."""
    parts = rest.split(".")
    if form == "idpat":
        if parts[-1] != "*" or "*" in parts[:-1]:
            return ""
        parts = parts[:-1]
        return _pattern(scheme, parts)
    make = {
        ("id", "sgtin"): _sgtin, ("id", "sscc"): _sscc, ("id", "sgln"): _sgln,
        ("id", "grai"): _grai, ("id", "giai"): _giai, ("id", "gsrn"): _gsrn,
        ("id", "gsrnp"): _gsrnp, ("id", "gdti"): _gdti, ("id", "cpi"): _cpi,
        ("id", "sgcn"): _sgcn, ("id", "ginc"): _ginc, ("id", "gsin"): _gsin,
        ("id", "itip"): _itip, ("id", "upui"): _upui, ("id", "pgln"): _pgln,
        ("class", "lgtin"): _lgtin,
    }.get((form, scheme))  # fmt: skip
    return make(parts) if make else ""


def _joined(parts: list[str], first: int) -> str:
    """What follows the numbered parts, which may itself have dots in it."""
    return ".".join(parts[first:])


def _digits(count: int, *parts: str) -> bool:
    return sum(map(len, parts)) == count and all(p.isdecimal() or not p for p in parts)


def _gtin(prefix: str, item: str) -> str:
    return with_check(item[:1] + prefix + item[1:])


def _is_gtin(parts: list[str], more: int = 1) -> bool:
    return len(parts) >= 2 + more and _digits(13, *parts[:2]) and bool(parts[1])


def _sgtin(parts: list[str]) -> str:
    if not _is_gtin(parts):
        return ""
    return f"/01/{_gtin(*parts[:2])}/21/{_safe(_joined(parts, 2))}"


def _lgtin(parts: list[str]) -> str:
    if not _is_gtin(parts):
        return ""
    return f"/01/{_gtin(*parts[:2])}/10/{_safe(_joined(parts, 2))}"


def _upui(parts: list[str]) -> str:
    if not _is_gtin(parts):
        return ""
    return f"/01/{_gtin(*parts[:2])}/235/{_safe(_joined(parts, 2))}"


def _itip(parts: list[str]) -> str:
    if not _is_gtin(parts, 3) or not _digits(4, *parts[2:4]):
        return ""
    return f"/8006/{_gtin(*parts[:2])}{parts[2]}{parts[3]}/21/{_safe(_joined(parts, 4))}"


def _sscc(parts: list[str]) -> str:
    if len(parts) != 2 or not _digits(17, *parts):
        return ""
    prefix, serial = parts
    return f"/00/{with_check(serial[:1] + prefix + serial[1:])}"


def _plain(ai: str, parts: list[str], count: int, lead: str = "") -> str:
    """A key of prefix and reference with a check digit, and whatever serial follows."""
    if len(parts) < 2 or not _digits(count, *parts[:2]):
        return ""
    serial = _safe(_joined(parts, 2)) if len(parts) > 2 else ""
    return f"/{ai}/{lead}{with_check(lead + ''.join(parts[:2]))[len(lead) :]}{serial}"


def _sgln(parts: list[str]) -> str:
    if len(parts) < 3 or not _digits(12, *parts[:2]):
        return ""
    path = f"/414/{with_check(''.join(parts[:2]))}"
    extension = _joined(parts, 2)
    return path if extension == "0" else f"{path}/254/{_safe(extension)}"


def _pgln(parts: list[str]) -> str:
    return _plain("417", parts, 12) if len(parts) == 2 else ""


def _grai(parts: list[str]) -> str:
    return _plain("8003", parts, 12, "0")


def _gdti(parts: list[str]) -> str:
    return _plain("253", parts, 12)


def _sgcn(parts: list[str]) -> str:
    return _plain("255", parts, 12)


def _gsrn(parts: list[str]) -> str:
    return _plain("8018", parts, 17) if len(parts) == 2 else ""


def _gsrnp(parts: list[str]) -> str:
    return _plain("8017", parts, 17) if len(parts) == 2 else ""


def _gsin(parts: list[str]) -> str:
    return _plain("402", parts, 16) if len(parts) == 2 else ""


def _giai(parts: list[str]) -> str:
    return f"/8004/{parts[0]}{_safe(_joined(parts, 1))}" if len(parts) > 1 else ""


def _ginc(parts: list[str]) -> str:
    return f"/401/{parts[0]}{_safe(_joined(parts, 1))}" if len(parts) > 1 else ""


def _cpi(parts: list[str]) -> str:
    return f"/8010/{parts[0]}{_safe(parts[1])}/8011/{parts[2]}" if len(parts) == 3 else ""


def _pattern(scheme: str, parts: list[str]) -> str:
    """A class: what all instances of a pattern have in common."""
    if len(parts) != 2:
        return ""
    if scheme == "sgtin" and _digits(13, *parts) and parts[1]:
        return f"/01/{_gtin(*parts)}"
    make = {"grai": _grai, "gdti": _gdti, "sgcn": _sgcn}.get(scheme)
    return make(parts) if make else ""


def _of_link(uri: str) -> str:
    """Path of a Digital Link with its finest level only, or nothing where it is none."""
    steps = urlsplit(uri).path.strip("/").split("/")
    for place in range(len(steps) - 1):
        found = _key_at(steps, place)
        if found:
            return found
    return ""


def _key_at(steps: list[str], place: int) -> str:
    ai, value = steps[place], steps[place + 1]
    if ai not in KEYS or not value:
        return ""
    length, qualifiers = KEYS[ai]
    if ai == "01" and value.isdecimal():
        value = value.zfill(14)
    number = value[:length]
    if length and (len(number) < length or not number.isdecimal()):
        return ""
    if length and int(number[-1]) != check_digit(number[:-1]):
        return ""
    more = dict(zip(steps[place + 2 :: 2], steps[place + 3 :: 2], strict=False))
    for qualifier in qualifiers:
        if more.get(qualifier):
            return f"/{ai}/{value}/{qualifier}/{more[qualifier]}"
    return f"/{ai}/{value}"
