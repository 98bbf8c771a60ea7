"""SharedPreferences: one shared layer, for whoever administers it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from la_agents.preferences import writing
from la_agents.preferences.aio import async_reading_twin, async_twin
from la_agents.preferences.consolidation.conflicts import Conflict, Keep, possible_conflicts
from la_agents.preferences.consolidation.judging import Consolidator
from la_agents.preferences.history import Change
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.owners import Layer
from la_agents.preferences.preference import Preference, PreferenceDraft, Scope, as_drafts
from la_agents.preferences.retrieval.ranking import in_order
from la_agents.preferences.transfer import operations
from la_agents.preferences.transfer.jsonl import PathOrFile

__all__ = ["SharedPreferences"]

Preferences = list[Preference]  # named out here, because a method is called `list`


class SharedPreferences:
    """One shared layer: the store's operations, without a user.

    Made by `PreferenceStore.shared(name)`; what is stored here applies in stores that are made with `layers=[name]`.
    """

    def __init__(self, ledger: Ledger, consolidator: Consolidator, layer: Layer) -> None:
        self._ledger = ledger
        self._consolidator = consolidator
        self._layer = layer

    @property
    def name(self) -> str:
        """The layer's name, as reports give it."""
        return self._layer.name

    def add(self, /, text: str, *, locked: bool = False, consolidate: bool = True, **options: Any) -> Preference:
        """Store one, as `PreferenceStore.add` does; users' preferences do not override a locked one."""
        return self.add_many([{"text": text, "locked": locked, **options}], consolidate=consolidate)[0]

    def add_many(
        self, items: Iterable[str | Mapping[str, Any] | PreferenceDraft], *, consolidate: bool = True
    ) -> Preferences:
        """Store several, as `PreferenceStore.add_many` does."""
        drafts = as_drafts(items)
        return writing.add(self._ledger, self._consolidator, self._layer.key, drafts, consolidate=consolidate)

    def get(self, id: str) -> Preference:
        """Return one, in any state."""
        return self._ledger.existing(self._layer.key, id).preference

    def list(self, *, scope: Scope | None = None, as_of: datetime | None = None) -> Preferences:
        """Return the active ones, the oldest first, as `PreferenceStore.list` does."""
        return in_order(self._ledger.active(self._layer.key, scope=scope, as_of=as_of))

    def archive(self) -> Preferences:
        """Return the superseded, expired and forgotten ones, the oldest first."""
        return in_order(self._ledger.archived(self._layer.key))

    def count(self) -> int:
        """Return how many are active."""
        return len(self._ledger.active(self._layer.key))

    def update(self, /, id: str, **changes: Any) -> Preference:
        """Change what is given, as `PreferenceStore.update` does."""
        return writing.update(self._ledger, self._layer.key, id, changes)

    def forget(self, id: str) -> Preference:
        """Stop using one."""
        return writing.forget(self._ledger, self._layer.key, id)

    def history(self, id: str) -> Sequence[Change]:
        """Return the changes of one."""
        return [*self._ledger.existing(self._layer.key, id).changes]

    def undo(self, id: str) -> Sequence[Preference]:
        """Revert the latest change of one."""
        return writing.undo(self._ledger, self._layer.key, id)

    def conflicts(self, *, at_most: int = 20) -> Sequence[Conflict]:
        """Return pairs of the layer's preferences that may contradict or repeat each other; `decide` settles one."""
        return possible_conflicts(self._ledger.active(self._layer.key, vectors=True), at_most)

    def decide(self, older: str, newer: str, *, keep: Keep) -> Sequence[Preference]:
        """Settle a possible conflict, as `PreferenceStore.decide` does, whichever of the two is locked."""
        return writing.decide(self._ledger, self._layer.key, older, newer, keep)

    def erase(self) -> int:
        """Remove the whole layer, and return how many preferences it had."""
        return writing.erase(self._ledger, self._layer.key)

    def export(self, /, path_or_file: PathOrFile, **options: Any) -> int:
        """Write the layer as JSON lines, as `PreferenceStore.export` does."""
        return operations.export(self._ledger, self._layer.key, path_or_file, **options)

    def import_(self, /, path_or_file: PathOrFile, **options: Any) -> int:
        """Read JSON lines into the layer, as `PreferenceStore.import_` does."""
        return operations.import_(self._ledger, self._layer.key, path_or_file, **options)

    aadd = async_twin(add)
    aadd_many = async_twin(add_many)
    aget = async_reading_twin(get)
    alist = async_reading_twin(list)
    aarchive = async_reading_twin(archive)
    acount = async_reading_twin(count)
    aupdate = async_twin(update)
    aforget = async_twin(forget)
    ahistory = async_reading_twin(history)
    aundo = async_twin(undo)
    aconflicts = async_reading_twin(conflicts)
    adecide = async_twin(decide)
    aerase = async_twin(erase)
    aexport = async_twin(export)
    aimport = async_twin(import_)
