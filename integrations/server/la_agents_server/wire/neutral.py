"""Neutral values: fields of OpenAI's that are understood, and that this server cannot fill but in one way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from la_agents_server.errors import ApiError

__all__ = ["refuse_what_we_lack"]


def refuse_what_we_lack(given: Mapping[str, Any], neutral: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise ApiError, 400, for a field that asks for what is not there.

    Args:
        given: What a request holds beyond what its model reads.
        neutral: By field, the values that ask for nothing; null always does.
    """
    for name, allowed in neutral.items():
        value = given.get(name)
        if isinstance(value, Mapping):
            value = {key: own for key, own in value.items() if own is not None}
        if value is None or any(isinstance(value, bool) == isinstance(one, bool) and value == one for one in allowed):
            continue  # 0.0 is 0, and False is not
        shown = " or ".join([repr(one) for one in allowed] + ["null"])
        msg = f"Expected {name} to be {shown}, since this server has no other, got something else; leave it out."
        raise ApiError(400, msg, code="unsupported_value", param=name)
