"""Settings: what the two LangChain faces are constructed with, checked, and what identifies them in traces."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    model_validator,
)

from la_agents.calibration import Calibration
from la_agents.calls.arguments import (
    CALL_ARGUMENTS,
    as_calibration,
    as_default_user,
    as_engine,
    as_model,
    as_stop,
    as_store,
    as_variables,
    refusals,
    refuse_unknown,
)
from la_agents.calls.runtime import Ready, Runtime, Setup
from la_agents.errors import ConfigurationError
from la_agents.guidance import DEFAULT_METHOD
from la_agents.models import DEFAULT_MODEL, LoadedModel
from la_agents.principles import Principle, as_principles, digest
from la_agents.prompts.builder import DEFAULT_PLACEMENT, Placement, Wording
from la_agents.prompts.tokenization import check_text
from la_agents.requests import Alignment, Engine, Sampling
from la_agents.users import find_user

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

__all__ = ["CALL_SETTINGS", "Personalized", "alignment_of", "sampling_of"]

CALL_SETTINGS = tuple(sorted(CALL_ARGUMENTS - {"principles", "user_id"}))
_OF_THE_MODEL = {"model", "device", "dtype", "quantize", "end_token_ids"}
"""Settings of a model that is loaded here; an engine has its own."""

Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]


class _EngineField:
    """The field `engine`: what was given, else the engine of `model`, which is loaded when it is asked for."""

    def __get__(self, face: Personalized | None, owner: type) -> Engine:
        if face is None:  # so that pydantic does not take this for the field's default
            raise AttributeError
        given = face.given_engine
        return face.ready({}).engine if given is None else given

    def __set__(self, face: Personalized, value: Engine | None) -> None:
        face.__dict__["engine"] = value


class _EngineOwner(BaseModel):
    """Declares the field, so that the class below can say how it is read."""

    engine: Annotated[Any, AfterValidator(as_engine)] = Field(default=None, exclude=True, repr=False)


class Personalized(_EngineOwner):
    """Settings of an aligned model.

    Those in `CALL_ARGUMENTS` may also be given to a call or to `bind`. Whatever is unknown or out of range is refused
    with `ConfigurationError`, before any work.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=(), ignored_types=(_EngineField,))

    engine = _EngineField()
    """Whatever runs the model (`la_agents.requests.Engine`), in the place of `model`, `device`, `dtype`, `quantize` and
    `end_token_ids`. Without one it is `model`'s own in this process, which all objects on the same model share; reading
    it loads the model."""
    model: Annotated[Any, AfterValidator(as_model)] = Field(
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
    """Token ids that end an answer; None uses all that the model's files and its chat template name."""
    preferences: Annotated[Any, AfterValidator(as_store)] = None
    """A `PreferenceStore`; None aligns with `principles` alone."""
    principles: Annotated[Sequence[str | Principle], PlainValidator(as_principles)] = Field(default_factory=tuple)
    """Principles of every call, before the user's own."""
    user_id: Annotated[Any, AfterValidator(as_default_user)] = None
    """The user of calls that name none; `config["configurable"]["user_id"]` and call arguments come first."""
    allow_anonymous: Flag = False
    """Whether calls without a user are answered without the store instead of raising `UserNotSpecifiedError`."""
    max_principles: Whole = Field(default=5, ge=1)
    """How many relevant preferences a call takes at most; those of scope "always" are not counted."""
    min_relevance: Number | None = Field(default=None, allow_inf_nan=False)
    """Similarity below which a preference does not count as relevant; None takes the store's default."""
    max_principle_tokens: Whole | None = Field(default=None, ge=0)
    """Budget of tokens, in the model's own count, for the texts of all preferences; what does not fit is left out, the
    least relevant first. None for no limit."""
    method: Text = DEFAULT_METHOD
    """"tapered", "linear" (the paper's rule), "amulet", "cfg" or "context-steering": see `la_agents.guidance`."""
    strength: Number | None = None
    """gamma >= -1: 0 is prompting alone, larger values follow the principles more closely; 0 to 2 for "amulet". None
    uses the calibration's strength, the lowest among a call's principles; without a calibration the method's own, 2 for
    "tapered" and 0.5 for "linear"."""
    calibration: Annotated[Any, AfterValidator(as_calibration)] = "auto"
    """How the model follows each principle best, as `la-agents calibrate` measured it: a file, or a `Calibration`.
    "auto" uses the one that comes with the library for a model of this name, if any; None uses none. `strength`,
    `placement` and `wording` take precedence over it."""
    compose: Literal["joint", "sum"] = "joint"
    """"joint": all principles in one branch (the paper); "sum": each its own branch and weight."""
    max_divergence: Number | None = None
    """Budget delta: nats per token by which the answer may depart from the unaligned model."""
    fluency: Number | None = None
    """Nats per token by which an answer may be less likely under the principles than their own choice, as a running
    mean, so that a high strength does not ruin the answer; 0.3 to 0.5 are useful. None for no limit."""
    support: Literal["nucleus", "plausible", "all"] | None = None
    """Which tokens may be chosen; None takes the method's own. See `la_agents.alignment.support`."""
    principle_top_p: Number | None = None
    """Mass of the support "nucleus", 0.8 by default."""
    mask_temperature: Number | None = None
    """Temperature of that nucleus; None takes `temperature`, or 0.5 if that is 0."""
    plausibility: Number | None = None
    """Fraction of the likeliest token's probability that the support "plausible" requires, 0.1 by default."""
    push: Literal["uniform", "tapered", "adaptive"] | None = None
    """How each token is moved beyond prompting; None takes the method's own. See `la_agents.alignment.push`."""
    taper: Number | None = None
    """Power of a token's plausibility in the push "tapered", 1 by default."""
    placement: Placement | None = None
    """Where the prompt states principles: at the end of the "system" text, of the "user"'s last turn, or "both". None
    takes the calibration's, and "both" without one."""
    wording: Wording | None = None
    template_variables: Annotated[dict[str, Any] | None, BeforeValidator(as_variables)] = None
    """Variables of the model's own chat template, such as `{"enable_thinking": False}`; one that the template does not
    know is refused."""
    temperature: Number = 0.0
    top_p: Number = 1.0
    seed: Whole | None = None
    max_tokens: Whole = 256
    stop: Annotated[Sequence[str] | None, BeforeValidator(as_stop)] = None
    stop_repetition: Flag = True
    """Whether an answer of free text ends, with `finish_reason` "repetition", where it only repeats itself: the same
    run of tokens 20 times in a row and over 120 tokens, or 5 times and over 300 tokens; twice as often if the run is
    not mostly letters."""
    timeout: Number | None = None
    """Seconds until `DeadlineExceededError`."""
    explain: Flag = False
    """Whether the report lists every token, and names principles by their texts, too."""

    _runtime: Runtime = PrivateAttr(default_factory=Runtime)
    _made: bool = PrivateAttr(default=False)

    def __init__(self, *args: Any, **values: Any) -> None:
        with refusals(values):
            super().__init__(*args, **values)
        self._made = True

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            known = set(cls.model_fields) | {f.alias for f in cls.model_fields.values() if f.alias}
            refuse_unknown(set(values) - known, f"an argument of {cls.__name__}", known)
        return values

    @model_validator(mode="after")
    def _check_ranges(self) -> Personalized:
        settings = self.call_settings({})
        sampling_of(settings)
        alignment_of(settings)
        setup = self._setup({})
        if isinstance(self.model, LoadedModel):
            setup.load()  # refuses settings beside it
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        given = self.given_engine
        unused = set() if given is None else _OF_THE_MODEL
        yield from ((name, value) for name, value in super().__repr_args__() if name not in unused)
        if given is not None:
            yield "model", given.name

    def __copy__(self) -> Any:
        copied = super().__copy__()
        copied._runtime = self._runtime.__copy__()
        copied.__dict__.pop("_serialized", None)  # LangChain's memory of what the settings were
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        given = self.given_engine  # it runs: copies share it
        return super().__deepcopy__({**(memo or {}), **({} if given is None else {id(given): given})})

    @property
    def given_engine(self) -> Engine | None:
        """The engine that was given, if one was; reading it loads nothing."""
        given: Engine | None = self.__dict__.get("engine")
        return given

    def load(self, progress: Callable[[str, float], None] | None = None) -> None:
        """Load the model now rather than at the first call.

        Raises:
            ModelNotFoundError: it is at none of the places looked in.
            UnsupportedModelError: it cannot be aligned.
            ConfigurationError: the extra `local` is not installed.
        """
        self.ready({}, progress)

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of a text by the model's own tokenizer; LangChain counts tokens with it."""
        check_text(text)
        ids: list[int] = self.engine.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def ready(self, settings: Mapping[str, Any], progress: Callable[[str, float], None] | None = None) -> Ready:
        """The engine and the prompt builder of a call with these settings."""
        return self._runtime.get(self._setup(settings), progress)

    def _setup(self, settings: Mapping[str, Any]) -> Setup:
        variables = self._argument(settings, "template_variables") or {}
        ends, engine = self.setting("end_token_ids"), self.given_engine
        if engine is not None:
            _refuse_beside_engine(self.model_fields_set, settings.get("model") not in (None, self.model))
        return Setup(
            engine=engine,
            model=self._argument(settings, "model"),
            device=self.setting("device"),
            dtype=self.setting("dtype"),
            quantize=self.setting("quantize"),
            end_token_ids=None if ends is None else tuple(ends),
            placement=self.setting("placement") or DEFAULT_PLACEMENT,
            wording=self.setting("wording"),
            variables=json.dumps(variables),
        )

    def named_user(self, config: RunnableConfig | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """`arguments` with the user whom the config names, where the call itself names none.

        LangChain hands a model's `_generate` the call arguments but not the config, so the faces move the user over.
        """
        user = find_user(arguments.get("user_id"), config)
        return {**arguments, **({} if user is None else {"user_id": user})}

    def _argument(self, settings: Mapping[str, Any], name: str) -> Any:
        """A call's own value, if it is not None, else the constructor's."""
        value = settings.get(name)
        return getattr(self, name) if value is None else value

    def setting(self, name: str) -> Any:
        """A setting of this object alone, checked: it may have been changed, or come with a copy."""
        return self._checked(name, getattr(self, name))

    def call_settings(self, arguments: Mapping[str, Any], stop: Sequence[str] | None = None) -> dict[str, Any]:
        """All settings of a call, its own and this object's, checked: a copy of this object may hold anything.

        Raises:
            ConfigurationError: one is unknown, or not of its kind; it names the argument.
        """
        refuse_unknown(set(arguments) - CALL_ARGUMENTS, f"a call argument of {type(self).__name__}", CALL_ARGUMENTS)
        given = {**arguments, **({} if stop is None else {"stop": stop})}
        return {name: self._checked(name, self._argument(given, name)) for name in CALL_SETTINGS}

    @classmethod
    def _checked(cls, name: str, value: Any) -> Any:
        with refusals({name: value}, name):
            return _adapter(cls, name).validate_python(value)

    @property
    def model_name(self) -> str:
        """How the model was asked for."""
        if (given := self.given_engine) is not None:
            return given.name
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


def _refuse_beside_engine(given: set[str], is_model_named: bool) -> None:
    beside = sorted(given & _OF_THE_MODEL | ({"model"} if is_model_named else set()))
    if beside:
        msg = f"Expected no {', '.join(beside)} beside an engine, which runs a model already; leave one of them out."
        raise ConfigurationError(msg)


@functools.cache
def _adapter(face: type[Personalized], name: str) -> TypeAdapter[Any]:
    """What the constructor takes as `name`, for calls."""
    field = face.model_fields[name]
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return TypeAdapter(kind)


def sampling_of(settings: Mapping[str, Any]) -> Sampling:
    """How tokens are chosen in a call with these settings."""
    values = {f.name: settings[f.name] for f in fields(Sampling) if f.name in settings}
    stop = tuple(settings["stop"] or ())
    for text in stop:
        check_text(text, "stop", ConfigurationError)
    timeout = settings["timeout"]
    if timeout is not None and not 0 < timeout < float("inf"):
        msg = f"Expected timeout to be a number of seconds above 0, or None, got {timeout!r}."
        raise ConfigurationError(msg)
    return Sampling(**{**values, "stop": stop})


def alignment_of(settings: Mapping[str, Any]) -> Alignment:
    """How far principles move the logits in a call with these settings."""
    return Alignment(**{f.name: settings[f.name] for f in fields(Alignment) if f.name in settings})
