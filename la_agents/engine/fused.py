"""Fused decoding on the CPU: a whole Llama-like decoder in one call to ONNX Runtime.

A step of a small model in PyTorch is mostly the overhead of a thousand small operations, and its 8-bit products repack
their weights at each call; here the weights are packed once. ONNX Runtime also brings threads of its own: PyTorch's go
to sleep after every operation as soon as two threads of the process have computed with it, an application's and the
engine's. Activations are rounded to 8 bits in blocks along a row, never over rows, so a row's numbers are the same
whatever else shares the batch. Keys and values are read and written in place in the engine's slot cache.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from la_agents.engine.families import is_llama_like
from la_agents.forks import owning_threads
from la_agents.models.quantization import Int8Linear

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["FusedDecoder", "can_fuse"]


def can_fuse(model: PreTrainedModel) -> bool:
    """Whether `FusedDecoder` computes what `model` does: a known family, quantised to int8, float32, on the CPU."""
    if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None:
        return False
    is_known = is_llama_like(model, lambda linear: isinstance(linear, Int8Linear))
    return is_known and model.device.type == "cpu" and model.dtype == torch.float32


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
        attention: Any = model.model.layers[0].self_attn
        self.num_key_heads, self.head_dim = model.config.num_key_value_heads, attention.head_dim
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
        return self._run(ids.unsqueeze(1), lengths, layers, num_logits=1).squeeze(1)

    @torch.inference_mode()
    def extend(
        self, ids: Tensor, num_past: int, layers: Sequence[tuple[Tensor, Tensor]], *, all_logits: bool = False
    ) -> Tensor:
        """Append several tokens to one row, the first of `layers`, which has `num_past`.

        Args:
            ids: [tokens].

        Returns:
            The logits after the last token [1, vocab], or after every one [tokens, vocab]; float32.
        """
        num_tokens = ids.shape[0]
        last = torch.tensor([num_past + num_tokens - 1])
        return self._run(ids.unsqueeze(0), last, layers, num_logits=num_tokens if all_logits else 1).squeeze(0)

    def _run(self, ids: Tensor, last: Tensor, layers: Sequence[tuple[Tensor, Tensor]], *, num_logits: int) -> Tensor:
        num_rows, num_tokens = ids.shape
        self._bind_cache(num_rows, layers)
        last = last.to(torch.int32)
        inputs = {
            "hidden": self._embedding(ids),
            "last": last,
            "total": last.max().add(1).view(1),
            "first_logits": torch.tensor([num_tokens - num_logits]),
        }
        for name, tensor in inputs.items():
            self._bind_input(name, tensor)
        logits = torch.empty(num_rows, num_logits, self._vocab_size)
        self._bind_output("logits", logits)
        self._session.run_with_iobinding(self._binding)
        return logits

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

    kinds = {torch.int32: np.int32, torch.int64: np.int64, torch.float32: np.float32}
    return "cpu", 0, kinds[tensor.dtype], tuple(tensor.shape), tensor.data_ptr()


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
    return owning_threads(ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"]))
