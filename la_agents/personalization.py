"""Personalization: what the two LangChain faces have in common, from a call's arguments to a request for the engine.

Knows the store, the prompts and the engine, and brings them together; knows no LangChain result type.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from langchain_core.messages import BaseMessage, HumanMessage
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from la_agents.engine.sequence import Alignment, Request, Sampling, common_prefix
from la_agents.errors import ConfigurationError
from la_agents.local_extra import require_local
from la_agents.models import DEFAULT_MODEL, LoadedModel, load_model
from la_agents.principles import Principle, as_principles
from la_agents.prompting import PromptBuilder, Prompts, Wording
from la_agents.report import alignment_report
from la_agents.users import find_user, resolve_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.runnables import RunnableConfig

    from la_agents.call_format import CallFormat
    from la_agents.engine.engine import Engine
    from la_agents.engine.generation import Completion, Generation
    from la_agents.engine.grammar import Grammar
    from la_agents.structure import Structure

__all__ = ["AlignedCall", "Personalized", "Rendering"]

CALL_ARGUMENTS = frozenset(
    {
        "compose",
        "explain",
        "mask_temperature",
        "max_divergence",
        "max_tokens",
        "method",
        "principle_top_p",
        "principles",
        "seed",
        "stop",
        "strength",
        "temperature",
        "timeout",
        "top_p",
        "user_id",
    }
)
"""Constructor arguments that a call may override, also through `bind`."""


class Rendering(NamedTuple):
    """The prompts of a call as the model sees them: without principles, and one text a branch."""

    reference: str
    principle_prompts: list[str]


@dataclass(frozen=True)
class AlignedCall:
    """One call on its way: what was resolved, and what to ask the engine for."""

    face: Personalized
    principles: tuple[Principle, ...]
    prompts: Prompts
    request: Request
    explain: bool
    structure: Structure | None = None

    @property
    def call_format(self) -> CallFormat | None:
        """How calls stand in the answer, if it may hold any."""
        if self.structure is None or self.structure.box is None:
            return None
        builder: PromptBuilder = self.face._builder
        return builder.call_format

    def submit(self) -> Generation:
        return self.face.engine.submit(self.request)

    def metadata(self, completion: Completion) -> dict[str, Any]:
        """`response_metadata` of the finished answer."""
        loaded = self.face.engine.loaded
        report = alignment_report(
            completion,
            self.request.alignment,
            self.principles,
            self.prompts.branch_principles,
            self.prompts.weights,
            tokenizer=loaded.tokenizer if self.explain else None,
        )
        report["scope"] = "answer" if self.structure is None else self.structure.alignment_scope
        return {"finish_reason": completion.finish_reason, "model_name": loaded.name, "alignment": report}


class Personalized(BaseModel):
    """Settings of an aligned model.

    Those in `CALL_ARGUMENTS` may also be given to a call or to `bind`. Whatever is unknown or out of range is refused
    with `ConfigurationError`, before any work.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=())

    model: Any = DEFAULT_MODEL
    """Bundled alias, local folder, `.gguf` file, hub id, or a `LoadedModel`."""
    device: str = "auto"
    dtype: str = "auto"
    quantize: str | None = "auto"
    """Weight quantisation: "int8", None, or "auto" (int8 for the bundled model on a CPU)."""
    preferences: Any = None
    """A `PreferenceStore`; None aligns with `principles` alone."""
    principles: Sequence[str | Principle] = Field(default_factory=tuple)
    """Principles of every call, before the user's own."""
    user_id: Any = None
    """The user of calls that name none; `config["configurable"]["user_id"]` and call arguments come first."""
    allow_anonymous: bool = False
    """Whether calls without a user are answered without the store instead of raising `UserNotSpecifiedError`."""
    max_principles: int = Field(default=5, ge=1)
    """How many relevant preferences a call takes at most; those of scope "always" are not counted."""
    min_relevance: float | None = None
    """Similarity below which a preference does not count as relevant; None takes the store's default."""
    max_principle_tokens: int | None = Field(default=None, ge=0)
    """Budget of tokens, in the model's own count, for the texts of all preferences; what does not fit is left out, the
    least relevant first. None for any."""
    method: str = "linear"
    """"linear" (Linear Alignment), "amulet", "cfg" or "context-steering": see `la_agents.guidance`."""
    strength: float = 0.5
    """gamma >= -1: 0 prompts alone, larger follows the principles more closely. For "amulet" from 0 to 2. The default
    is what `la-agents calibrate` recommends for the bundled model."""
    compose: Literal["joint", "sum"] = "joint"
    """"joint": all principles in one branch (the paper); "sum": each its own branch and weight."""
    max_divergence: float | None = None
    """Budget delta: nats per token by which the answer may depart from the unaligned model."""
    principle_top_p: float | None = None
    """Mass of the principles' nucleus, the tokens that may be chosen; None: 0.8 for "linear", all for other methods."""
    mask_temperature: float | None = None
    placement: Literal["system", "user"] = "system"
    wording: Wording | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int = 256
    stop: Sequence[str] | None = None
    timeout: float | None = None
    """Seconds until `DeadlineExceededError`."""
    explain: bool = False
    """Whether the report lists every token."""

    _engine: Any = PrivateAttr(default=None)
    _builder: Any = PrivateAttr(default=None)
    _load_lock: Any = PrivateAttr(default_factory=threading.Lock)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            known = set(cls.model_fields) | {f.alias for f in cls.model_fields.values() if f.alias}
            _refuse(set(values) - known, f"an argument of {cls.__name__}", known)
        return values

    @field_validator("principles", mode="before")
    @classmethod
    def _read_principles(cls, value: Any) -> tuple[Principle, ...]:
        return as_principles(value)

    @model_validator(mode="after")
    def _check_ranges(self) -> Personalized:
        self._sampling({})
        self._alignment({})
        return self

    @property
    def engine(self) -> Engine:
        """The model's engine, shared by all objects on the same model; loads the model on first use."""
        self.load()
        engine: Engine = self._engine
        return engine

    def load(self, progress: Callable[[str, float], None] | None = None) -> None:
        """Load the model now rather than at the first call.

        Raises:
            ModelNotFoundError: it is at none of the places looked in.
            UnsupportedModelError: it cannot be aligned.
            ConfigurationError: the extra `local` is not installed.
        """
        require_local()
        from la_agents.engine.engine import engine_for

        with self._load_lock:
            if self._engine is None:
                loaded = self._load_model(progress)
                builder = PromptBuilder(loaded.tokenizer, placement=self.placement, wording=self.wording)
                self._builder, self._engine = builder, engine_for(loaded)

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of a text by the model's own tokenizer; LangChain counts tokens with it."""
        ids: list[int] = self.engine.loaded.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _load_model(self, progress: Callable[[str, float], None] | None) -> LoadedModel:
        if isinstance(self.model, LoadedModel):
            return self.model
        return load_model(self.model, device=self.device, dtype=self.dtype, quantize=self.quantize, progress=progress)

    def resolve_principles(self, query: str, arguments: Mapping[str, Any]) -> tuple[Principle, ...]:
        """The principles of a call: the constructor's or the call's own, then the user's that matter to `query`.

        Raises:
            UserNotSpecifiedError: a store is set, no user is named, and anonymous calls are not allowed.
        """
        given = arguments.get("principles")
        fixed = as_principles(self.principles if given is None else given)
        if self.preferences is None:
            return fixed
        named = find_user(arguments.get("user_id"), None, self.user_id)
        if named is None and self.allow_anonymous:
            return fixed
        user = resolve_user(named)
        # The store takes None for "any relevance", so its default has to be left to it.
        limit: dict[str, Any] = {} if self.min_relevance is None else {"min_relevance": self.min_relevance}
        if self.max_principle_tokens is not None:
            limit |= {
                "max_tokens": self.max_principle_tokens,
                "count_tokens": lambda text: len(self.get_token_ids(text)),
            }
        found = self.preferences.retrieve(user, query, k=self.max_principles, **limit)
        return (*fixed, *(_principle(scored) for scored in found))

    def make_call(
        self,
        source: Sequence[BaseMessage] | str,
        principles: Sequence[Principle],
        stop: Sequence[str] | None,
        arguments: Mapping[str, Any],
        structure: Structure | None = None,
    ) -> AlignedCall:
        """Everything between the arguments of a call and the engine; `source` is messages, or plain text."""
        _refuse(set(arguments) - CALL_ARGUMENTS, f"a call argument of {type(self).__name__}", CALL_ARGUMENTS)
        settings = {**arguments, **({} if stop is None else {"stop": stop})}
        sampling, alignment = self._sampling(settings), self._alignment(settings)
        self.load()
        # Where nothing of the answer is aligned, the branches would be computed for nothing.
        applied = () if structure is not None and structure.whole and not structure.aligned else principles
        prompts = self._build(source, applied, self._argument(settings, "compose"), structure)
        user = find_user(arguments.get("user_id"), None, self.user_id)
        explain = bool(self._argument(settings, "explain"))
        request = Request(
            reference=prompts.reference.token_ids,
            branches=tuple(branch.token_ids for branch in prompts.branches),
            weights=prompts.weights,
            sampling=sampling,
            alignment=alignment,
            timeout=self._argument(settings, "timeout"),
            salt=user or "",
            num_public_tokens=self._num_public_tokens(source, prompts),
            list_candidates=explain,
            grammar=None if structure is None else self._grammar(structure),
        )
        return AlignedCall(self, tuple(principles), prompts, request, explain, structure)

    def render_prompts(self, source: Sequence[BaseMessage] | str, principles: Sequence[Principle]) -> Rendering:
        """The prompts of a call with these principles, as text."""
        self.load()
        prompts = self._build(source, principles, self.compose)
        return Rendering(prompts.reference.text, [branch.text for branch in prompts.branches])

    def named_user(self, config: RunnableConfig | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """`arguments` with the user whom the config names, where the call itself names none.

        LangChain hands a model's `_generate` the call arguments but not the config, so the faces move the user over.
        """
        user = find_user(arguments.get("user_id"), config, self.user_id)
        return {**arguments, **({} if user is None else {"user_id": user})}

    def _build(
        self,
        source: Sequence[BaseMessage] | str,
        principles: Sequence[Principle],
        compose: Any,
        structure: Structure | None = None,
    ) -> Prompts:
        builder: PromptBuilder = self._builder
        if isinstance(source, str):
            return builder.build_text(source, principles, compose)
        tools, instructions = ((), "") if structure is None else (structure.tools, structure.instructions)
        return builder.build(source, principles, compose, tools=tools, instructions=instructions)

    def _grammar(self, structure: Structure) -> Grammar | None:
        added = {str(token.content): id for id, token in self.engine.loaded.tokenizer.added_tokens_decoder.items()}
        builder: PromptBuilder = self._builder
        return structure.grammar(builder.call_format, added)

    def _num_public_tokens(self, source: Sequence[BaseMessage] | str, prompts: Prompts) -> int:
        """Leading tokens that come from the template and the application's system text alone."""
        leading = [] if isinstance(source, str) else [m for m in source if m.type == "system"]
        frame = self._builder.build([*leading, HumanMessage(".")]).reference.token_ids
        rows = [frame, prompts.reference.token_ids, *(branch.token_ids for branch in prompts.branches)]
        return common_prefix(rows, min(map(len, rows)))

    def _argument(self, settings: Mapping[str, Any], name: str) -> Any:
        """A call's own value, if it is not None, else the constructor's."""
        value = settings.get(name)
        return getattr(self, name) if value is None else value

    def _sampling(self, settings: Mapping[str, Any]) -> Sampling:
        values = {f.name: self._argument(settings, f.name) for f in fields(Sampling) if f.name != "stop"}
        stop = self._argument(settings, "stop") or ()
        stop = (stop,) if isinstance(stop, str) else tuple(stop)
        own = () if self._builder is None else self._builder.stop
        return Sampling(**values, stop=(*stop, *own))

    def _alignment(self, settings: Mapping[str, Any]) -> Alignment:
        return Alignment(**{f.name: self._argument(settings, f.name) for f in fields(Alignment)})

    @property
    def model_name(self) -> str:
        """How the model was asked for."""
        return self.model.name if isinstance(self.model, LoadedModel) else str(self.model)

    @property
    def identifying(self) -> dict[str, Any]:
        """All of this object that an answer depends on, for cache keys and traces; the store is not part of it."""
        names = CALL_ARGUMENTS - {"user_id", "principles", "timeout"}
        values = {name: getattr(self, name) for name in sorted(names | {"placement", "wording", "dtype", "quantize"})}
        principles = [(p.text, p.weight) for p in as_principles(self.principles)]
        return {"model": self.model_name, "principles": principles, **values}


def last_human_text(messages: Sequence[BaseMessage]) -> str:
    """What the user asked last: the query that preferences are matched against; "" if nobody did."""
    human = next((m for m in reversed(messages) if m.type == "human"), None)
    return "" if human is None else str(human.text)


def _principle(scored: Any) -> Principle:
    preference = scored.preference
    return Principle(preference.text, scored.weight, preference.id, scored.relevance, scored.layer)


def _refuse(unknown: set[str], what: str, known: Sequence[str] | frozenset[str] | set[str]) -> None:
    if unknown:
        msg = f"Expected {what}, got {', '.join(map(repr, sorted(unknown)))}; known are {', '.join(sorted(known))}."
        raise ConfigurationError(msg)
