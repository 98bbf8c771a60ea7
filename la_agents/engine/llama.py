"""Llama-like decoders on a GPU: one step of one token a row, with the small operations fused.

transformers' own forward runs some forty kernels a layer, most of them so small that starting them is what they cost.
Here a layer is ten: products that read the same input are one, and what lies between two products is one kernel that
PyTorch's compiler makes of the plain functions below. On a CPU the functions run as they are, which is how they are
tested without a GPU.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from la_agents.engine.attention import AttentionMetadata, slot_attention
from la_agents.engine.families import is_llama_like, window_of
from la_agents.engine.token_pool import TokenPool

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["LlamaDecoder", "can_decode"]

_log = logging.getLogger(__name__)

_MERGED = (("self_attn", ("q_proj", "k_proj", "v_proj")), ("mlp", ("gate_proj", "up_proj")))


def can_decode(model: PreTrainedModel) -> bool:
    """Whether `LlamaDecoder` computes what `model` does: a known family with plain linear layers."""
    return is_llama_like(model, lambda linear: type(linear) is nn.Linear)


def add_and_norm(x: Tensor, residual: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """The RMS-normed sum and the sum, [rows, size] each."""
    total = residual + x
    wide = total.float()
    normed = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + epsilon)
    return weight * normed.to(total.dtype), total


def gated(gate_up: Tensor) -> Tensor:
    """`silu(gate) * up` of both side by side, [rows, size]."""
    gate, up = gate_up.chunk(2, dim=-1)
    return silu(gate) * up


def rotate_and_store(qkv: Tensor, cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor, slots: Tensor) -> Tensor:
    """Rotate queries and keys, and store keys and values in the pool's `slots`; the queries, [rows, heads, dim].

    Args:
        qkv: [rows, (heads + 2 kv_heads) dim].
        cos: [rows, 1, dim], like sin.
        keys: Of the pool, [tokens, kv_heads, dim], like values.
    """
    kv_heads, dim = keys.shape[1:]
    heads = qkv.view(qkv.shape[0], -1, dim)
    query, key, value = torch.split(heads, [heads.shape[1] - 2 * kv_heads, kv_heads, kv_heads], dim=1)
    keys.index_copy_(0, slots, _rotated(key, cos, sin))
    values.index_copy_(0, slots, value)
    return _rotated(query, cos, sin)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True, fullgraph=True)


class LlamaDecoder:
    """Decodes for `model`, one for which `can_decode` is true.

    The weights of products that become one are stored one after another from now on; the model's own are views of them.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model: Any = model
        self._config = model.config
        layers = self._model.model.layers
        self._merged = [tuple(_merge(getattr(layer, part), names) for part, names in _MERGED) for layer in layers]
        norms = [layer.input_layernorm for layer in layers[1:]] + [self._model.model.norm]
        self._next_norms = norms
        self._functions: tuple[Callable[..., Any], ...] = (add_and_norm, gated, rotate_and_store)
        if model.device.type == "cuda":
            self._compile()

    def _compile(self) -> None:
        """Make the small functions one kernel each; if PyTorch's compiler does not work here, they run as they are."""
        _log.info("compiling the decoder's kernels: some 20 seconds on a new machine, cached from then on")
        plain = self._functions
        try:
            self._functions = tuple(_compiled(function) for function in plain)
            with torch.inference_mode():
                self._run_once()
        except Exception as error:  # noqa: BLE001  # a missing compiler shows itself in many ways; the slow way is right
            _log.warning("decoding is slower than it could be, since PyTorch's compiler failed: %s", error)
            self._functions = plain

    def _run_once(self) -> None:
        pool, device = TokenPool(len(self._merged), 2), self._model.device
        shape = (self._config.num_key_value_heads, 1, self._model.model.layers[0].self_attn.head_dim)
        pool.write(0, [(torch.zeros(shape, dtype=self._model.dtype, device=device),) * 2] * len(self._merged))
        zeros = torch.zeros((2, 1), dtype=torch.long, device=device)
        self(zeros, AttentionMetadata(zeros, zeros + 1, 2), pool)

    @torch.inference_mode()
    def __call__(self, ids: Tensor, metadata: AttentionMetadata, pool: TokenPool) -> Tensor:
        """The logits after `ids` [rows, 1], whose keys and values are stored in the pool: [rows, vocab], float32."""
        add_norm, gate, rotate = self._functions
        model = self._model.model
        slots = metadata.slots[:, 0]
        embedded = model.embed_tokens(ids)
        cos, sin = model.rotary_emb(embedded, metadata.positions)
        total = embedded[:, 0]
        first = model.layers[0].input_layernorm
        x, total = add_norm(torch.zeros_like(total), total, first.weight, first.variance_epsilon)
        for layer, (qkv, gate_up), next_norm, (keys, values) in zip(
            model.layers, self._merged, self._next_norms, pool.tensors, strict=True
        ):
            attention, middle = layer.self_attn, layer.post_attention_layernorm
            query = rotate(linear(x, *qkv), cos, sin, keys, values, slots)
            attended, _ = slot_attention(
                attention,
                query.unsqueeze(2),
                keys,
                values,
                None,
                attention.scaling,
                metadata=metadata,
                sliding_window=window_of(attention, self._config),
            )
            x = attention.o_proj(attended.flatten(1))
            x, total = add_norm(x, total, middle.weight, middle.variance_epsilon)
            x = layer.mlp.down_proj(gate(linear(x, *gate_up)))
            x, total = add_norm(x, total, next_norm.weight, next_norm.variance_epsilon)
        logits: Tensor = self._model.lm_head(x).float()
        return logits


def _merge(module: nn.Module, names: Sequence[str]) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of several linear layers that read the same input, as one; theirs become views of it."""
    layers: list[nn.Linear] = [getattr(module, name) for name in names]
    weight = _joined([layer.weight for layer in layers])
    return weight, None if layers[0].bias is None else _joined([layer.bias for layer in layers])


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors one after another; each becomes a view of its part, so that none is held twice."""
    whole = torch.cat([tensor.detach() for tensor in tensors])
    for tensor, view in zip(tensors, torch.split(whole, [len(tensor) for tensor in tensors]), strict=True):
        tensor.data = view
    return whole
