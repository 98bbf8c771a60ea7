"""Shared layers: an application's or an organisation's own preferences, which apply to every user before the user's.

A layer lies in the store like a user whose id no caller can give: user ids have no control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError
from la_agents.preferences.aio import async_twin
from la_agents.preferences.history import Change
from la_agents.preferences.preference import Preference, PreferenceDraft, Scope, ScoredPreference
from la_agents.preferences.retrieval.ranking import cosines
from la_agents.preferences.rules.comparison import relate
from la_agents.preferences.storage.records import Vector
from la_agents.preferences.transfer import jsonl
from la_agents.users import as_user_id

if TYPE_CHECKING:
    from la_agents.preferences.store import PreferenceStore

__all__ = ["Layer", "SharedPreferences", "owner_of", "settle"]

_KEY = "\x1flayer\x1f"

Preferences = list[Preference]  # named out here, because a method is called `list`


@dataclass(frozen=True, slots=True)
class Layer:
    """The name of a shared layer, such as "acme".

    Raises:
        ConfigurationError: it is blank, too long, or one of the names that principles have otherwise.
    """

    name: str

    def __post_init__(self) -> None:
        name = self.name
        if not isinstance(name, str) or not name.strip() or len(name) > 64 or not name.isprintable():
            msg = f"Expected the name of a layer to be 1 to 64 printable characters, got {name!r}."
            raise ConfigurationError(msg)
        if name in ("user", "call"):
            msg = f"Expected a layer of another name, got {name!r}, which stands for what users and calls give."
            raise ConfigurationError(msg)

    @property
    def key(self) -> str:
        """What stands in place of a user id."""
        return f"{_KEY}{self.name}"

    @staticmethod
    def is_key(owner: str) -> bool:
        """Whether records of this owner are a layer's."""
        return owner.startswith(_KEY)


def owner_of(user: object) -> str:
    """The id under which records lie: a layer's key, or the user's id.

    Raises:
        UserNotSpecifiedError: it is neither a layer nor a valid user.
    """
    return user.key if isinstance(user, Layer) else as_user_id(user)


def settle(
    shared: Sequence[ScoredPreference],
    own: Sequence[ScoredPreference],
    locked: Sequence[ScoredPreference],
    vectors: Mapping[tuple[str, str], Vector],
) -> list[ScoredPreference]:
    """Layers' preferences, then the user's, without those that contradict: a locked one wins, else the user's own does.

    Args:
        shared: What the layers give, in order.
        own: What the user's own memory gives.
        locked: All locked ones of the layers, whether or not they are among what is given.
        vectors: Embeddings by layer and preference id.
    """
    own = [mine for mine in own if not any(_contradict(layered, mine, vectors) for layered in locked)]
    return [
        *(
            layered
            for layered in shared
            if layered.preference.locked or not any(_contradict(layered, mine, vectors) for mine in own)
        ),
        *own,
    ]


def _contradict(one: ScoredPreference, other: ScoredPreference, vectors: Mapping[tuple[str, str], Vector]) -> bool:
    first, second = (vectors[scored.layer, scored.preference.id] for scored in (one, other))
    similarity = float(cosines(first[None], second)[0])
    return relate(one.preference.text, other.preference.text, similarity)[0] == "contradicts"


class SharedPreferences:
    """One shared layer, for whoever administers it: the store's operations, without a user.

    Made by `PreferenceStore.shared(name)`; what is stored here applies in stores that are made with `layers=[name]`.
    """

    def __init__(self, store: PreferenceStore, layer: Layer) -> None:
        self._store = store
        self._layer = layer

    @property
    def name(self) -> str:
        """The layer's name, as reports give it."""
        return self._layer.name

    def add(self, /, text: str, *, locked: bool = False, consolidate: bool = True, **options: Any) -> Preference:
        """Store one, as `PreferenceStore.add` does; a locked one is not overruled by what users prefer."""
        return self.add_many([{"text": text, "locked": locked, **options}], consolidate=consolidate)[0]

    def add_many(
        self, items: Iterable[str | Mapping[str, Any] | PreferenceDraft], *, consolidate: bool = True
    ) -> Preferences:
        """Store several, as `PreferenceStore.add_many` does."""
        return self._store.add_many(self._layer, items, consolidate=consolidate)

    def get(self, id: str) -> Preference:
        """Return one in whatever state."""
        return self._store.get(self._layer, id)

    def list(self, *, scope: Scope | None = None, as_of: datetime | None = None) -> Preferences:
        """Return the active ones, the oldest first, as `PreferenceStore.list` does."""
        return self._store.list(self._layer, scope=scope, as_of=as_of)

    def archive(self) -> Preferences:
        """Return the superseded, expired and forgotten ones, the oldest first."""
        return self._store.archive(self._layer)

    def count(self) -> int:
        """Return how many are active."""
        return self._store.count(self._layer)

    def update(self, /, id: str, **changes: Any) -> Preference:
        """Change what is given, as `PreferenceStore.update` does."""
        return self._store.update(self._layer, id, **changes)

    def forget(self, id: str) -> Preference:
        """Let one apply no more."""
        return self._store.forget(self._layer, id)

    def history(self, id: str) -> Sequence[Change]:
        """Return what happened to one."""
        return self._store.history(self._layer, id)

    def undo(self, id: str) -> Sequence[Preference]:
        """Take back the latest change of one."""
        return self._store.undo(self._layer, id)

    def erase(self) -> int:
        """Remove the whole layer, and return how many preferences it had."""
        return self._store.erase(self._layer)

    def export(self, /, path_or_file: jsonl.PathOrFile, **options: Any) -> int:
        """Write the layer as JSON lines, as `PreferenceStore.export` does."""
        return self._store.export(self._layer, path_or_file, **options)

    def import_(self, /, path_or_file: jsonl.PathOrFile, **options: Any) -> int:
        """Read JSON lines into the layer, as `PreferenceStore.import_` does."""
        return self._store.import_(self._layer, path_or_file, **options)

    aadd = async_twin(add)
    aadd_many = async_twin(add_many)
    aget = async_twin(get)
    alist = async_twin(list)
    aarchive = async_twin(archive)
    acount = async_twin(count)
    aupdate = async_twin(update)
    aforget = async_twin(forget)
    ahistory = async_twin(history)
    aundo = async_twin(undo)
    aerase = async_twin(erase)
    aexport = async_twin(export)
    aimport = async_twin(import_)
