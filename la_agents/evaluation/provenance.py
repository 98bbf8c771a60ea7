"""Provenance: what a measurement depends on, so that a number can be traced and only like is continued with like."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError

if TYPE_CHECKING:
    from la_agents.models import LoadedModel

__all__ = ["checksum", "code_version", "describe_model", "provenance", "provenance_line"]

_PACKAGE = Path(__file__).parents[1]
_LIBRARIES = ("torch", "transformers", "onnxruntime", "numpy")


def provenance(
    *, suite: str, model: str | Mapping[str, Any], seed: int, data: str, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The first row of a results file. It holds no time and no place: the same work has the same one.

    Args:
        suite: Names the measurement, and its file.
        model: What answered: a name, or `describe_model`'s facts.
        seed: Of everything that is drawn.
        data: SHA-256 of what was asked (`checksum`).
        settings: All else that the numbers depend on, JSON-able: methods, strengths, limits, token caps.
    """
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    return {
        "provenance": {
            "suite": suite,
            "model": model,
            "seed": seed,
            "data": data,
            "settings": dict(settings or {}),
            "code": code_version(),
            "libraries": {"python": platform.python_version(), **versions},
        }
    }


def provenance_line(header: Mapping[str, Any]) -> str:
    """One line under a table or a picture, from the first row of its file."""
    values = header["provenance"]
    model = values["model"]
    if not isinstance(model, str):
        facts = ", ".join(str(model[name]) for name in ("quantization", "dtype", "device") if model.get(name))
        model = f"{model['name']} ({facts})"
    origin = f"code {values['code']} · seed {values['seed']} · data sha256 {values['data'][:12]}"
    return f"{values['suite']} · model {model} · {origin}"


def describe_model(loaded: LoadedModel) -> dict[str, Any]:
    """The facts about a loaded model that its numbers depend on."""
    return {
        "name": loaded.name,
        "quantization": loaded.quantization,
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "device": loaded.device.type,
    }


def checksum(*paths: Path) -> str:
    """SHA-256 of a file, or of several in the order of their names; a folder stands for the files in it.

    Raises:
        ConfigurationError: one cannot be read.
    """
    try:
        files = [file for path in paths for file in (path.iterdir() if path.is_dir() else [path]) if not file.is_dir()]
        if len(files) == 1:
            return hashlib.sha256(files[0].read_bytes()).hexdigest()
        return _digest(files)
    except OSError as error:
        msg = f"Expected readable data, got {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error


@cache
def code_version() -> str:
    """This library's version; in a checkout also the last commit that changed it, and a mark if it changed since."""
    version = metadata.version("la-agents")
    commit = _git("log", "-1", "--format=%h", "--", ".")
    if not commit:
        return version
    changed = f"+{_digest(_PACKAGE.rglob('*.py'))[:8]}" if _git("status", "--porcelain", "--", ".") else ""
    return f"{version} {commit}{changed}"


def _git(*arguments: str) -> str:
    """What git says about the package's folder; nothing where it is no checkout."""
    try:
        return subprocess.run(
            ["git", *arguments], cwd=_PACKAGE, capture_output=True, text=True, timeout=30, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for name, file in sorted((file.name, file) for file in files):
        total.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()
