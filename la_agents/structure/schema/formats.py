"""Formats: the strings that a JSON schema's `format` means, as regular expressions.

Each allows a part of its format that every validator accepts: no 30th of February, no domain without a dot, only web
addresses. A schema that excludes the first pattern of a format gets the wider one. Unknown formats are annotations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["FORMATS", "address_pattern"]


def _ipv6() -> str:
    group = "[0-9a-fA-F]{1,4}"
    short = [f"{group}(?::{group}){{{i - 1}}}::(?:{group}(?::{group}){{0,{6 - i}}})?" for i in range(1, 7)]
    return "|".join([f"(?:{group}:){{7}}{group}", f"::(?:{group}(?::{group}){{0,6}})?", *short])


_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9][0-9]|[0-9][1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|"
    f"02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_HOURS = "T(?:[0-9]{1,6}H(?:[0-9]{1,6}M(?:[0-9]{1,6}S)?)?|[0-9]{1,6}M(?:[0-9]{1,6}S)?|[0-9]{1,6}S)"
_DAYS = "(?:[0-9]{1,3}Y(?:[0-9]{1,3}M(?:[0-9]{1,3}D)?)?|[0-9]{1,3}M(?:[0-9]{1,3}D)?|[0-9]{1,6}D)"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,28}[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_LABEL}\.){{1,7}}[a-zA-Z]{{2,12}}"
_ATOM = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,16}"
_HEX = "[0-9a-fA-F]"
_IN_URI = "[a-zA-Z0-9._~!$&'()*+,;=:@-]"


def _uuid(version: str) -> str:
    return f"{_HEX}{{8}}-{_HEX}{{4}}-{version}{_HEX}{{3}}-[89abAB]{_HEX}{{3}}-{_HEX}{{12}}"


_AUTHORITY = rf"{_DOMAIN}(?::[1-9][0-9]{{0,3}})?"
_PATH = rf"(?:/{_IN_URI}*)*(?:\?{_IN_URI}*)?(?:#{_IN_URI}*)?"
_URI = f"https?://{_AUTHORITY}{_PATH}"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*(?::[1-9][0-9]{{0,3}})?"
_POINTER = "(?:/(?:[a-zA-Z0-9 ._-]|~[01])*)*"
_CLASS = r"\[\^?(?:a-z|A-Z|0-9|[a-zA-Z0-9_.])+\]"
_PIECE = rf"(?:[a-zA-Z0-9 _,:;@/-]|\.|\\[dDsSwW.*+?()]|{_CLASS})(?:[*+?]|\{{[1-9]\}})?"

_BODIES = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": f"P(?:{_DAYS}(?:{_HOURS})?|{_HOURS}|[0-9]{{1,6}}W)",
    **dict.fromkeys(("email", "idn-email"), rf"{_ATOM}(?:\.{_ATOM}){{0,2}}@{_DOMAIN}"),
    **dict.fromkeys(("hostname", "idn-hostname"), rf"{_LABEL}(?:\.{_LABEL}){{0,7}}"),
    "ipv4": _IPV4,
    "ipv6": _ipv6(),
    "uuid": f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
    **dict.fromkeys(("uri", "iri", "uri-template"), _URI),
    **dict.fromkeys(("uri-reference", "iri-reference"), f"{_URI}|/[a-zA-Z0-9]{_IN_URI}*{_PATH}"),
    "json-pointer": _POINTER,
    "relative-json-pointer": f"(?:0|[1-9][0-9]{{0,2}})(?:#|{_POINTER})",
    "regex": rf"\^?(?:{_PIECE}|\((?:{_PIECE})+(?:\|(?:{_PIECE})+)*\)[*+?]?)+\$?",
    # Pydantic's own.
    **{f"uuid{version}": _uuid(version) for version in "1345678"},
    **dict.fromkeys(("ipvanyaddress", "ipv4network", "ipvanynetwork", "ipv4interface", "ipvanyinterface"), _IPV4),
    **dict.fromkeys(("ipv6network", "ipv6interface"), _ipv6()),
    "json-string": "null|true|false|0|[1-9][0-9]{0,14}",
    "base64": "(?:[A-Za-z0-9+/]{4})*",
    "base64url": "(?:[A-Za-z0-9_-]{4})*",
}
_WIDER = {
    **dict.fromkeys(("email", "idn-email"), rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*"),
    **dict.fromkeys(("uri", "iri"), f"[a-zA-Z][a-zA-Z0-9+.-]*:(?://{_HOST}|(?:/(?://)?)?{_IN_URI}+){_PATH}"),
    **dict.fromkeys(("ipvanyaddress", "ipvanynetwork", "ipvanyinterface"), _ipv6()),
}
FORMATS = {name: tuple(f"^(?:{part})$" for part in (body, _WIDER.get(name)) if part) for name, body in _BODIES.items()}
"""Patterns by format, the preferred one first."""


def address_pattern(schemes: Iterable[str]) -> str:
    """Addresses of these schemes, as a pattern that pydantic's types of addresses read."""
    return f"^(?:{'|'.join(map(re.escape, schemes))})://[a-z0-9]{{1,30}}\\.[a-z]{{2,12}}(?:/[a-zA-Z0-9._-]{{1,30}})?$"
