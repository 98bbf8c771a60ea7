"""Turn a GGUF file into a folder that `from_pretrained` reads in seconds; done once, whole or not at all.

The folder gets its final name by one rename, after everything in it is on disk: a process that is killed
half way leaves a `.partial` folder, which the next conversion removes. A manifest written last tells a
finished copy from a damaged one, which is made anew. A file lock keeps two processes that start together
from converting twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError, UnsupportedModelError
from la_agents.progress import Progress, no_bars, silent

if TYPE_CHECKING:
    from gguf import GGUFReader
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["convert", "is_converted"]

_FORMAT = 2  # raise it when the same GGUF file would now convert to something else
_MANIFEST = "conversion.json"
_SAMPLE_BYTES = 1 << 16
_NUM_SAMPLES = 64
_MAX_FLOAT32_PARAMETERS = 1_000_000_000  # above, the copy is bfloat16: finer than the GGUF's own rounding


def is_converted(folder: Path) -> bool:
    """Whether `folder` holds a finished conversion, by this version of the code, whose files are as written."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest["made_by"] == _made_by() and manifest["files"] == _fingerprints(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def convert(gguf: Path, folder: Path, progress: Progress | None = None) -> None:
    """Write the model in `gguf` to `folder`, unless it is there already; safe for several processes at once.

    Weights are float32, or bfloat16 for models of more than a billion parameters.

    Raises:
        UnsupportedModelError: the file is damaged, or of an architecture that cannot be read.
        ConfigurationError: the cache folder cannot be written.
    """
    if is_converted(folder):
        return
    from filelock import FileLock
    from safetensors import SafetensorError

    report = progress or silent
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        report("waiting", 0.0)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not is_converted(folder):
                with no_bars():
                    _convert(gguf, folder, report)
    except (OSError, SafetensorError) as error:
        gigabytes = gguf.stat().st_size * 6 / 1e9  # four bits become 32, or 16 in large models
        msg = (
            f"Expected to write about {gigabytes:.1f} GB to the cache folder {folder.parent}, got: {error}; "
            "make room there, or set LA_AGENTS_CACHE to another folder."
        )
        raise ConfigurationError(msg) from error
    report("writing", 1.0)


def _convert(gguf: Path, folder: Path, report: Progress) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model, tokenizer = _read(gguf, report)
    report("writing", 0.9)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    manifest = {"made_by": _made_by(), "source": gguf.name, "files": _fingerprints(partial)}
    (partial / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    _flush(partial)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


def _made_by() -> list[str]:
    """What a conversion depends on beside its file; where it changed, the file is converted anew.

    transformers reads the file's tokenizer, and another release may read it otherwise.
    """
    return [str(_FORMAT), ".".join(version("transformers").split(".")[:2])]


def _read(gguf: Path, report: Progress) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer of the file, in memory; the tokenizer as its author made it."""
    import struct

    import torch
    from gguf import GGUFReader
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    unreadable = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, struct.error)
    report("reading", 0.0)
    try:
        reader = GGUFReader(gguf)
        report("reading", 0.15)
        config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
        report("reading", 0.3)
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        _mend_pre_tokenizer(tokenizer, reader)
        report("reading", 0.45)
        num_parameters = sum(int(tensor.n_elements) for tensor in reader.tensors)
        dtype = torch.float32 if num_parameters <= _MAX_FLOAT32_PARAMETERS else torch.bfloat16
        make: Callable[..., PreTrainedModel] = AutoModelForCausalLM.from_config
        model = make(config, dtype=dtype)
        _fill(model, reader, report)
    except unreadable as error:
        msg = f"Expected a GGUF model that transformers can read, got {gguf}: {error}; convert it elsewhere."
        raise UnsupportedModelError(msg) from error
    return model, tokenizer


def _mend_pre_tokenizer(tokenizer: PreTrainedTokenizerBase, reader: GGUFReader) -> None:
    """SmolLM splits digits off before anything else; transformers' GGUF reader does not look at that field.

    Without it a line break before a number becomes other tokens than the model was trained on.
    """
    if _field(reader, "tokenizer.ggml.pre") != "smollm":
        return
    from tokenizers import pre_tokenizers

    backend: Any = getattr(tokenizer, "backend_tokenizer")  # noqa: B009 - only fast tokenizers have it
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def _fill(model: PreTrainedModel, reader: GGUFReader, report: Progress) -> None:
    """Dequantise every tensor of the file into `model`.

    transformers' own loop does the same, but draws its own progress bar and maps names for ten seconds.

    Raises:
        ValueError: a parameter is in the model and not in the file (tied ones aside), or has another shape.
    """
    import torch
    from gguf import dequantize
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    settings = model.config.to_dict()
    kind: Any = TENSOR_PROCESSORS.get(_field(reader, "general.architecture"), TensorProcessor)
    processor = kind(config=settings)
    untyped: Any = get_gguf_hf_weights_map
    names: dict[str, str] = untyped(_TopLevels(model, model.config), processor)
    weights: dict[str, torch.Tensor] = {}
    for done, tensor in enumerate(reader.tensors, start=1):
        result = processor.process(
            weights=dequantize(tensor.data, tensor.tensor_type),
            name=tensor.name,
            tensor_key_mapping=names,
            parsed_parameters={"config": settings, "tensors": weights},
        )
        if result.name in names:
            weights[names[result.name]] = torch.from_numpy(result.weights.copy()).to(model.dtype)
        report("dequantizing", 0.5 + 0.4 * done / len(reader.tensors))
    model.load_state_dict(weights, strict=False)
    missing = {name for name, _ in model.named_parameters()} - weights.keys()
    if missing:
        msg = f"it lacks the tensors {', '.join(sorted(missing)[:5])}"
        raise ValueError(msg)


class _TopLevels:
    """A model and its direct children, as much of it as the mapping of tensor names has to look at."""

    def __init__(self, module: Any, config: Any, *, depth: int = 1) -> None:
        self.config = config
        self.state_dict = module.state_dict
        self._module, self._depth = module, depth

    def named_children(self) -> list[tuple[str, _TopLevels]]:
        if not self._depth:
            return []
        children = self._module.named_children()
        return [(name, _TopLevels(child, self.config, depth=self._depth - 1)) for name, child in children]


def _field(reader: GGUFReader, name: str) -> str:
    field = reader.get_field(name)
    return str(field.contents()) if field is not None else ""


def _fingerprints(folder: Path) -> dict[str, str]:
    """A short hash of every file but the manifest; of large files, of the size and samples, to cost milliseconds."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != _MANIFEST)
    return {path.name: _fingerprint(path) for path in files}


def _fingerprint(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for offset in _sample_offsets(size):
            file.seek(offset)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _sample_offsets(size: int) -> Iterator[int]:
    """All of a file up to the samples' sum (4 MiB), evenly spread samples of a larger one, its end included."""
    if size <= _SAMPLE_BYTES * _NUM_SAMPLES:
        yield from range(0, size, _SAMPLE_BYTES)
    else:
        yield from ((size - _SAMPLE_BYTES) * index // (_NUM_SAMPLES - 1) for index in range(_NUM_SAMPLES))


def _flush(folder: Path) -> None:
    """Write `folder` to disk before it gets its final name, so that a power cut leaves no empty files in it."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
