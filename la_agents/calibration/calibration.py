"""Calibration: the strength, place and form with which a model follows each principle best.

No setting is best for all principles. "Talk like a pirate" wants a push, "write in lower case" is followed worse with
one, and named after the question it is followed less than in the system text alone. A calibration holds what was
measured for some principles (`la-agents calibrate`); another principle takes what holds for the most similar of them,
or what is best on average if none is similar.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError, ModelNotFoundError
from la_agents.guidance import DEFAULT_METHOD, PRESETS, Rule
from la_agents.preferences.words import folded
from la_agents.prompts.builder import Placing

if TYPE_CHECKING:
    import numpy as np

    from la_agents.principles import Principle

__all__ = ["DEFAULT", "Calibration", "Guidance", "shipped_calibration"]

SIMILAR = 0.6
"""Cosine of embeddings from which a principle takes the guidance of another one: "Reply in Italian." and "Answer in
French." have 0.6 to 0.7, principles about different things seldom more than 0.4."""


@dataclass(frozen=True, slots=True)
class Guidance:
    """How a principle is followed best.

    Attributes:
        strength: gamma of the calibration's method; 0 is prompting alone.
        placing: Where and how the prompt names the principle.
    """

    strength: float
    placing: Placing = field(default_factory=Placing)

    def __post_init__(self) -> None:
        number = isinstance(self.strength, (int, float)) and not isinstance(self.strength, bool)
        if not number or not 0.0 <= self.strength < float("inf"):
            msg = f"Expected a calibration's strength to be a finite number of at least 0, got {self.strength!r}."
            raise ConfigurationError(msg)


DEFAULT = Guidance(PRESETS[DEFAULT_METHOD].strength)
"""What holds for a model that nobody has measured."""


@dataclass(frozen=True)
class Calibration:
    """What was measured on one model.

    Attributes:
        model: Its name.
        method: The method that the strengths are of; with another method a calibration says nothing.
        default: For principles that are like none of those that were measured.
        measured: By the principle's text.
    """

    model: str
    default: Guidance = DEFAULT
    measured: Mapping[str, Guidance] = field(default_factory=dict)
    method: Rule = DEFAULT_METHOD

    def guidance(self, text: str) -> Guidance:
        """The guidance of this principle, or of the most similar one."""
        exact = self._by_words.get(folded(text))
        if exact is not None or not self.measured:
            return exact or self.default
        key = hashlib.sha256(text.encode()).digest()
        if key not in self._nearest:
            if len(self._nearest) >= _REMEMBERED:
                self._nearest.clear()
            self._nearest[key] = self._most_similar(text)
        return self._nearest[key]

    def strength(self, principles: Sequence[Principle]) -> float:
        """The strength of a call of these principles: they share the least, so that none is followed worse than by
        prompting."""
        active = [principle.text for principle in principles if principle.weight > 0]
        return min((self.guidance(text).strength for text in active), default=self.default.strength)

    def placings(self, principles: Sequence[Principle]) -> list[Placing]:
        """Where and how the prompt names each."""
        return [self.guidance(principle.text).placing for principle in principles]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what it says: part of cache keys."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """The form of a calibration's file."""
        return {
            "model": self.model,
            "method": self.method,
            "default": _plain(self.default),
            "principles": [{"text": text, **_plain(one)} for text, one in self.measured.items()],
        }

    @classmethod
    def from_json(cls, values: Any) -> Calibration:
        """Read that form.

        Raises:
            ConfigurationError: it is of another form.
        """
        try:
            listed = {str(one["text"]): _guidance(one) for one in values["principles"]}
            method = values["method"]
            if method not in PRESETS:
                msg = f"Expected a calibration's method to be one of {', '.join(PRESETS)}, got {method!r}."
                raise ConfigurationError(msg)
            return cls(str(values["model"]), _guidance(values["default"]), listed, method)
        except (KeyError, TypeError, AttributeError) as error:
            msg = f"Expected a calibration as `la-agents calibrate` writes it, got another form: {error!r}."
            raise ConfigurationError(msg) from error

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read a file.

        Raises:
            ConfigurationError: there is none, or it holds no calibration.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            msg = f"Expected the file of a calibration at {os.fspath(path)}, got {type(error).__name__}: {error}"
            raise ConfigurationError(msg) from error

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        draft.write_text(json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(target)

    def _most_similar(self, text: str) -> Guidance:
        found = _embedded([text])
        if found is None or self._vectors is None:
            return self.default
        similarities = self._vectors @ found[0]
        best = int(similarities.argmax())
        return list(self.measured.values())[best] if similarities[best] >= SIMILAR else self.default

    @cached_property
    def _by_words(self) -> dict[str, Guidance]:
        return {folded(text): one for text, one in self.measured.items()}

    @cached_property
    def _vectors(self) -> np.ndarray | None:
        return _embedded(list(self.measured))

    @cached_property
    def _nearest(self) -> dict[bytes, Guidance]:
        """What was found, by the text's digest: no text of anybody's is kept."""
        return {}


_REMEMBERED = 4096


def shipped_calibration(model: str) -> Calibration:
    """The calibration that comes with the library for a model of this name; without one, the default for all."""
    name = model.replace("\\", "/").rsplit("/", 1)[-1].lower()
    fitting = [stem for stem in _shipped() if name == stem or name.startswith((f"{stem}-", f"{stem}."))]
    return _shipped()[max(fitting, key=len)] if fitting else Calibration(name)


@cache
def _shipped() -> dict[str, Calibration]:
    return {path.stem: Calibration.read(path) for path in sorted(Path(__file__).parent.glob("*.json"))}


def _plain(one: Guidance) -> dict[str, Any]:
    return {"strength": one.strength, **asdict(one.placing)}


def _guidance(values: Any) -> Guidance:
    return Guidance(values["strength"], Placing(values["placement"], values["turn"]))


def _embedded(texts: list[str]) -> np.ndarray | None:
    """Unit vectors, or None where the bundled embeddings are not installed: then only equal words are found."""
    import numpy as np

    from la_agents.preferences.embedding.bundled import BundledEmbeddings

    try:
        return np.array(BundledEmbeddings().embed_documents(texts))
    except (ModelNotFoundError, ConfigurationError):
        return None
