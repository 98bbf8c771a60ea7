"""Arguments: what the faces take and calls may override, each checked and refused by name."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from la_agents.calibration import Calibration
from la_agents.errors import ConfigurationError
from la_agents.models import LoadedModel
from la_agents.requests import Engine
from la_agents.users import as_user_id

__all__ = ["CALL_ARGUMENTS", "refusals", "refuse_unknown"]

CALL_ARGUMENTS = frozenset({
    "compose", "explain", "fluency", "mask_temperature", "max_divergence", "max_tokens", "method", "model",
    "plausibility", "principle_top_p", "principles", "push", "seed", "stop", "stop_repetition", "strength", "support",
    "taper", "temperature", "template_variables", "timeout", "top_p", "user_id",
})  # fmt: skip
"""Constructor arguments that a call may override, also through `bind`; None there means the constructor's."""

_UNTOLD = {"principles", "preferences", "stop", "template_variables", "user_id"}  # values that no error repeats


def as_model(value: Any) -> Any:
    if isinstance(value, LoadedModel) or (isinstance(value, (str, os.PathLike)) and str(value).strip()):
        return value
    msg = f"Expected model to be an alias, a folder, a .gguf file, a hub id or a LoadedModel, got {value!r}."
    raise ConfigurationError(msg)


def as_store(value: Any) -> Any:
    if value is None or callable(getattr(value, "retrieve", None)):
        return value
    got = type(value).__name__
    msg = f"Expected preferences to be a PreferenceStore, got {got}; open one with PreferenceStore(path=...)."
    raise ConfigurationError(msg)


def as_calibration(value: Any) -> Any:
    if value is None or value == "auto" or isinstance(value, Calibration):
        return value
    if isinstance(value, (str, os.PathLike)):
        return Calibration.read(value)
    return Calibration.from_json(value)


def as_default_user(value: Any) -> Any:
    return None if value is None else as_user_id(value)


def as_stop(value: Any) -> Any:
    return [value] if isinstance(value, str) else list(value) if isinstance(value, tuple) else value


def as_variables(value: Any) -> Any:
    """Plain values, since they are part of cache keys."""
    if value is None or isinstance(value, Mapping):
        try:
            return None if value is None else json.loads(json.dumps(dict(value)))
        except (TypeError, ValueError):
            pass
    msg = (
        "Expected template_variables to be a mapping of names to plain values (text, numbers, True, None, lists and "
        f"mappings of them), got {type(value).__name__}."
    )
    raise ConfigurationError(msg)


def as_engine(value: Any) -> Any:
    if value is None or isinstance(value, Engine):
        return value
    msg = (
        "Expected engine to have name, tokenizer, context and submit (la_agents.requests.Engine), got "
        f"{type(value).__name__}; to run a model in this process give model= instead."
    )
    raise ConfigurationError(msg)


def refuse_unknown(unknown: set[str], what: str, known: Collection[str]) -> None:
    if unknown:
        msg = f"Expected {what}, got {', '.join(map(repr, sorted(unknown)))}; known are {', '.join(sorted(known))}."
        raise ConfigurationError(msg)


@contextmanager
def refusals(values: Mapping[str, Any], name: str | None = None) -> Iterator[None]:
    """Turn pydantic's errors into this library's, without the value where that may be a user's text."""
    try:
        yield
        return
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    argument = name or str((first["loc"] or ("arguments",))[0])
    value = values.get(argument)
    shown = type(value).__name__ if argument in _UNTOLD else repr(value)[:80]
    reason = first["msg"][:1].lower() + first["msg"][1:]
    msg = f"Expected a valid {argument}, got {shown}: {reason}."
    raise ConfigurationError(msg) from None  # pydantic's error repeats all that it was given
