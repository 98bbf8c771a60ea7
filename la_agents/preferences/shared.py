"""SharedPreferences: one shared layer, for whoever administers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from la_agents.preferences.aio import async_reading_twin, async_twin
from la_agents.preferences.owned import OwnedPreferences
from la_agents.preferences.owners import Layer

__all__ = ["SharedPreferences"]

P = ParamSpec("P")
R = TypeVar("R")


def _on_layer(
    method: Callable[Concatenate[OwnedPreferences, object, P], R],
) -> Callable[Concatenate[SharedPreferences, P], R]:
    def call(self: SharedPreferences, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self._store, self._layer, *args, **kwargs)

    call.__name__ = method.__name__
    call.__qualname__ = f"SharedPreferences.{method.__name__}"
    call.__doc__ = f"Do what `PreferenceStore.{method.__name__}` does, on the layer's preferences."
    return call


class SharedPreferences:
    """One shared layer, for whoever administers it: the store's operations, without a user.

    They are `add`, `add_many`, `update`, `forget`, `undo`, `decide`, `erase`, `get`, `history`, `list`, `archive`,
    `conflicts`, `count`, `export` and `import_`. Made by `PreferenceStore.shared(name)`; what is stored here applies in
    stores that are made with `layers=[name]`. Users' preferences do not override one that is `locked`.
    """

    def __init__(self, store: OwnedPreferences, layer: Layer) -> None:
        self._store = store
        self._layer = layer

    @property
    def name(self) -> str:
        """The layer's name, as reports give it."""
        return self._layer.name

    add = _on_layer(OwnedPreferences.add)
    add_many = _on_layer(OwnedPreferences.add_many)
    update = _on_layer(OwnedPreferences.update)
    forget = _on_layer(OwnedPreferences.forget)
    undo = _on_layer(OwnedPreferences.undo)
    decide = _on_layer(OwnedPreferences.decide)
    erase = _on_layer(OwnedPreferences.erase)
    get = _on_layer(OwnedPreferences.get)
    history = _on_layer(OwnedPreferences.history)
    list = _on_layer(OwnedPreferences.list)
    archive = _on_layer(OwnedPreferences.archive)
    conflicts = _on_layer(OwnedPreferences.conflicts)
    count = _on_layer(OwnedPreferences.count)
    export = _on_layer(OwnedPreferences.export)
    import_ = _on_layer(OwnedPreferences.import_)
    aadd = async_twin(add)
    aadd_many = async_twin(add_many)
    aupdate = async_twin(update)
    aforget = async_twin(forget)
    aundo = async_twin(undo)
    adecide = async_twin(decide)
    aerase = async_twin(erase)
    aget = async_reading_twin(get)
    ahistory = async_reading_twin(history)
    alist = async_reading_twin(list)
    aarchive = async_reading_twin(archive)
    aconflicts = async_reading_twin(conflicts)
    acount = async_reading_twin(count)
    aexport = async_twin(export)
    aimport = async_twin(import_)
