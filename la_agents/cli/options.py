"""Options that several commands share, the settings they add up to, and the decorator that makes them options."""

from __future__ import annotations

import functools
import inspect
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from la_agents.cli.terminal import note
from la_agents.errors import LaAgentsError
from la_agents.guidance import DEFAULT_METHOD, Rule, Support
from la_agents.users import as_user_id
from la_agents.wheels import data_folder

if TYPE_CHECKING:
    from la_agents import PreferenceStore

__all__ = [
    "AllSettings",
    "Decoding",
    "DecodingOptions",
    "ForceOption",
    "JsonOption",
    "MaxTokensOption",
    "ModelSettings",
    "OpenStore",
    "Options",
    "PlacesSettings",
    "QuestionArgument",
    "Settings",
    "StoreOption",
    "StrengthOption",
    "UserOption",
    "command",
    "settings_of",
]

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="LA_AGENTS_STORE",
        metavar="PATH|URL",
        help="Folder or Chroma server that holds the preferences.",
        show_default="your data folder",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME", help="Alias, folder, .gguf file or hub id.", show_default="the bundled model"
    ),
]
LayersOption = Annotated[
    list[str] | None,
    typer.Option("--layer", metavar="NAME", help="A shared layer that applies before the user's own; repeatable."),
]
UserOption = Annotated[
    str,
    typer.Option(
        "--user", "-u", metavar="NAME", callback=lambda user: as_user_id(user), help="The user whose preferences apply."
    ),
]
QuestionArgument = Annotated[str, typer.Argument(help="What to ask; - reads it from standard input.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Overwrite an existing file.")]
StrengthOption = Annotated[
    float | None,
    typer.Option(
        "--strength",
        help="How far to go beyond prompting; 0 is prompting alone.",
        show_default="by model and preference",
    ),
]
MaxTokensOption = Annotated[
    int | None, typer.Option("--max-tokens", help="Longest answer, in tokens.", show_default="256")
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

    @property
    def is_missing(self) -> bool:
        """Whether there is no store yet in the folder."""
        return "://" not in self.location and not Path(self.location).expanduser().exists()

    def note_missing(self) -> None:
        """Tell the user that there is no store yet: the folder may be mistyped."""
        if self.is_missing:
            note(f"There is no store at {self.location} yet.")

    def open_store(self, *, reading: bool = False) -> PreferenceStore:
        """Open the store, and check that its layers exist; without layers nothing happens before the first use.

        Args:
            reading: Whether nothing will be stored. Then a missing folder is not created: an empty store in memory
                takes its place.
        """
        from la_agents import PreferenceStore

        if reading and self.is_missing:
            import chromadb

            nothing = chromadb.EphemeralClient(chromadb.config.Settings(anonymized_telemetry=False))
            store = PreferenceStore(client=nothing, name=f"none-{secrets.token_hex(8)}", layers=self.layers)
        else:
            place = {"url": self.location} if self.is_server else {"path": self.location}
            store = PreferenceStore(**place, layers=self.layers)  # type: ignore[arg-type]
        try:
            if self.layers:
                store.check_layers()
        except LaAgentsError:
            store.close()
            raise
        return store


@dataclass(frozen=True)
class Decoding:
    """How to decode, in the chat model's own words; None keeps its default. Each field is an option of the commands."""

    method: Annotated[Rule | None, typer.Option("--method", help="Alignment method.", show_default=DEFAULT_METHOD)] = (
        None
    )
    strength: StrengthOption = None
    support: Annotated[
        Support | None,
        typer.Option("--support", help="Which tokens may be chosen.", show_default="the method's own"),
    ] = None
    max_divergence: Annotated[
        float | None,
        typer.Option(
            "--max-divergence",
            help="How far a token may depart from the unaligned model, in nats.",
            show_default="none",
        ),
    ] = None
    max_tokens: MaxTokensOption = None
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="0 always takes the most likely token.", show_default="0")
    ] = None
    seed: Annotated[
        int | None, typer.Option("--seed", help="Makes sampling repeatable.", show_default="another each time")
    ] = None

    def given(self) -> dict[str, Any]:
        """What is not left to the default."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Options:
    """Marks a parameter that stands for several options: `Annotated[Settings, Options(make, store=StoreOption)]`.

    Args:
        make: Makes the parameter's value from the command's context and the options.
        options: The annotation of each option by its name. An optional one is None if it is not given.
    """

    def __init__(self, make: Callable[..., Any], **options: Any) -> None:
        self.make, self.options = make, options

    @classmethod
    def of(cls, values: type[Any], *, but: Sequence[str] = ()) -> Options:
        """The fields of a dataclass, each an option, but for some."""
        hints = get_type_hints(values, include_extras=True)
        return cls(lambda _, **given: values(**given), **{name: hints[name] for name in hints if name not in but})


def command(function: Callable[..., Any], **groups: Options) -> Callable[..., None]:
    """Make a function a Typer command: parameters that stand for options are replaced by those options.

    Args:
        groups: Further parameters that stand for options, beside those that are annotated so.
    """
    signature = inspect.signature(function, eval_str=True)
    for name, each in signature.parameters.items():
        groups.update((name, group) for group in get_args(each.annotation)[1:] if isinstance(group, Options))

    @functools.wraps(function)
    def run(ctx: typer.Context, **given: Any) -> None:
        values = {}
        for name, group in groups.items():
            values[name] = group.make(ctx, **{each: given.pop(each) for each in group.options})
        function(**values, **given)

    def parameters() -> Iterator[inspect.Parameter]:
        kind = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        for name, each in signature.parameters.items():
            for option, annotation in groups[name].options.items() if name in groups else ():
                is_optional = type(None) in get_args(get_args(annotation)[0])
                default = None if is_optional else inspect.Parameter.empty
                yield inspect.Parameter(option, kind, default=default, annotation=annotation)
            if name not in groups:
                yield each.replace(kind=kind)

    listed = list(parameters())
    run.__signature__ = signature.replace(parameters=listed)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in listed}
    return run


def settings_of(
    ctx: typer.Context, store: str | None = None, model: str | None = None, layers: list[str] | None = None
) -> Settings:
    """A command's own `--store` and `--model`, else those given before the command."""
    common = ctx.obj if isinstance(ctx.obj, Settings) else Settings()
    return Settings(common.store if store is None else store, model or common.model, tuple(layers or ()))


PlacesSettings = Annotated[Settings, Options(settings_of, store=StoreOption, model=ModelOption)]
ModelSettings = Annotated[Settings, Options(settings_of, model=ModelOption)]
AllSettings = Annotated[Settings, Options(settings_of, layers=LayersOption, store=StoreOption, model=ModelOption)]


def _opened(ctx: typer.Context, store: str | None, *, reading: bool) -> PreferenceStore:
    """The store that was named; closed when the command ends."""
    return ctx.with_resource(settings_of(ctx, store).open_store(reading=reading))


OpenStore = Annotated[Any, Options(functools.partial(_opened, reading=True), store=StoreOption)]
DecodingOptions = Annotated[Decoding, Options.of(Decoding)]
