"""Weight quantisation for CPU: 8-bit integer matrix products in the place of float32 ones.

Weights are rounded to 8 bits, one scale an output channel. Activations are rounded to 8 bits between each row's own
smallest and largest value: rows are lopsided, and a range centred at zero costs the bundled model twice as much of its
loss (1.5% instead of 0.7%). The products are sums of integers and therefore exact, no scale is taken over rows, and
every later operation rounds by itself, so a row's result is the same to the last bit whatever shares the batch.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from la_agents.errors import ConfigurationError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["SCHEMES", "Int8Linear", "quantize_channels", "quantize_model", "quantize_rows", "weight_limit"]

SCHEMES = ("int8",)

_LIMIT = 127
_STEPS = 255
"""Between a row's smallest and largest value."""

_CHUNK = 256
"""Rows at a time: what a prompt needs between two steps then stays in the processor's cache."""

_CHANNELS = 2048


def quantize_model(model: PreTrainedModel, scheme: str = "int8") -> None:
    """Replace every `nn.Linear` of `model` by an `Int8Linear`, in place.

    Embeddings stay in float; a head tied to them gets an 8-bit copy. The float weights are freed when nothing else
    refers to them, which leaves about a quarter of the linear layers' memory.

    Raises:
        ConfigurationError: the scheme is unknown, the model is not on the CPU, or it has no linear layer (left).
    """
    if scheme not in SCHEMES:
        msg = f"Expected quantize to be one of {', '.join(map(repr, SCHEMES))} or None, got {scheme!r}."
        raise ConfigurationError(msg)
    if model.device.type != "cpu":
        msg = f"Expected a model on the CPU for quantize={scheme!r}, got one on {model.device}; use quantize=None."
        raise ConfigurationError(msg)
    linears = [(name, module) for name, module in model.named_modules() if type(module) is nn.Linear]
    if not linears:
        msg = f"Expected {type(model).__name__} to have nn.Linear layers, found none; use quantize=None."
        raise ConfigurationError(msg)
    for name, linear in linears:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, Int8Linear(linear))


class Int8Linear(nn.Module):
    """`nn.Linear` with an 8-bit weight [out_features, in_features] and a float32 scale [out_features]."""

    int8_weight: Tensor
    scale: Tensor
    column_sum: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight, scale = quantize_channels(linear.weight.detach().float(), weight_limit())
        self.register_buffer("int8_weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("column_sum", weight.sum(dim=1).float())
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features], in the dtype of `x`."""
        rows = x.reshape(-1, self.in_features)
        out = rows.new_empty((len(rows), self.out_features))
        for chunk, into in zip(torch.split(rows, _CHUNK), torch.split(out, _CHUNK), strict=True):
            into.copy_(self._product(chunk))
        return out.view(*x.shape[:-1], self.out_features)

    def _product(self, rows: Tensor) -> Tensor:
        quantized, scale, zero_point = quantize_rows(rows.float())
        out = torch._int_mm(quantized, self.int8_weight.t()).float()
        # x = scale * (quantized - zero_point): a row has one zero point, so its part is that times the sum of a column.
        out.sub_(zero_point * self.column_sum).mul_(scale).mul_(self.scale)
        return out if self.bias is None else out.add_(self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def quantize_channels(weight: Tensor, limit: int = _LIMIT) -> tuple[Tensor, Tensor]:
    """`weight [out, in]` as whole numbers within +-`limit`, int8, and one float32 scale an output channel [out]."""
    quantized = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    scale = torch.empty(weight.shape[0], device=weight.device)
    # A few channels at a time: temporaries of a whole matrix would cost more than the arithmetic.
    parts = (torch.split(x, _CHANNELS) for x in (weight, quantized, scale))
    for rows, into, channel_scale in zip(*parts, strict=True):
        low, high = rows.aminmax(dim=1)
        channel_scale.copy_(torch.maximum(-low, high).clamp_min_(torch.finfo(torch.float32).tiny) / limit)
        into.copy_((rows / channel_scale.unsqueeze(1)).round_().clamp_(-limit, limit))
    return quantized, scale


def quantize_rows(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`rows [n, k]` in int8 [n, k], their scales and zero points [n, 1]: x ~ scale * (quantized - zero_point)."""
    # Every range includes 0, so that 0 stays exact and a zero point is never far outside the range.
    # Two passes, because `aminmax` along a row is far slower than both.
    low = rows.amin(dim=1, keepdim=True).clamp_max_(0.0)
    high = rows.amax(dim=1, keepdim=True).clamp_min_(0.0)
    scale = ((high - low) / _STEPS).clamp_min_(torch.finfo(torch.float32).tiny)
    # Converting truncates: half a step more rounds to the nearest. Flipping the top bit subtracts 128.
    quantized = rows.sub(low).div_(scale).add_(0.5).to(torch.uint8).bitwise_xor_(128).view(torch.int8)
    return quantized, scale, -low / scale - 128


def weight_limit() -> int:
    """7 bits on x86 processors without VNNI: their 16-bit intermediate sums would saturate on 8."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return _LIMIT
    return _LIMIT if torch.cpu._is_vnni_supported() else _LIMIT // 2
