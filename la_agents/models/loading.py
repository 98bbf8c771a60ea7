"""Load a causal language model and its tokenizer, once per process; a forked process loads its own.

`load_model` accepts the bundled alias, a local folder, a `.gguf` file or a hub id. `files` says where those are looked
for, `conversion` how a GGUF becomes safetensors.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from la_agents.errors import ConfigurationError, UnsupportedModelError
from la_agents.forks import renew_in_child
from la_agents.models.files import DEFAULT_MODEL, ModelFiles, find_model
from la_agents.models.local_extra import require_local
from la_agents.models.turn_end import turn_end
from la_agents.progress import Progress, no_bars

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["DEFAULT_MODEL", "LoadedModel", "Progress", "load_model", "load_tokenizer"]

logger = logging.getLogger(__name__)

_DTYPES = ("float32", "bfloat16", "float16")
_UNSTATED_CONTEXT = 1 << 20  # tokens; for models without a position limit (ALiBi), memory is the limit


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready to run. Compared by identity: two loads of one folder are two models.

    Attributes:
        name: What the user asked for: alias, folder or file name, or hub id.
        model: In eval mode, without gradients, on `device`.
        tokenizer: As saved beside the model.
        eos_token_ids: Every id that ends an answer; it is no part of it.
        max_positions: Context length in tokens, prompt and answer together.
        quantization: The scheme the weights were quantised with after loading, or None.

    A copy is the same model. What `load_model` gave is pickled as its arguments, and loaded again where it arrives.
    """

    name: str
    model: PreTrainedModel = field(repr=False)
    tokenizer: PreTrainedTokenizerBase = field(repr=False)
    eos_token_ids: frozenset[int]
    max_positions: int
    device: torch.device
    dtype: torch.dtype
    quantization: str | None = None
    _arguments: dict[str, Any] | None = field(default=None, init=False, repr=False)

    def __deepcopy__(self, memo: object) -> LoadedModel:
        return self

    def __reduce__(self) -> Any:
        return super().__reduce__() if self._arguments is None else (partial(load_model, **self._arguments), ())


_loaded: weakref.WeakValueDictionary[tuple[Any, ...], LoadedModel] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def _forget_loaded() -> None:
    global _loaded, _lock
    _loaded, _lock = weakref.WeakValueDictionary(), threading.Lock()


renew_in_child(_forget_loaded)


def load_model(
    model: str | Path | LoadedModel = DEFAULT_MODEL,
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str | None = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    end_token_ids: Collection[int] | None = None,
    progress: Progress | None = None,
) -> LoadedModel:
    """Load `model`, or return the copy this process already holds; safe to call from several threads.

    A copy is shared for as long as it is referenced, per resolved location and state of its files, device, dtype,
    `quantize` and revision.

    Args:
        model: The bundled alias, a folder, a `.gguf` file, a hub id, or a `LoadedModel` (returned as it is).
        device: "auto" (CUDA if there is one, else CPU) or a torch device such as "cpu", "cuda:1", "mps".
        dtype: "auto" (bfloat16 on CUDA, else float32), "float32", "bfloat16" or "float16".
        quantize: Weight quantisation applied after loading: "int8", None to leave the weights alone, or "auto": int8
            for the bundled model in float32 on a CPU, whose loss it leaves within 2% (`make bench`), else None.
        revision: Branch, tag or commit of a hub id.
        trust_remote_code: Allow the model's own Python files to run; transformers' meaning.
        end_token_ids: The ids that end an answer. None joins what the generation config, the model's config, the
            tokenizer and its chat template name.
        progress: Called with a stage name and a fraction in [0, 1] while a GGUF file is converted.

    Raises:
        ModelNotFoundError: nothing is at any of the places looked in; the message names them and the remedy.
        UnsupportedModelError: it is there but is no causal LM with a tokenizer, or it cannot be read.
        ConfigurationError: a device or dtype that does not exist, arguments that contradict each other, or the extra
            `local` is not installed.
    """
    require_local()
    if isinstance(model, LoadedModel):
        given = (device, dtype, quantize, revision, trust_remote_code, end_token_ids)
        if given != ("auto", "auto", "auto", None, False, None):
            msg = (
                "Expected no device, dtype, quantize, revision, trust_remote_code or end_token_ids beside a model that "
                "is already loaded; give them to the load_model call that made it."
            )
            raise ConfigurationError(msg)
        return model
    ends = None if end_token_ids is None else checked_ends(end_token_ids)
    target = _resolve_device(device)
    precision = _resolve_dtype(dtype, target)
    if quantize == "auto":
        quantize = _default_scheme(model, target, precision)
    _check_quantize(quantize, target)
    files = find_model(model, revision=revision, progress=progress)
    with _lock:
        key = (files.source, files.state(), files.revision, target, precision, quantize, trust_remote_code, ends)
        loaded = _loaded.get(key)
        if loaded is None:
            where: dict[str, Any] = {"trust_remote_code": trust_remote_code}
            where |= {} if files.revision is None else {"revision": files.revision}
            loaded = _load(files, target, precision, quantize, ends, where)
            again: dict[str, Any] = {"device": device, "dtype": dtype, "quantize": quantize, "revision": revision}
            place = model if files.is_hub or model == DEFAULT_MODEL else str(Path(model).expanduser().absolute())
            again |= {"model": place, "trust_remote_code": trust_remote_code, "end_token_ids": ends}
            object.__setattr__(loaded, "_arguments", again)
            _loaded[key] = loaded
    return loaded


def load_tokenizer(
    model: str | Path, *, revision: str | None = None, trust_remote_code: bool = False
) -> tuple[PreTrainedTokenizerBase, frozenset[int]]:
    """The tokenizer of a model that runs elsewhere, and the ids that end its answers; reads no weights.

    Raises:
        As `load_model`.
    """
    from transformers import GenerationConfig

    files = find_model(model, revision=revision)
    where: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if files.revision is not None:
        where["revision"] = files.revision
    config = _read_config(files, where)
    tokenizer = _read_tokenizer(files, where)
    try:
        generation = GenerationConfig.from_pretrained(files.source, **where)
    except (OSError, ValueError):  # the model has none
        generation = None
    return tokenizer, _eos_token_ids(config, generation, tokenizer)


def checked_ends(ids: Collection[int]) -> frozenset[int]:
    if (
        isinstance(ids, (str, bytes))
        or not isinstance(ids, Collection)
        or not all(type(i) is int and i >= 0 for i in ids)
    ):
        msg = f"Expected end_token_ids to be a list of token ids, got {ids!r}; give [] to end answers by length alone."
        raise ConfigurationError(msg)
    return frozenset(ids)


def _resolve_device(device: str) -> torch.device:
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        msg = f"Expected device to be 'auto' or a torch device such as 'cpu' or 'cuda:0', got {device!r}."
        raise ConfigurationError(msg) from error
    if resolved.type == "cuda":
        return _cuda_device(resolved)
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        msg = "Expected an Apple GPU for device='mps', this machine offers none; use device='cpu' or 'auto'."
        raise ConfigurationError(msg)
    return resolved


def _cuda_device(device: torch.device) -> torch.device:
    """Check that the GPU exists, and give it its index, so that 'cuda' and 'cuda:0' share one copy."""
    import torch

    if torch.cuda._is_in_bad_fork():
        msg = "Expected a process that may use CUDA, got a fork of one that did; start processes by 'spawn' instead."
        raise ConfigurationError(msg)
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= available:
        msg = f"Expected device {str(device)!r} to exist, this machine has {available} CUDA devices; use device='auto'."
        raise ConfigurationError(msg)
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


def _resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    import torch

    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in _DTYPES:
        msg = f"Expected dtype to be 'auto' or one of {', '.join(_DTYPES)}, got {dtype!r}."
        raise ConfigurationError(msg)
    resolved: torch.dtype = getattr(torch, dtype)
    return resolved


def _default_scheme(model: str | Path, device: torch.device, dtype: torch.dtype) -> str | None:
    """int8 where its quality has been measured, nothing elsewhere."""
    measured = model == DEFAULT_MODEL and device.type == "cpu" and str(dtype) == "torch.float32"
    return "int8" if measured else None


def _check_quantize(quantize: str | None, device: torch.device) -> None:
    """Refuse here what `quantize_model` would refuse after minutes of loading."""
    if quantize is None:
        return
    from la_agents.models.quantization import SCHEMES

    if quantize not in SCHEMES or device.type != "cpu":
        msg = f"Expected quantize to be None, or one of {SCHEMES} on a CPU, got {quantize!r} on {device}; use None."
        raise ConfigurationError(msg)


def _load(
    files: ModelFiles,
    device: torch.device,
    dtype: torch.dtype,
    quantize: str | None,
    ends: frozenset[int] | None,
    where: dict[str, Any],
) -> LoadedModel:
    """Cheap checks first: configuration, tokenizer, then the weights."""
    config = _read_config(files, where)
    _check_causal(files, config)
    tokenizer = _read_tokenizer(files, where)
    model = _read_weights(files, config, dtype, where)
    cast("torch.nn.Module", model).to(device)
    if quantize is not None:
        from la_agents.models.quantization import quantize_model

        quantize_model(model, quantize)
    logger.debug("loaded %s from %s on %s as %s", files.name, files.source, device, dtype)
    return LoadedModel(
        name=files.name,
        model=model,
        tokenizer=tokenizer,
        eos_token_ids=_eos_token_ids(model.config, model.generation_config, tokenizer) if ends is None else ends,
        max_positions=_max_positions(config, tokenizer),
        device=device,
        dtype=dtype,
        quantization=quantize,
    )


def _read_config(files: ModelFiles, where: dict[str, Any]) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(files.source, **where)
    except (OSError, ValueError, KeyError) as error:
        if files.is_hub and isinstance(error, OSError):
            raise files.not_on_hub(str(error).splitlines()[0]) from error
        msg = f"Expected a readable config.json in {files.source}, got: {error}"
        raise UnsupportedModelError(msg) from error


def _check_causal(files: ModelFiles, config: Any) -> None:
    """Refuse what generates differently: encoders, encoder-decoders, recurrent models without a KV cache."""
    from transformers.models.auto import modeling_auto as known

    if "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return
    kind = config.model_type
    reason = None
    if getattr(config, "is_encoder_decoder", False):
        reason = "an encoder-decoder"
    elif kind not in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        reason = "no causal language model"
    elif kind in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False):
        reason = "a masked language model"
    if reason is not None:
        msg = f"Expected a causal language model, {files.name!r} of type {kind!r} is {reason}; choose another."
        raise UnsupportedModelError(msg)


def _read_tokenizer(files: ModelFiles, where: dict[str, Any]) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(files.source, **where)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        msg = f"Expected a tokenizer beside the model {files.source!r}, none can be read: {error}"
        raise UnsupportedModelError(msg) from error
    return tokenizer


def _read_weights(files: ModelFiles, config: Any, dtype: torch.dtype, where: dict[str, Any]) -> PreTrainedModel:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    load: Any = AutoModelForCausalLM.from_pretrained
    try:
        with nullcontext() if files.is_hub else no_bars():  # a download shows its progress
            model, report = load(files.source, config=config, dtype=dtype, output_loading_info=True, **where)
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        msg = f"Expected readable weights for {files.name!r} at {files.source}, got: {error}"
        raise UnsupportedModelError(msg) from error
    if report["missing_keys"]:  # transformers would go on with random numbers in their place
        names = ", ".join(sorted(report["missing_keys"])[:5])
        msg = f"Expected all weights of a causal language model in {files.source}, these are missing: {names}."
        raise UnsupportedModelError(msg)
    if getattr(model, "_is_stateful", False):
        msg = f"Expected a model with a key-value cache, type {config.model_type!r} has none; choose another."
        raise UnsupportedModelError(msg)
    model.requires_grad_(False)
    return cast("PreTrainedModel", model)  # from_pretrained has put it in eval mode


def _eos_token_ids(config: Any, generation: Any, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """All that the generation config, the tokenizer, the chat template and the model's config name, joined.

    A model's config often holds but its class's default, which may be a letter of this vocabulary: there an id counts
    if the tokenizer knows it as more than text, or if nothing else is named.
    """
    derived = generation is None or getattr(generation, "_from_model_config", False)
    stated = [() if derived else _ids(generation), _ids(tokenizer), (turn_end(tokenizer).token_id,)]
    ends = {index for ids in stated for index in ids if index is not None}
    configured = {*_ids(generation), *_ids(config), *_ids(config.get_text_config())}
    control = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    joined = (ends | configured & control) or configured
    vocab_size = int(config.get_text_config().vocab_size)
    return frozenset(index for index in joined if 0 <= index < vocab_size)


def _ids(source: Any) -> tuple[int, ...]:
    """The end-of-sequence ids that a configuration or a tokenizer names."""
    ids = getattr(source, "eos_token_id", None)
    return tuple(i for i in (ids if isinstance(ids, (list, tuple)) else [ids]) if type(i) is int)


def _max_positions(config: Any, tokenizer: PreTrainedTokenizerBase) -> int:
    text = config.get_text_config()
    for name in (
        "max_position_embeddings",
        "n_positions",
        "max_sequence_length",
        "max_seq_len",
        "seq_length",
    ):
        limit = getattr(text, name, None)
        if isinstance(limit, int) and limit > 0:
            return limit
    return int(min(tokenizer.model_max_length, _UNSTATED_CONTEXT))
