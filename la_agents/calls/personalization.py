"""Personalization: what the two LangChain faces have in common, from a call's arguments to a request for the engine.

Knows the store, the prompts and the engine, and brings them together; knows no LangChain result type.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from langchain_core.messages import BaseMessage
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    Strict,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from la_agents.calibration import Calibration, shipped_calibration
from la_agents.calls.batches import asubmit, submit
from la_agents.calls.runtime import Ready, Runtime, Setup
from la_agents.errors import ConfigurationError, GenerationError
from la_agents.guidance import DEFAULT_METHOD
from la_agents.models import DEFAULT_MODEL, LoadedModel
from la_agents.models.fingerprint import fingerprint
from la_agents.principles import Principle, as_principles, digest
from la_agents.prompts.builder import DEFAULT_PLACEMENT, Placement, Placing, Prompts, Wording
from la_agents.prompts.tokenization import check_text
from la_agents.report import alignment_report
from la_agents.requests import Alignment, Request, Sampling, common_prefix
from la_agents.structure.structured_output import schema_of
from la_agents.users import as_user_id, find_user, resolve_user

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from la_agents.engine.engine import Engine
    from la_agents.prompts.call_format import CallFormat
    from la_agents.requests import Completion, Generation, Grammar
    from la_agents.structure.structure import Structure

__all__ = ["AlignedCall", "Personalized", "Rendering"]

CALL_ARGUMENTS = frozenset(
    {
        "compose",
        "explain",
        "fluency",
        "mask_temperature",
        "max_divergence",
        "max_tokens",
        "method",
        "model",
        "plausibility",
        "principle_top_p",
        "principles",
        "push",
        "seed",
        "stop",
        "strength",
        "support",
        "taper",
        "temperature",
        "template_variables",
        "timeout",
        "top_p",
        "user_id",
    }
)
"""Constructor arguments that a call may override, also through `bind`; None there means the constructor's."""

_SETTINGS = sorted(CALL_ARGUMENTS - {"principles", "user_id"})
_UNKEYED = {"model", "timeout"}  # the model is in the key by its fingerprint
_UNTOLD = {"principles", "preferences", "stop", "template_variables", "user_id"}  # values that no error repeats


def _as_model(value: Any) -> Any:
    if isinstance(value, LoadedModel) or (isinstance(value, (str, os.PathLike)) and str(value).strip()):
        return value
    msg = f"Expected model to be an alias, a folder, a .gguf file, a hub id or a LoadedModel, got {value!r}."
    raise ConfigurationError(msg)


def _as_store(value: Any) -> Any:
    if value is None or callable(getattr(value, "retrieve", None)):
        return value
    got = type(value).__name__
    msg = f"Expected preferences to be a PreferenceStore, got {got}; open one with PreferenceStore(path=...)."
    raise ConfigurationError(msg)


def _as_calibration(value: Any) -> Any:
    if value is None or value == "auto" or isinstance(value, Calibration):
        return value
    if isinstance(value, (str, os.PathLike)):
        return Calibration.read(value)
    return Calibration.from_json(value)


def _as_default_user(value: Any) -> Any:
    return None if value is None else as_user_id(value)


def _as_stop(value: Any) -> Any:
    return [value] if isinstance(value, str) else list(value) if isinstance(value, tuple) else value


def _as_variables(value: Any) -> Any:
    """Plain values, since they are part of cache keys."""
    if value is None or isinstance(value, Mapping):
        try:
            return None if value is None else json.loads(json.dumps(dict(value)))
        except (TypeError, ValueError):
            pass
    msg = (
        "Expected template_variables to be a mapping of names to plain values (text, numbers, True, None, lists and "
        f"mappings of them), got {type(value).__name__}."
    )
    raise ConfigurationError(msg)


Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]


class Rendering(NamedTuple):
    """The prompts of a call as the model sees them: without principles, and one text a branch."""

    reference: str
    principle_prompts: list[str]


@dataclass(frozen=True)
class AlignedCall:
    """One call on its way: what was resolved, and what to ask the engine for."""

    ready: Ready
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
        return self.ready.builder.call_format

    def submit(self) -> Generation:
        """Put it in the engine's queue; whoever does so cancels it when nobody waits any more."""
        return submit(self._queue)

    async def asubmit(self) -> Generation:
        """`submit` for tasks, which may be cancelled meanwhile."""
        return await asubmit(self._queue)

    def _queue(self) -> Generation:
        return self.ready.engine.submit(self.request)

    def metadata(self, completion: Completion) -> dict[str, Any]:
        """`response_metadata` of the finished answer.

        Raises:
            GenerationError: it was cut off, with the batch that it belonged to.
        """
        if completion.finish_reason == "cancelled":
            msg = "Expected a whole answer, it was cancelled while it was written; ask again."
            raise GenerationError(msg)
        loaded = self.ready.engine.loaded
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

    model: Annotated[Any, AfterValidator(_as_model)] = Field(
        default_factory=lambda: os.environ.get("LA_AGENTS_MODEL") or DEFAULT_MODEL
    )
    """Bundled alias, local folder, `.gguf` file, hub id, or a `LoadedModel`; by default what `LA_AGENTS_MODEL` names in
    the environment, else the bundled one."""
    device: Text = Field(default_factory=lambda: os.environ.get("LA_AGENTS_DEVICE") or "auto")
    """"auto", or a torch device; by default what `LA_AGENTS_DEVICE` names in the environment, else "auto"."""
    dtype: Text = "auto"
    quantize: Text | None = "auto"
    """Weight quantisation: "int8", None, or "auto" (int8 for the bundled model on a CPU)."""
    end_token_ids: Sequence[Whole] | None = None
    """Token ids that end an answer; None joins those that the model's files and its chat template name."""
    preferences: Annotated[Any, AfterValidator(_as_store)] = None
    """A `PreferenceStore`; None aligns with `principles` alone."""
    principles: Annotated[Sequence[str | Principle], PlainValidator(as_principles)] = Field(default_factory=tuple)
    """Principles of every call, before the user's own."""
    user_id: Annotated[Any, AfterValidator(_as_default_user)] = None
    """The user of calls that name none; `config["configurable"]["user_id"]` and call arguments come first."""
    allow_anonymous: Flag = False
    """Whether calls without a user are answered without the store instead of raising `UserNotSpecifiedError`."""
    max_principles: Whole = Field(default=5, ge=1)
    """How many relevant preferences a call takes at most; those of scope "always" are not counted."""
    min_relevance: Number | None = Field(default=None, allow_inf_nan=False)
    """Similarity below which a preference does not count as relevant; None takes the store's default."""
    max_principle_tokens: Whole | None = Field(default=None, ge=0)
    """Budget of tokens, in the model's own count, for the texts of all preferences; what does not fit is left out, the
    least relevant first. None for any."""
    method: Text = DEFAULT_METHOD
    """"tapered", "linear" (the paper's rule), "amulet", "cfg" or "context-steering": see `la_agents.guidance`."""
    strength: Number | None = None
    """gamma >= -1: 0 prompts alone, larger follows the principles more closely. For "amulet" from 0 to 2. None takes
    the calibration's, the least of those of a call's principles; without one the method's own, 2 for "tapered" and 0.5
    for "linear"."""
    calibration: Annotated[Any, AfterValidator(_as_calibration)] = "auto"
    """How the model follows each principle best, as `la-agents calibrate` measured it: a file, or a `Calibration`.
    "auto" is the one that comes with the library for a model of this name, if any; None is none. `strength` outranks
    it, and so does where principles stand (`placement`, `wording`)."""
    compose: Literal["joint", "sum"] = "joint"
    """"joint": all principles in one branch (the paper); "sum": each its own branch and weight."""
    max_divergence: Number | None = None
    """Budget delta: nats per token by which the answer may depart from the unaligned model."""
    fluency: Number | None = None
    """Nats per token by which an answer may be less likely under the principles than their own choice, as a running
    mean, so that strength can be set high without ruin; 0.3 to 0.5 are useful. None for no bound."""
    support: Literal["nucleus", "plausible", "all"] | None = None
    """Which tokens may be chosen; None takes the method's own. See `la_agents.alignment.support`."""
    principle_top_p: Number | None = None
    """Mass of the support "nucleus", 0.8 by default."""
    mask_temperature: Number | None = None
    """Temperature of that nucleus; None takes `temperature`, or 0.5 if that is 0."""
    plausibility: Number | None = None
    """Of the support "plausible": the fraction of the likeliest token's probability, 0.1 by default."""
    push: Literal["uniform", "tapered", "adaptive"] | None = None
    """How each token is moved beyond prompting; None takes the method's own. See `la_agents.alignment.push`."""
    taper: Number | None = None
    """Of the push "tapered": the power of a token's plausibility, 1 by default."""
    placement: Placement | None = None
    """Where the prompt names principles: at the end of the "system" text, of the "user"'s last turn, or "both". None
    takes the calibration's, and "both" without one."""
    wording: Wording | None = None
    template_variables: Annotated[dict[str, Any] | None, BeforeValidator(_as_variables)] = None
    """Variables of the model's own chat template, such as `{"enable_thinking": False}`; one that the template does not
    know is refused."""
    temperature: Number = 0.0
    top_p: Number = 1.0
    seed: Whole | None = None
    max_tokens: Whole = 256
    stop: Annotated[Sequence[str] | None, BeforeValidator(_as_stop)] = None
    timeout: Number | None = None
    """Seconds until `DeadlineExceededError`."""
    explain: Flag = False
    """Whether the report lists every token, and names principles by their texts, too."""

    _runtime: Runtime = PrivateAttr(default_factory=Runtime)
    _made: bool = PrivateAttr(default=False)

    def __init__(self, *args: Any, **values: Any) -> None:
        with _refusals(values):
            super().__init__(*args, **values)
        self._made = True

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            known = set(cls.model_fields) | {f.alias for f in cls.model_fields.values() if f.alias}
            _refuse(set(values) - known, f"an argument of {cls.__name__}", known)
        return values

    @model_validator(mode="after")
    def _check_ranges(self) -> Personalized:
        settings = self._settings({})
        self._sampling(settings)
        self._alignment(settings)
        if isinstance(self.model, LoadedModel):
            self._setup({}).load()  # refuses settings beside it
        return self

    def __copy__(self) -> Any:
        copied = super().__copy__()
        copied._runtime = self._runtime.__copy__()
        copied.__dict__.pop("_serialized", None)  # LangChain's memory of what the settings were
        return copied

    @property
    def engine(self) -> Engine:
        """The model's engine, shared by all objects on the same model; loads the model on first use."""
        return self._ready({}).engine

    def load(self, progress: Callable[[str, float], None] | None = None) -> None:
        """Load the model now rather than at the first call.

        Raises:
            ModelNotFoundError: it is at none of the places looked in.
            UnsupportedModelError: it cannot be aligned.
            ConfigurationError: the extra `local` is not installed.
        """
        self._ready({}, progress)

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of a text by the model's own tokenizer; LangChain counts tokens with it."""
        check_text(text)
        ids: list[int] = self.engine.loaded.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _ready(self, settings: Mapping[str, Any], progress: Callable[[str, float], None] | None = None) -> Ready:
        """The engine and the prompt builder of a call with these settings."""
        return self._runtime.get(self._setup(settings), progress)

    def _setup(self, settings: Mapping[str, Any]) -> Setup:
        variables = self._argument(settings, "template_variables") or {}
        ends = self._own("end_token_ids")
        return Setup(
            model=self._argument(settings, "model"),
            device=self._own("device"),
            dtype=self._own("dtype"),
            quantize=self._own("quantize"),
            end_token_ids=None if ends is None else tuple(ends),
            placement=self._own("placement") or DEFAULT_PLACEMENT,
            wording=self._own("wording"),
            variables=json.dumps(variables),
        )

    def resolve_principles(self, query: str, arguments: Mapping[str, Any]) -> tuple[Principle, ...]:
        """The principles of a call: the constructor's or the call's own, then the user's that matter to `query`.

        Raises:
            UserNotSpecifiedError: a store is set, no user is named, and anonymous calls are not allowed.
            PromptError: the query is no text that can be written down.
        """
        check_text(query)
        given = arguments.get("principles")
        fixed = as_principles(self.principles if given is None else given)
        if self._own("preferences") is None:
            return fixed
        named = find_user(arguments.get("user_id"), None, self.user_id)
        if named is None and self._own("allow_anonymous"):
            return fixed
        user = resolve_user(named)
        # The store takes None for "any relevance", so its default has to be left to it.
        relevance, max_tokens = self._own("min_relevance"), self._own("max_principle_tokens")
        limit: dict[str, Any] = {} if relevance is None else {"min_relevance": relevance}
        if max_tokens is not None:
            limit |= {
                "max_tokens": max_tokens,
                "count_tokens": lambda text: len(self.get_token_ids(text)),
            }
        found = self.preferences.retrieve(user, query, k=self._own("max_principles"), **limit)
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
        settings = self._settings(arguments, stop)
        sampling, ready = self._sampling(settings), self._ready(settings)
        sampling = replace(sampling, stop=(*sampling.stop, *ready.builder.stop))
        # Where nothing of the answer is aligned, the branches would be computed for nothing.
        applied = () if structure is not None and structure.whole and not structure.aligned else principles
        strength, placings = self._guided(settings, ready, applied)
        alignment = self._alignment({**settings, "strength": strength})
        prompts = _build(ready, source, applied, settings["compose"], placings, structure)
        user = find_user(arguments.get("user_id"), None, self.user_id)
        request = Request(
            reference=prompts.reference.token_ids,
            branches=tuple(branch.token_ids for branch in prompts.branches),
            weights=prompts.weights,
            sampling=sampling,
            alignment=alignment,
            timeout=settings["timeout"],
            salt=user,
            num_public_tokens=_num_public_tokens(ready, prompts),
            list_candidates=settings["explain"],
            grammar=None if structure is None else _grammar(ready, structure),
        )
        return AlignedCall(ready, tuple(principles), prompts, request, settings["explain"], structure)

    def cache_key(
        self,
        principles: Sequence[Principle],
        stop: Sequence[str] | None,
        arguments: Mapping[str, Any],
        structure: Mapping[str, Any] | None = None,
    ) -> str:
        """What an answer depends on beside its prompt, as a digest: it holds no text of anybody's.

        Equal arguments give equal keys, whether they come from the constructor, a binding or the call. Each user has
        keys of their own, so that nobody can tell by a quick answer what another one asked.
        """
        settings = self._settings(arguments, stop)
        ready = self._ready(settings)
        told = {
            "model": fingerprint(ready.engine.loaded),
            "user": find_user(arguments.get("user_id"), None, self.user_id),
            "principles": digest(principles),
            "placement": self.placement,
            "calibration": self._calibration_of(ready).digest,
            "wording": None if self.wording is None else asdict(self.wording),
            "structure": {name: value for name, value in sorted((structure or {}).items()) if value is not None},
            **{name: settings[name] for name in _SETTINGS if name not in _UNKEYED},
        }
        text = json.dumps([type(self).__name__, told], default=_plain)
        return f"la_agents:{hashlib.sha256(text.encode()).hexdigest()}"

    def render_prompts(
        self, source: Sequence[BaseMessage] | str, principles: Sequence[Principle], arguments: Mapping[str, Any]
    ) -> Rendering:
        """The prompts of a call with these principles and arguments, as text."""
        settings = self._settings(arguments)
        ready = self._ready(settings)
        _, placings = self._guided(settings, ready, principles)
        prompts = _build(ready, source, principles, settings["compose"], placings)
        return Rendering(prompts.reference.text, [branch.text for branch in prompts.branches])

    def named_user(self, config: RunnableConfig | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """`arguments` with the user whom the config names, where the call itself names none.

        LangChain hands a model's `_generate` the call arguments but not the config, so the faces move the user over.
        """
        user = find_user(arguments.get("user_id"), config, self.user_id)
        return {**arguments, **({} if user is None else {"user_id": user})}

    def _calibration_of(self, ready: Ready) -> Calibration:
        own, name = self._own("calibration"), ready.engine.loaded.name
        return shipped_calibration(name) if own == "auto" else own or Calibration(name)

    def _guided(
        self, settings: Mapping[str, Any], ready: Ready, principles: Sequence[Principle]
    ) -> tuple[float | None, list[Placing] | None]:
        """The strength of a call and where its principles stand; None for the method's and the builder's own."""
        strength, calibration = settings["strength"], self._calibration_of(ready)
        if not principles or settings["method"] != calibration.method:
            return strength, None
        placed = self.placement is not None or self.wording is not None
        return (
            calibration.strength(principles) if strength is None else strength,
            None if placed else calibration.placings(principles),
        )

    def _argument(self, settings: Mapping[str, Any], name: str) -> Any:
        """A call's own value, if it is not None, else the constructor's."""
        value = settings.get(name)
        return getattr(self, name) if value is None else value

    def _own(self, name: str) -> Any:
        """A setting of this object alone, checked: it may have been changed, or come with a copy."""
        return self._checked(name, getattr(self, name))

    def _settings(self, arguments: Mapping[str, Any], stop: Sequence[str] | None = None) -> dict[str, Any]:
        """All settings of a call, whoever gave them, checked: a copy of this object may hold anything.

        Raises:
            ConfigurationError: one is unknown, or not of its kind; it names the argument.
        """
        _refuse(set(arguments) - CALL_ARGUMENTS, f"a call argument of {type(self).__name__}", CALL_ARGUMENTS)
        given = {**arguments, **({} if stop is None else {"stop": stop})}
        return {name: self._checked(name, self._argument(given, name)) for name in _SETTINGS}

    @classmethod
    def _checked(cls, name: str, value: Any) -> Any:
        with _refusals({name: value}, name):
            return _adapter(cls, name).validate_python(value)

    @staticmethod
    def _sampling(settings: Mapping[str, Any]) -> Sampling:
        values = {f.name: settings[f.name] for f in fields(Sampling) if f.name in settings}
        stop = tuple(settings["stop"] or ())
        for text in stop:
            check_text(text, "stop", ConfigurationError)
        timeout = settings["timeout"]
        if timeout is not None and not 0 < timeout < float("inf"):
            msg = f"Expected timeout to be a number of seconds above 0, or None, got {timeout!r}."
            raise ConfigurationError(msg)
        return Sampling(**{**values, "stop": stop})

    @staticmethod
    def _alignment(settings: Mapping[str, Any]) -> Alignment:
        return Alignment(**{f.name: settings[f.name] for f in fields(Alignment) if f.name in settings})

    @property
    def model_name(self) -> str:
        """How the model was asked for."""
        return self.model.name if isinstance(self.model, LoadedModel) else str(self.model)

    @property
    def identifying(self) -> dict[str, Any]:
        """The settings that an answer depends on, for traces; principles by their digest, and without the store."""
        names = CALL_ARGUMENTS - {"user_id", "principles", "timeout", "model"}
        values = {
            name: getattr(self, name)
            for name in sorted(names | {"placement", "wording", "dtype", "quantize", "end_token_ids"})
        }
        own = self.calibration
        values["calibration"] = own.digest if isinstance(own, Calibration) else own
        return {"model": self.model_name, "principles": digest(as_principles(self.principles)), **values}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """What LangChain's `dumps` cannot write by itself, as plain values that the constructor reads."""
        plain: dict[str, Any] = {"principles": [principle.plain for principle in as_principles(self.principles)]}
        if isinstance(self.wording, Wording):
            plain["wording"] = asdict(self.wording)
        if isinstance(self.calibration, Calibration):
            plain["calibration"] = self.calibration.as_json()
        if isinstance(self.model, os.PathLike):
            plain["model"] = str(self.model)
        return plain


def last_human_text(messages: Sequence[BaseMessage]) -> str:
    """What the user asked last: the query that preferences are matched against; "" if nobody did."""
    human = next((m for m in reversed(messages) if m.type == "human"), None)
    return "" if human is None else str(human.text)


def _build(
    ready: Ready,
    source: Sequence[BaseMessage] | str,
    principles: Sequence[Principle],
    compose: Any,
    placings: Sequence[Placing] | None,
    structure: Structure | None = None,
) -> Prompts:
    if isinstance(source, str):
        return ready.builder.build_text(source, principles, compose, placings=placings)
    tools, instructions = ((), "") if structure is None else (structure.tools, structure.instructions)
    return ready.builder.build(source, principles, compose, placings=placings, tools=tools, instructions=instructions)


def _grammar(ready: Ready, structure: Structure) -> Grammar | None:
    added = {str(token.content): id for id, token in ready.engine.loaded.tokenizer.added_tokens_decoder.items()}
    return structure.grammar(ready.builder.call_format, added)


def _num_public_tokens(ready: Ready, prompts: Prompts) -> int:
    """Leading tokens that are the template's alone; a system text may hold what was retrieved for one user."""
    rows = [ready.builder.frame, *(prompt.token_ids for prompt in (prompts.reference, *prompts.branches))]
    return common_prefix(rows, min(map(len, rows)))


def _principle(scored: Any) -> Principle:
    preference = scored.preference
    return Principle(preference.text, scored.weight, preference.id, scored.relevance, scored.layer)


def _refuse(unknown: set[str], what: str, known: Sequence[str] | frozenset[str] | set[str]) -> None:
    if unknown:
        msg = f"Expected {what}, got {', '.join(map(repr, sorted(unknown)))}; known are {', '.join(sorted(known))}."
        raise ConfigurationError(msg)


@functools.cache
def _adapter(face: type[Personalized], name: str) -> TypeAdapter[Any]:
    """What the constructor takes as `name`, for calls."""
    field = face.model_fields[name]
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return TypeAdapter(kind)


@contextmanager
def _refusals(values: Mapping[str, Any], name: str | None = None) -> Iterator[None]:
    """Say what pydantic refuses as this library does, and without the value where it may be somebody's text."""
    try:
        yield
        return
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    argument = name or str((first["loc"] or ("arguments",))[0])
    value = values.get(argument)
    shown = type(value).__name__ if argument in _UNTOLD else repr(value)[:80]
    reason = first["msg"][:1].lower() + first["msg"][1:]
    msg = f"Expected a valid {argument}, got {shown}: {reason}."
    raise ConfigurationError(msg) from None  # pydantic's error repeats all that it was given


def _plain(value: Any) -> Any:
    """A schema given as a class, by what it says: another class of the same name is another schema."""
    return schema_of(value) if isinstance(value, type) else repr(value)
