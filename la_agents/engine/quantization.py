"""Weight quantisation for CPU: 8-bit integer matrix products in the place of float32 ones.

Weights are rounded to 8 bits, one scale an output channel. Activations are rounded to 15 bits in two 8-bit halves,
one scale a row: 8 bits alone cost the bundled model 2.3% of its loss, both halves 0.3%. The products are sums of
integers and therefore exact, and no scale is taken over rows, so a row's result is the same to the last bit whatever
else shares the batch.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from la_agents.errors import ConfigurationError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["SCHEMES", "Int8Linear", "quantize_channels", "quantize_model"]

SCHEMES = ("int8",)

_LIMIT = 127
_FINE = 2 * _LIMIT
"""What rounding to the coarse half leaves over lies within half a unit; times this it fills 8 bits again."""

_CHUNK = 128
"""Rows at a time: what a prompt needs between two steps then stays in the processor's cache."""

_CHANNELS = 2048


def quantize_model(model: PreTrainedModel, scheme: str = "int8") -> None:
    """Replace every `nn.Linear` of `model` by an `Int8Linear`, in place.

    Embeddings stay in float; a head tied to them gets an 8-bit copy. The float weights are freed when nobody else
    holds them, which leaves about a quarter of the linear layers' memory.

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

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight, scale = quantize_channels(linear.weight.detach().float(), _weight_limit())
        self.register_buffer("int8_weight", weight)
        self.register_buffer("scale", scale / _LIMIT)  # the activations' 1 / 127 is folded in
        self.bias = linear.bias

    @property
    def channel_scale(self) -> Tensor:
        """[out_features], what one unit of the weight is worth."""
        return self.scale * _LIMIT

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features], in the dtype of `x`."""
        rows = x.reshape(-1, self.in_features)
        out = [self._product(chunk) for chunk in torch.split(rows, _CHUNK)]
        return (out[0] if len(out) == 1 else torch.cat(out)).view(*x.shape[:-1], self.out_features)

    def _product(self, rows: Tensor) -> Tensor:
        halves, unit = _split(rows.float())
        coarse, fine = torch._int_mm(halves, self.int8_weight.t()).float().chunk(2)
        out = coarse.add_(fine, alpha=1 / _FINE).mul_(unit).mul_(self.scale)
        if self.bias is not None:
            out += self.bias
        return out.to(rows.dtype)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def quantize_channels(weight: Tensor, limit: int = _LIMIT) -> tuple[Tensor, Tensor]:
    """`weight [out, in]` as whole numbers within +-`limit`, int8, and one float32 scale an output channel [out]."""
    quantized = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    scale = torch.empty(weight.shape[0], device=weight.device)
    # A few channels at a time: temporaries of a whole matrix would cost more than the arithmetic.
    parts = (torch.split(x, _CHANNELS) for x in (weight, quantized, scale))
    for rows, into, unit in zip(*parts, strict=True):
        low, high = rows.aminmax(dim=1)
        unit.copy_(torch.maximum(-low, high).clamp_min_(torch.finfo(torch.float32).tiny) / limit)
        into.copy_((rows / unit.unsqueeze(1)).round_().clamp_(-limit, limit))
    return quantized, scale


def _split(rows: Tensor) -> tuple[Tensor, Tensor]:
    """`rows [n, k]` as int8 [2 n, k], coarse halves then fine ones, and each row's largest magnitude [n, 1]."""
    unit = rows.abs().amax(dim=1, keepdim=True)  # five times as fast as the infinity norm
    scaled = rows * (_LIMIT / unit.clamp_min(torch.finfo(torch.float32).tiny * _LIMIT))
    coarse = scaled.round()
    fine = scaled.sub_(coarse).mul_(_FINE).round_()
    return torch.cat([coarse, fine]).to(torch.int8), unit


def _weight_limit() -> int:
    """7 bits on x86 processors without VNNI: their 16-bit intermediate sums would saturate on 8."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return _LIMIT
    return _LIMIT if torch.cpu._is_vnni_supported() else _LIMIT // 2
