"""How to decode: the options that every command with an answer has, declared once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, get_type_hints

import typer

from la_agents.cli.options import (
    LayersOption,
    MaxDivergenceOption,
    MaxTokensOption,
    ModelOption,
    SeedOption,
    StoreOption,
    StrengthOption,
    TemperatureOption,
    settings_of,
)

__all__ = ["Decoding", "answers"]


@dataclass(frozen=True)
class Decoding:
    """How to decode, in the chat model's own words; None keeps its default. Each field is an option of the commands."""

    strength: StrengthOption = None
    max_divergence: MaxDivergenceOption = None
    max_tokens: MaxTokensOption = None
    temperature: TemperatureOption = None
    seed: SeedOption = None

    def given(self) -> dict[str, Any]:
        """What is not left to the default."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def answers(command: Callable[..., None]) -> Callable[..., None]:
    """Put the options in place of a command's `decoding` (those of `Decoding`) and `settings` (layer, store, model).

    Typer reads a command's signature, so the wrapper has one that lists them.
    """
    signature = inspect.signature(command, eval_str=True)
    names = [field.name for field in fields(Decoding)]

    @functools.wraps(command)
    def run(ctx: typer.Context, **given: Any) -> None:
        decoding = Decoding(**{name: given.pop(name) for name in names})
        settings = settings_of(ctx, given.pop("store"), given.pop("model"), given.pop("layers"))
        command(ctx, settings=settings, decoding=decoding, **given)

    parameters = [*_expanded(signature)]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _expanded(signature: inspect.Signature) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(Decoding, include_extras=True)
    for parameter in signature.parameters.values():
        if parameter.name == "decoding":
            yield from (_option(field.name, hints[field.name]) for field in fields(Decoding))
        elif parameter.name == "settings":
            yield from (_option("layers", LayersOption), _option("store", StoreOption), _option("model", ModelOption))
        else:
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) if parameter.name != "ctx" else parameter


def _option(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
