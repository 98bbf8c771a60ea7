"""Options that several commands share, and the settings they add up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from la_agents.errors import LaAgentsError
from la_agents.users import as_user_id
from la_agents.wheels import data_folder

if TYPE_CHECKING:
    from la_agents import PreferenceStore

__all__ = [
    "JsonOption",
    "LayersOption",
    "MaxDivergenceOption",
    "MaxTokensOption",
    "ModelOption",
    "QuestionArgument",
    "SeedOption",
    "Settings",
    "StoreOption",
    "StrengthOption",
    "TemperatureOption",
    "UserOption",
    "settings_of",
]


def _checked_user(user: str) -> str:
    return as_user_id(user)


StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="LA_AGENTS_STORE",
        metavar="PATH|URL",
        help="Where the preferences are.",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Alias, folder, .gguf file or hub id."),
]
UserOption = Annotated[
    str, typer.Option("--user", "-u", metavar="NAME", callback=_checked_user, help="Whose preferences.")
]
QuestionArgument = Annotated[str, typer.Argument(help="What to ask.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
StrengthOption = Annotated[
    float | None, typer.Option("--strength", help="How far beyond prompting to go; 0 is prompting alone.")
]
MaxDivergenceOption = Annotated[
    float | None,
    typer.Option("--max-divergence", help="Budget for leaving the unaligned model, in nats a token."),
]
MaxTokensOption = Annotated[int | None, typer.Option("--max-tokens", help="Longest answer.")]
TemperatureOption = Annotated[float | None, typer.Option("--temperature", help="0, the default, is greedy.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Makes sampling repeatable.")]


LayersOption = Annotated[
    list[str] | None,
    typer.Option("--layer", metavar="NAME", help="A shared layer that applies before the user's own; repeatable."),
]


@dataclass(frozen=True)
class Settings:
    """Where the preferences are, which layers apply and which model answers; None is the default of either."""

    store: str | None = None
    model: str | None = None
    layers: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        """A folder or the URL of a Chroma server."""
        if self.store is not None:
            return self.store
        return str(data_folder() / "preferences")

    @property
    def is_server(self) -> bool:
        """Whether `location` is the URL of a Chroma server."""
        return self.location.startswith(("http://", "https://"))

    def open_store(self) -> PreferenceStore:
        """The store, its layers known to it; without layers nothing is opened, made or loaded before its first use."""
        from la_agents import PreferenceStore

        place = {"url": self.location} if self.is_server else {"path": self.location}
        store = PreferenceStore(**place, layers=self.layers)  # type: ignore[arg-type]
        try:
            if self.layers:
                store.check_layers()
        except LaAgentsError:
            store.close()
            raise
        return store


def settings_of(
    ctx: typer.Context, store: str | None = None, model: str | None = None, layers: list[str] | None = None
) -> Settings:
    """A command's own `--store` and `--model`, else those given before the command."""
    given: Any = ctx.obj
    common = given if isinstance(given, Settings) else Settings()
    return Settings(common.store if store is None else store, model or common.model, tuple(layers or ()))
