"""A quantised Llama-like decoder as one ONNX graph that appends one token to every row, or several to one row.

Inputs: `hidden [rows, n, size]`, the embedded tokens, n = 1 unless there is one row; `last [rows]` int32, the position
of each row's last new token; `total [1]` int32, one more than the largest of them; `first_logits [1]` int64, from
which new token on logits are wanted; `past_key.i`, `past_value.i [rows, kv_heads, slots, head_dim]`.
Outputs: `logits [rows, n - first_logits, vocab]`; `present_key.i`, `present_value.i`, to be bound to the memory of the
pasts.
The model's own modules are `Any` here: transformers' families share no type that names their parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from onnx import ModelProto, NodeProto, TensorProto, helper
from torch import Tensor, nn

from la_agents.engine.families import window_of
from la_agents.models.quantization import Int8Linear

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["write_decoder"]

_BLOCK = 64
"""Activations are rounded to 8 bits in blocks of this many along a row: the fastest of 32, 64 and 128."""

_MICROSOFT = "com.microsoft"


def write_decoder(model: PreTrainedModel, *, round_activations: bool = True) -> tuple[ModelProto, dict[str, Tensor]]:
    """The graph of `model`, whose linear layers are `Int8Linear`, and the weights it names but does not contain.

    Without `round_activations` the products are computed in float32: slow, and exact but for the order of sums.
    """
    graph = _Graph(round_activations)
    _write_rotations(graph, model)
    residual, normed = "hidden", _write_first_norm(graph, model.model.layers[0].input_layernorm)
    gains = [layer.input_layernorm for layer in model.model.layers[1:]] + [model.model.norm]
    for i, (layer, next_norm) in enumerate(zip(model.model.layers, gains, strict=True)):
        attended = _write_attention(graph, i, layer.self_attn, model, normed)
        normed, residual = graph.add_and_norm(f"middle.{i}", attended, residual, layer.post_attention_layernorm)
        fed = _write_feed_forward(graph, i, layer.mlp, normed)
        normed, residual = graph.add_and_norm(f"end.{i}", fed, residual, next_norm)
    ends, axes = graph.weight("ends", torch.tensor([2**31 - 1])), graph.weight("axes", torch.tensor([1]))
    graph.node("Slice", [normed, "first_logits", ends, axes], ["wanted"])
    graph.linear("logits", [model.lm_head], "wanted")
    return graph.model(), graph.weights


def _write_rotations(graph: _Graph, model: PreTrainedModel) -> None:
    """Tables of the rotary embedding [positions, head_dim / 2], from the model's own."""
    positions = torch.arange(model.config.max_position_embeddings).unsqueeze(0)
    with torch.no_grad():
        cos, sin = model.model.rotary_emb(torch.empty(1), positions)
    half = cos.shape[-1] // 2
    graph.weights.update(cos=cos[0, :, :half], sin=sin[0, :, :half])


def _write_first_norm(graph: _Graph, norm: Any) -> str:
    inputs = ["hidden", graph.weight("start.gain", norm.weight)]
    graph.node("SimplifiedLayerNormalization", inputs, ["start"], axis=-1, epsilon=norm.variance_epsilon)
    return "start"


def _write_attention(graph: _Graph, i: int, attention: Any, model: PreTrainedModel, x: str) -> str:
    qkv = graph.linear(f"qkv.{i}", [attention.q_proj, attention.k_proj, attention.v_proj], x)
    pasts, presents = ([f"{when}_{what}.{i}" for what in ("key", "value")] for when in ("past", "present"))
    graph.inputs += pasts
    graph.outputs += presents
    window = window_of(attention, model.config)
    graph.node(
        "GroupQueryAttention",
        [qkv, "", "", *pasts, "last", "total", "cos", "sin"],
        [f"attended.{i}", *presents],
        domain=_MICROSOFT,
        num_heads=model.config.num_attention_heads,
        kv_num_heads=model.config.num_key_value_heads,
        do_rotary=1,
        scale=float(attention.scaling),
        local_window_size=-1 if window is None else window,
    )
    return graph.linear(f"o.{i}", [attention.o_proj], f"attended.{i}")


def _write_feed_forward(graph: _Graph, i: int, mlp: Any, x: str) -> str:
    both = graph.linear(f"gate_up.{i}", [mlp.gate_proj, mlp.up_proj], x)
    graph.node("Split", [both], [f"gate.{i}", f"up.{i}"], axis=-1, num_outputs=2)
    graph.node("QuickGelu", [f"gate.{i}"], [f"silu.{i}"], domain=_MICROSOFT, alpha=1.0)
    graph.node("Mul", [f"silu.{i}", f"up.{i}"], [f"inner.{i}"])
    return graph.linear(f"down.{i}", [mlp.down_proj], f"inner.{i}")


class _Graph:
    """Nodes in order, and the weights they name."""

    def __init__(self, round_activations: bool) -> None:
        self.inputs = ["hidden", "last", "total", "first_logits"]
        self.outputs = ["logits"]
        self.weights: dict[str, Tensor] = {}
        self._accuracy_level = 4 if round_activations else 1  # MatMulNBits' names for int8 and float32
        self._nodes: list[NodeProto] = []

    def node(self, kind: str, inputs: list[str], outputs: list[str], *, domain: str = "", **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **attributes))

    def weight(self, name: str, tensor: Tensor) -> str:
        self.weights[name] = tensor.detach()
        return name

    def linear(self, out: str, layers: Sequence[Int8Linear], x: str) -> str:
        """One product for layers that read the same `x`; their outputs stand side by side."""
        whole, scale = _blocks(layers)
        inputs = [x, self.weight(f"{out}.whole", whole), self.weight(f"{out}.scale", scale)]
        if layers[0].bias is not None:
            inputs += ["", "", self.weight(f"{out}.bias", torch.cat([layer.bias for layer in layers]))]
        sizes = {"N": whole.shape[0], "K": layers[0].in_features, "bits": 8, "block_size": _BLOCK}
        self.node("MatMulNBits", inputs, [out], domain=_MICROSOFT, accuracy_level=self._accuracy_level, **sizes)
        return out

    def add_and_norm(self, name: str, x: str, residual: str, norm: Any) -> tuple[str, str]:
        """The normed sum, and the sum."""
        inputs = [x, residual, self.weight(f"{name}.gain", norm.weight)]
        outputs = [f"{name}.normed", "", "", f"{name}.sum"]
        epsilon = norm.variance_epsilon
        self.node("SkipSimplifiedLayerNormalization", inputs, outputs, domain=_MICROSOFT, epsilon=epsilon)
        return outputs[0], outputs[3]

    def model(self) -> ModelProto:
        types = {"last": TensorProto.INT32, "total": TensorProto.INT32, "first_logits": TensorProto.INT64}
        inputs, outputs = (
            [helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), None) for name in names]
            for names in (self.inputs, self.outputs)
        )
        weights = [_declare(name, tensor) for name, tensor in self.weights.items()]
        graph = helper.make_graph(self._nodes, "decoder", inputs, outputs, weights)
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(_MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def _declare(name: str, tensor: Tensor) -> TensorProto:
    """The weight's name, type and shape. Its numbers reach the session by reference: a graph holds 2 GB at most."""
    kinds = {torch.uint8: TensorProto.UINT8, torch.int64: TensorProto.INT64, torch.float32: TensorProto.FLOAT}
    kind = kinds[tensor.dtype]
    declared = TensorProto(name=name, dims=tuple(tensor.shape), data_type=kind, data_location=TensorProto.EXTERNAL)
    declared.external_data.add(key="location", value="memory")
    return declared


def _blocks(layers: Sequence[Int8Linear]) -> tuple[Tensor, Tensor]:
    """The layers' weights as uint8 [out, blocks, block] around 128, and each channel's scale again for every block."""
    whole = torch.cat([layer.int8_weight for layer in layers])
    num_blocks = -(-whole.shape[1] // _BLOCK)
    whole = nn.functional.pad(whole, (0, num_blocks * _BLOCK - whole.shape[1]))
    whole = whole.bitwise_xor(torch.tensor(-128, dtype=torch.int8)).view(torch.uint8)  # + 128, without a wider copy
    scale = torch.cat([layer.scale for layer in layers])
    return whole.view(-1, num_blocks, _BLOCK), scale.unsqueeze(1).repeat(1, num_blocks)
