"""Turn a GGUF file into a folder that `from_pretrained` reads in seconds; done once, whole or not at all.

The folder appears under its final name by one rename, so a copy that exists is complete: a process that is killed in
the middle leaves a `.partial` folder behind, which the next conversion removes. A file lock keeps two processes
that start together from converting twice.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from la_agents.errors import UnsupportedModelError

if TYPE_CHECKING:
    import torch

__all__ = ["convert", "converted_copy"]

Progress = Callable[[str, float], None]

_REQUIRED = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json")


def converted_copy(folder: Path) -> bool:
    """Whether `folder` holds a finished conversion."""
    return all((folder / name).is_file() for name in _REQUIRED)


def convert(gguf: Path, folder: Path, progress: Progress | None = None) -> None:
    """Write the model in `gguf` to `folder` as safetensors in float32, unless it is there already.

    Raises:
        UnsupportedModelError: the file is damaged, or of an architecture that cannot be read.
    """
    if converted_copy(folder):
        return
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if converted_copy(folder):
            return
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        _write(gguf, partial, progress or _silent)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)


def _silent(stage: str, fraction: float) -> None:
    """The progress callback of a caller who gave none."""


def _write(gguf: Path, folder: Path, progress: Progress) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"gguf_file": gguf.name}
    try:
        progress("reading", 0.0)
        config = AutoConfig.from_pretrained(gguf.parent, **where)
        progress("reading", 0.15)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **where)
        progress("reading", 0.3)
        model = AutoModelForCausalLM.from_config(config)
        _fill(model, gguf, progress)
    except (OSError, ValueError, KeyError, NotImplementedError, RuntimeError, IndexError, EOFError) as error:
        msg = f"Expected a GGUF model that transformers can read, got {gguf}: {error}"
        raise UnsupportedModelError(msg) from error
    progress("writing", 0.9)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    progress("writing", 1.0)


def _fill(model: torch.nn.Module, gguf: Path, progress: Progress) -> None:
    """Copy every tensor of the file into `model`; a missing one is an error, except those tied to another."""
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    tensors = load_gguf_checkpoint(str(gguf), return_tensors=True, model_to_load=model)["tensors"]
    progress("dequantizing", 0.85)
    missing = model.load_state_dict(tensors, strict=False).missing_keys
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    if set(missing) - tied:
        msg = f"it lacks the tensors {sorted(set(missing) - tied)}"
        raise ValueError(msg)
