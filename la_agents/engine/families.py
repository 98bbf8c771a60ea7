"""Families: the Llama-like models that the fused decoders compute, on a CPU and on a GPU, and how these differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

__all__ = ["is_llama_like", "window_of"]

_MODEL_TYPES = ("llama", "mistral", "qwen2")
_ROPE_TYPES = ("default", "linear", "llama3")  # those whose angles do not depend on the length of the text
_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")


def is_llama_like(model: PreTrainedModel, is_known_linear: Callable[[nn.Module], bool]) -> bool:
    """Whether the model is of a known family, and each of its linear layers of a kind that the decoder knows."""
    config = model.config
    return (
        config.model_type in _MODEL_TYPES
        and config.hidden_act == "silu"
        and (config.rope_parameters or {}).get("rope_type", "default") in _ROPE_TYPES
        and all(is_known_linear(m) for name, m in model.named_modules() if name.rpartition(".")[2] in _LINEARS)
    )


def window_of(attention: Any, config: Any) -> int | None:
    """How many keys, its own included, a query of this layer sees; None for all."""
    # Mistral's window is the model's, Qwen's that of each layer; Llama has none.
    window: int | None = getattr(attention, "sliding_window", None)
    return config.sliding_window if config.model_type == "mistral" else window
