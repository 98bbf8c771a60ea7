"""SharedPreferences: one shared layer, for whoever administers it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from la_agents.preferences.aio import async_reading_twin, async_twin
from la_agents.preferences.owned import OwnedPreferences
from la_agents.preferences.owners import Layer

__all__ = ["SharedPreferences"]

P = ParamSpec("P")
R = TypeVar("R")


Operation = Callable[Concatenate["SharedPreferences", P], R]
Twin = Callable[Concatenate["SharedPreferences", P], Coroutine[Any, Any, R]]


def _on_layer(
    method: Callable[Concatenate[OwnedPreferences, object, P], R], *, reads: bool = False
) -> tuple[Operation[P, R], Twin[P, R]]:
    """The operation without a user, and its async twin."""

    def call(self: SharedPreferences, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self._store, self._layer, *args, **kwargs)

    call.__name__ = method.__name__
    call.__qualname__ = f"SharedPreferences.{method.__name__}"
    call.__doc__ = f"Do what `PreferenceStore.{method.__name__}` does, on the layer's preferences."
    return call, (async_reading_twin if reads else async_twin)(call)


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

    add, aadd = _on_layer(OwnedPreferences.add)
    add_many, aadd_many = _on_layer(OwnedPreferences.add_many)
    update, aupdate = _on_layer(OwnedPreferences.update)
    forget, aforget = _on_layer(OwnedPreferences.forget)
    undo, aundo = _on_layer(OwnedPreferences.undo)
    decide, adecide = _on_layer(OwnedPreferences.decide)
    erase, aerase = _on_layer(OwnedPreferences.erase)
    get, aget = _on_layer(OwnedPreferences.get, reads=True)
    history, ahistory = _on_layer(OwnedPreferences.history, reads=True)
    list, alist = _on_layer(OwnedPreferences.list, reads=True)
    archive, aarchive = _on_layer(OwnedPreferences.archive, reads=True)
    conflicts, aconflicts = _on_layer(OwnedPreferences.conflicts, reads=True)
    count, acount = _on_layer(OwnedPreferences.count, reads=True)
    export, aexport = _on_layer(OwnedPreferences.export)
    import_, aimport = _on_layer(OwnedPreferences.import_)
