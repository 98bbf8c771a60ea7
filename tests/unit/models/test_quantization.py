"""8-bit weights: close to float, the same for a row whoever shares its batch, and refused where they cannot work."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from la_agents.errors import ConfigurationError
from la_agents.models.quantization import Int8Linear, quantize_model, quantize_rows
from tests.tiny import FAMILIES, round_weights, tiny_model


def linear_of(in_features: int, out_features: int, *, bias: bool = True) -> nn.Linear:
    generator = torch.Generator().manual_seed(in_features)
    linear = nn.Linear(in_features, out_features, bias=bias).requires_grad_(False)
    linear.weight.copy_(torch.randn(out_features, in_features, generator=generator))
    return linear


def inputs_of(*shape: int) -> torch.Tensor:
    """Rows of very different magnitudes, each with one value that dwarfs the others, as language models have them."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    x[..., 0] *= 30
    return x * torch.logspace(-3, 3, shape[0]).view(-1, *[1] * (len(shape) - 1))


@pytest.mark.parametrize(("in_features", "out_features"), [(64, 48), (33, 7), (576, 192), (1, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_stays_close_to_float(in_features: int, out_features: int, bias: bool) -> None:
    linear, x = linear_of(in_features, out_features, bias=bias), inputs_of(9, in_features)
    got, expected = Int8Linear(linear)(x), linear(x)
    error = (got - expected).norm(dim=1) / (expected - (linear.bias if bias else 0)).norm(dim=1)
    assert error.max() < 0.04


def test_activations_are_rounded_between_their_own_bounds() -> None:
    """With weights that 8 bits hold exactly, what is left is the rounding of the activations: half a step each."""
    linear, x = linear_of(64, 32, bias=False), inputs_of(5, 64)
    linear.weight.copy_(linear.weight.mul(40).round_().clamp_(-127, 127))
    linear.weight[:, 0] = 127.0
    got = Int8Linear(linear)(x)
    step = (x.amax(dim=1, keepdim=True) - x.amin(dim=1, keepdim=True)) / 255
    bound = step / 2 * linear.weight.abs().sum(dim=1)
    error = (got - linear(x)).abs()
    assert (error <= bound * 1.01 + 1e-5 * got.abs()).all()
    assert error.max() > 0  # the bound is that of a rounding which does happen


@pytest.mark.parametrize("sign", [1, -1])
def test_a_row_on_one_side_of_zero_gets_the_whole_range(sign: int) -> None:
    x = sign * torch.rand(4, 64, generator=torch.Generator().manual_seed(3))
    quantized, scale, zero_point = quantize_rows(x)
    assert torch.allclose(scale, x.abs().amax(dim=1, keepdim=True) / 255)
    assert ((quantized - zero_point) * scale - x).abs().max() <= 0.5001 * scale.max()


@pytest.mark.parametrize("value", [3.0, -3.0, 1e-30, 1e30])
def test_a_row_of_equal_values_is_exact(value: float) -> None:
    linear = linear_of(16, 4, bias=False)
    linear.weight.fill_(1.0)
    torch.testing.assert_close(Int8Linear(linear)(torch.full((1, 16), value)), torch.full((1, 4), 16 * value))


@pytest.mark.parametrize("num_rows", [2, 3, 16, 300])
def test_a_row_is_the_same_alone_and_in_company(num_rows: int) -> None:
    layer, x = Int8Linear(linear_of(96, 40)), inputs_of(num_rows, 96)
    together = layer(x)
    for row in (0, num_rows // 2, num_rows - 1):
        assert torch.equal(layer(x[row : row + 1])[0], together[row])


def test_rows_of_zeros_give_the_bias() -> None:
    linear = linear_of(16, 4)
    assert torch.equal(Int8Linear(linear)(torch.zeros(2, 16)), linear.bias.expand(2, 4))


def test_dtype_and_leading_dimensions_are_those_of_the_input() -> None:
    out = Int8Linear(linear_of(16, 4))(torch.randn(2, 3, 5, 16, dtype=torch.bfloat16))
    assert out.shape == (2, 3, 5, 4)
    assert out.dtype == torch.bfloat16


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_model_computes_with_rounded_weights_and_keeps_rows_apart(family: str) -> None:
    model, rounded = tiny_model.__wrapped__(family).model, tiny_model.__wrapped__(family).model
    ids = torch.randint(0, model.config.vocab_size, (16, 12), generator=torch.Generator().manual_seed(1))
    round_weights(rounded)
    quantize_model(model)
    with torch.inference_mode():
        expected = rounded(ids, use_cache=False).logits
        got = model(ids, use_cache=False).logits
        alone = model(ids[3:4], use_cache=False).logits
    assert not any(type(module) is nn.Linear for module in model.modules())
    assert (got - expected).norm() / expected.norm() < 0.06  # activations' rounding, grown through random layers
    assert (alone[0] - got[3]).norm() / got[3].norm() < 0.01  # attention in another shape may turn a rounding


def test_unknown_schemes_and_models_without_linear_layers_are_refused() -> None:
    model = tiny_model.__wrapped__("llama").model
    with pytest.raises(ConfigurationError, match="'int8'"):
        quantize_model(model, "int3")
    quantize_model(model)
    with pytest.raises(ConfigurationError, match=r"nn\.Linear"):
        quantize_model(model)


def test_a_model_elsewhere_than_on_the_cpu_is_refused() -> None:
    model = tiny_model.__wrapped__("llama").model.to("meta")
    with pytest.raises(ConfigurationError, match="meta"):
        quantize_model(model)
