"""The fused decoder gives the logits of the model it was made from, in place in the slot cache, row by row."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from la_agents.engine.fused import FusedDecoder, can_fuse
from la_agents.engine.runner import cache_argument
from la_agents.models.quantization import quantize_model
from tests.tiny import round_weights, tiny_model

FUSED = ("llama", "mistral", "qwen2")
LENGTHS = (5, 37, 21)  # mistral's window of 16 tokens lies within the longer ones
NUM_STEPS = 3
NUM_SLOTS = 64


@functools.cache
def quantized_model(family: str) -> PreTrainedModel:
    model = tiny_model.__wrapped__(family).model
    quantize_model(model)
    return model


@functools.cache
def rounded_model(family: str) -> PreTrainedModel:
    """The same with its 8-bit weights in float: nothing else is rounded."""
    model = tiny_model.__wrapped__(family).model
    round_weights(model)
    return model


@functools.cache
def decoder_of(family: str, round_activations: bool = True) -> FusedDecoder:
    return FusedDecoder(quantized_model(family), num_threads=2, round_activations=round_activations)


def texts_of(family: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    vocab_size = quantized_model(family).config.vocab_size
    return [torch.randint(0, vocab_size, (length + NUM_STEPS,), generator=generator) for length in LENGTHS]


@torch.inference_mode()
def prefilled(family: str, num_rows: int) -> list[tuple[Tensor, Tensor]]:
    """A slot cache with one spare row, the texts' beginnings in it."""
    config = quantized_model(family).config
    shape = (num_rows + 1, config.num_key_value_heads, NUM_SLOTS, config.hidden_size // config.num_attention_heads)
    layers = [(torch.zeros(shape), torch.zeros(shape)) for _ in range(config.num_hidden_layers)]
    for row, (text, length) in enumerate(zip(texts_of(family)[:num_rows], LENGTHS, strict=False)):
        past = DynamicCache()  # without a configuration: it keeps what lies outside the window too
        model = rounded_model(family)
        model(text[None, :length], use_cache=True, **{cache_argument(model): past})
        for (keys, values), computed in zip(layers, past.layers, strict=True):
            keys[row, :, :length], values[row, :, :length] = computed.keys[0], computed.values[0]
    return layers


def decode(
    family: str, rows: list[int], layers: list[tuple[Tensor, Tensor]], step: int, *, round_activations: bool = True
) -> Tensor:
    ids = torch.tensor([int(texts_of(family)[row][LENGTHS[row] + step]) for row in rows])
    lengths = torch.tensor([LENGTHS[row] + step for row in rows])
    return decoder_of(family, round_activations).decode(ids, lengths, layers)


@pytest.mark.parametrize(("round_activations", "tolerance"), [(False, 2e-3), (True, 0.15)])
@pytest.mark.parametrize("family", FUSED)
def test_logits_are_those_of_the_model(family: str, round_activations: bool, tolerance: float) -> None:
    """The tiny models are random, so rounding grows through their layers; without it the same graph is exact."""
    layers = prefilled(family, num_rows=3)
    with torch.inference_mode():
        expected = [rounded_model(family)(text[None], use_cache=False).logits[0] for text in texts_of(family)]
    for step in range(NUM_STEPS):
        logits = decode(family, [0, 1, 2], layers, step, round_activations=round_activations)
        for row, length in enumerate(LENGTHS):
            wanted = expected[row][length + step]
            assert (logits[row] - wanted).norm() / wanted.norm() < tolerance


@pytest.mark.parametrize("family", FUSED)
def test_a_row_is_the_same_alone_and_in_company(family: str) -> None:
    together, alone = prefilled(family, num_rows=3), prefilled(family, num_rows=3)
    for step in range(NUM_STEPS):
        expected = decode(family, [0, 1, 2], together, step)
        for row in range(3):
            mine = [(keys[row : row + 1], values[row : row + 1]) for keys, values in alone]
            torch.testing.assert_close(decode(family, [row], mine, step)[0], expected[row], rtol=1e-5, atol=1e-4)


def test_only_the_new_slot_of_each_row_changes() -> None:
    layers = prefilled("llama", num_rows=3)
    before = [keys.clone() for keys, _ in layers]
    decode("llama", [0, 1, 2], layers, 0)
    for (keys, _), old in zip(layers, before, strict=True):
        changed = (keys != old).any(dim=-1).any(dim=1)
        assert [row.nonzero().flatten().tolist() for row in changed] == [[length] for length in LENGTHS] + [[]]


@pytest.mark.parametrize("family", FUSED)
def test_quantised_models_of_known_families_can_be_fused(family: str) -> None:
    assert can_fuse(quantized_model(family))
    assert not can_fuse(tiny_model(family).model)


@pytest.mark.parametrize("family", ["qwen3", "pythia", "gemma"])
def test_other_families_cannot(family: str) -> None:
    assert not can_fuse(quantized_model(family))


@pytest.mark.parametrize("pieces", [[24], [1, 23], [7, 5, 12], [20, 1, 3]])
@pytest.mark.parametrize("family", FUSED)
def test_a_prompt_in_pieces_gives_the_logits_of_the_model(family: str, pieces: list[int]) -> None:
    """In one row, from the first token on and after others; longer than mistral's window."""
    decoder, text = decoder_of(family, round_activations=False), texts_of(family)[1][: sum(pieces)]
    with torch.inference_mode():
        expected = rounded_model(family)(text[None], use_cache=False).logits[0]
    shape = (1, decoder.num_key_heads, NUM_SLOTS, decoder.head_dim)
    layers = [(torch.zeros(shape), torch.zeros(shape)) for _ in range(rounded_model(family).config.num_hidden_layers)]
    done = 0
    for size in pieces:
        logits = decoder.extend(text[done : done + size], done, layers, all_logits=True)
        wanted = expected[done : done + size]
        assert (logits - wanted).norm() / wanted.norm() < 2e-3
        done += size
    last = decoder.extend(text[-1:], done - 1, layers)
    assert (last[0] - expected[-1]).norm() / expected[-1].norm() < 2e-3
