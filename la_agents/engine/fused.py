"""Fused decoding on the CPU: one token for every row, a whole Llama-like decoder in one call to ONNX Runtime.

A decode step of a small model in PyTorch is mostly the overhead of a thousand small operations, and its 8-bit products
repack their weights at each call; here the weights are packed once. Activations are rounded to 8 bits in blocks along a
row, never over rows, so a row's numbers are the same whatever else shares the batch. Keys and values are read and
written in place in the engine's slot cache; prompts are computed by the model itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from la_agents.engine.quantization import Int8Linear

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["FusedDecoder", "can_fuse"]

_ROPE_TYPES = ("default", "linear", "llama3")  # those whose angles do not depend on the length of the text
_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")


def can_fuse(model: PreTrainedModel) -> bool:
    """Whether `FusedDecoder` computes what `model` does: a known family, quantised to int8, float32, on the CPU."""
    if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None:
        return False
    from la_agents.engine.decoder_graph import MODEL_TYPES

    config = model.config
    linears = [module for name, module in model.named_modules() if name.rpartition(".")[2] in _LINEARS]
    return (
        config.model_type in MODEL_TYPES
        and config.hidden_act == "silu"
        and (config.rope_parameters or {}).get("rope_type", "default") in _ROPE_TYPES
        and model.device.type == "cpu"
        and model.dtype == torch.float32
        and all(isinstance(module, Int8Linear) for module in linears)
    )


class FusedDecoder:
    """Decodes for `model`, one for which `can_fuse` is true. Not thread-safe.

    It holds a packed copy of the linear layers' 8-bit weights and shares the embedding.

    Args:
        num_threads: Threads of ONNX Runtime; by default as many as PyTorch has.
        round_activations: To 8 bits, the fast way; otherwise the products are computed in float32.
    """

    def __init__(
        self, model: PreTrainedModel, num_threads: int | None = None, *, round_activations: bool = True
    ) -> None:
        self._embedding = model.get_input_embeddings()
        self._vocab_size = model.lm_head.out_features
        self._session = _open(model, num_threads or torch.get_num_threads(), round_activations)
        self._binding = self._session.io_binding()
        self._bound: tuple[int, ...] = ()

    @torch.inference_mode()
    def decode(self, ids: Tensor, lengths: Tensor, layers: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Append one token to each row and compute the logits that follow it.

        Args:
            ids: [rows], the tokens.
            lengths: [rows], how many tokens each row has; the new key is stored there.
            layers: Each layer's keys and values, float32 [at least rows, kv_heads, slots, head_dim], contiguous. The
                first rows are used, and changed in place.

        Returns:
            [rows, vocab], float32.
        """
        num_rows = ids.shape[0]
        self._bind_cache(num_rows, layers)
        hidden = self._embedding(ids).unsqueeze(1)
        past = lengths.to(torch.int32)
        total = past.max().add(1).view(1)
        logits = torch.empty(num_rows, 1, self._vocab_size)
        self._bind_input("hidden", hidden)
        self._bind_input("past", past)
        self._bind_input("total", total)
        self._bind_output("logits", logits)
        self._session.run_with_iobinding(self._binding)
        return logits.squeeze(1)

    def _bind_cache(self, num_rows: int, layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        # Naming 120 tensors takes a third of a millisecond: once, for as long as rows and memory stay.
        bound = (num_rows, layers[0][0].shape[2], *(tensor.data_ptr() for pair in layers for tensor in pair))
        if bound == self._bound:
            return
        for i, pair in enumerate(layers):
            for what, tensor in zip(("key", "value"), pair, strict=True):
                self._bind_input(f"past_{what}.{i}", tensor[:num_rows])
                self._bind_output(f"present_{what}.{i}", tensor[:num_rows])
        self._bound = bound

    def _bind_input(self, name: str, tensor: Tensor) -> None:
        self._binding.bind_input(name, *_place(tensor))

    def _bind_output(self, name: str, tensor: Tensor) -> None:
        self._binding.bind_output(name, *_place(tensor))


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """Device, its index, type, shape and address, in ONNX Runtime's order. The caller keeps the tensor alive."""
    import numpy as np

    kind = np.int32 if tensor.dtype == torch.int32 else np.float32
    return "cpu", 0, kind, tuple(tensor.shape), tensor.data_ptr()


def _open(model: PreTrainedModel, num_threads: int, round_activations: bool) -> Any:
    import onnxruntime as ort

    from la_agents.engine.decoder_graph import write_decoder

    graph, weights = write_decoder(model, round_activations=round_activations)
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3
    # Between two steps the cores belong to PyTorch: its threads do not have to compete with idle ones that spin.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    values = [ort.OrtValue.ortvalue_from_numpy(tensor.contiguous().numpy()) for tensor in weights.values()]
    options.add_external_initializers(list(weights), values)
    return ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
