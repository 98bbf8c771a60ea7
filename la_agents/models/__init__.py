"""Models: found, converted and loaded, once per process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from la_agents.lazy_names import names_of

if TYPE_CHECKING:
    from la_agents.models.files import DEFAULT_MODEL
    from la_agents.models.loading import LoadedModel, load_model

__all__ = ["DEFAULT_MODEL", "LoadedModel", "load_model"]

__getattr__, __dir__ = names_of(
    __name__,
    {"DEFAULT_MODEL": "files", "LoadedModel": "loading", "load_model": "loading"},
)
