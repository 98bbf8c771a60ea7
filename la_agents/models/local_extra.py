"""The extra `local`: what it takes to run a model in this process, and what the memory does without."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from la_agents.errors import ConfigurationError

__all__ = ["PACKAGES", "REMEDY", "is_local_installed", "missing_local", "require_local"]

PACKAGES = ("gguf", "jinja2", "llguidance", "torch", "transformers")
"""As they are imported; `pyproject.toml` has their versions."""

REMEDY = 'pip install "la-agents[local]"'


def require_local() -> None:
    """Raise ConfigurationError, with the command that installs them, if one of the packages is not installed."""
    if missing := [name for name in PACKAGES if not _is_installed(name)]:
        raise missing_local(missing)


def is_local_installed() -> bool:
    """Whether all of them are installed."""
    return all(map(_is_installed, PACKAGES))


def missing_local(packages: Sequence[str]) -> ConfigurationError:
    """The error for packages of the extra that are not installed."""
    return ConfigurationError(
        f"Expected what runs a model here to be installed, got no {', '.join(packages)}; run `{REMEDY}`."
    )


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # kept from being imported
        return False
