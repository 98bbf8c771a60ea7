"""Runner: the model's forward over ragged rows, in two shapes: chunks of prompts, and one token for every row."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from la_agents.engine.attention import ATTENTION, AttentionMetadata
from la_agents.engine.fused import FusedDecoder, can_fuse
from la_agents.engine.kv_cache import KeyValues, SlotCache, concatenate
from la_agents.engine.lanes import Lane, Lanes
from la_agents.engine.llama import LlamaDecoder, can_decode
from la_agents.engine.pooled_rows import PooledRows
from la_agents.engine.static_decoder import StaticDecoder
from la_agents.engine.token_pool import TokenPool
from la_agents.errors import UnsupportedModelError

if TYPE_CHECKING:
    from la_agents.models import LoadedModel

__all__ = ["PrefillChunk", "Runner", "cache_argument"]

_KEY_MULTIPLE = 64


def cache_argument(model: nn.Module) -> str:
    """What the model's forward calls its cache: `past_key_values` in transformers up to 5.23, `cache` from then on."""
    parameters = inspect.signature(model.forward).parameters
    return "cache" if "cache" in parameters else "past_key_values"


@dataclass
class PrefillChunk:
    """Tokens to run after `past`, which covers everything before them in the same row."""

    tokens: Sequence[int]
    past: list[KeyValues]
    num_past: int


class Runner:
    """Runs one model; owns the keys and values of the running rows.

    Rows are numbered 0, 1, ... in the order they joined; when rows leave, the last ones move into the gaps. On a CPU
    each stands in a lane, beside rows of like length (`Lanes`), and a quantised model of a family that `FusedDecoder`
    knows is decoded by it. On a GPU all stand in one pool (`PooledRows`).

    Args:
        loaded: The model; its attention is switched to the engine's.
        num_tokens: What the pool of running rows holds.
        static_shapes: Decode in fixed shapes (`StaticDecoder`); None does so on CUDA, where they become graphs.
    """

    def __init__(self, loaded: LoadedModel, *, num_tokens: int = 131_072, static_shapes: bool | None = None) -> None:
        self.model = loaded.model
        self.device = loaded.device
        if not getattr(self.model, "_supports_attention_backend", False):
            msg = (
                f"Expected a model that follows transformers' attention interface, got {type(self.model).__name__}; "
                "use a decoder such as Llama, Qwen, Gemma, Mistral or GPT-NeoX."
            )
            raise UnsupportedModelError(msg)
        self.model.set_attn_implementation(ATTENTION)
        self.num_layers = int(self.model.config.get_text_config().num_hidden_layers)
        self._cache_argument = cache_argument(self.model)
        self._has_static_shapes = self.device.type == "cuda" if static_shapes is None else static_shapes
        self._fused = FusedDecoder(self.model) if not self._has_static_shapes and can_fuse(self.model) else None
        self._num_tokens = num_tokens

    @functools.cached_property
    def _rows(self) -> Lanes | PooledRows:
        if not self._has_static_shapes:
            return Lanes(self.num_layers, self._decode_lane)
        decoder = LlamaDecoder(self.model) if can_decode(self.model) else None
        static = StaticDecoder(self._forward_last if decoder is None else decoder, self.device)
        return PooledRows(self.num_layers, self._num_tokens, static)

    def prepare(self) -> None:
        """Make what decoding needs; on a GPU kernels are compiled, which takes some 20 seconds on a new machine."""
        _ = self._rows

    @property
    def num_rows(self) -> int:
        return len(self._rows.lengths)

    @property
    def lengths(self) -> list[int]:
        """Tokens that each row holds."""
        return self._rows.lengths

    @property
    def is_asynchronous(self) -> bool:
        """Whether `decode` returns before its logits are there, so that the host has time for other things."""
        return self._has_static_shapes

    @property
    def has_own_threads(self) -> bool:
        """Whether the forward runs on other threads than PyTorch's, which then have only small work left."""
        return self._fused is not None

    @property
    def num_bytes(self) -> int:
        """Bytes held by keys and values of the running rows."""
        return self._rows.num_bytes

    @torch.inference_mode()
    def prefill(self, chunks: Sequence[PrefillChunk]) -> tuple[Tensor, list[KeyValues]]:
        """Run chunks of prompts side by side.

        Returns:
            The logits after each chunk's last token [chunks, vocab], and each chunk's own keys and values.
        """
        logits, new = self._run(chunks, num_logits=1)
        return logits[:, -1], new

    @torch.inference_mode()
    def continue_with(self, chunks: Sequence[PrefillChunk]) -> Tensor:
        """The logits after every token of the chunks, [chunks, longest, vocab]; shorter ones stand at the end."""
        return self._run(chunks, num_logits=0)[0]

    def _run(self, chunks: Sequence[PrefillChunk], *, num_logits: int) -> tuple[Tensor, list[KeyValues]]:
        """Logits after the last token of each chunk, or after all with `num_logits=0`; each chunk's keys and values."""
        if self._fused is None:
            return self._run_together(chunks, num_logits=num_logits)
        done = [self._extend(chunk, all_logits=num_logits == 0) for chunk in chunks]
        width = max(len(logits) for logits, _ in done)
        padded = [nn.functional.pad(logits, (0, 0, width - len(logits), 0)) for logits, _ in done]
        return torch.stack(padded), [key_values for _, key_values in done]

    def _extend(self, chunk: PrefillChunk, *, all_logits: bool) -> tuple[Tensor, KeyValues]:
        """One chunk alone: products whose weights are packed once gain nothing from the tokens of several."""
        assert self._fused is not None
        num_keys = chunk.num_past + len(chunk.tokens)
        cache = SlotCache(self.num_layers, 1, num_keys)
        cache.allocate(self._fused.num_key_heads, self._fused.head_dim)
        if chunk.past:
            cache.write(0, concatenate(chunk.past))
        tokens = self._tensor(chunk.tokens)
        logits = self._fused.extend(tokens, chunk.num_past, cache.tensors, all_logits=all_logits)
        return logits, cache.read(0, chunk.num_past, num_keys)

    def _run_together(self, chunks: Sequence[PrefillChunk], *, num_logits: int) -> tuple[Tensor, list[KeyValues]]:
        """Chunks are aligned at their ends; padding comes first and writes to the scratch slot, which is never read."""
        width = max(len(p.tokens) for p in chunks)
        num_keys = max(p.num_past + len(p.tokens) for p in chunks)
        pool = TokenPool(self.num_layers, len(chunks) * num_keys)
        ids, positions, slots = [], [], []
        for row, chunk in enumerate(chunks):
            pad, start = width - len(chunk.tokens), row * num_keys
            span = range(chunk.num_past, chunk.num_past + len(chunk.tokens))
            ids.append([0] * pad + list(chunk.tokens))
            positions.append([0] * pad + list(span))
            slots.append([pool.scratch_slot] * pad + [start + position for position in span])
            if chunk.past:
                pool.write(start, concatenate(chunk.past))
        metadata = AttentionMetadata(self._tensor(positions), self._tensor(slots), num_keys)
        logits = self._forward(self._tensor(ids), metadata, pool, num_logits=num_logits)
        ends = [(row * num_keys + p.num_past, len(p.tokens)) for row, p in enumerate(chunks)]
        return logits, [pool.read(start, start + n) for start, n in ends]

    @torch.inference_mode()
    def score(self, tokens: Sequence[int]) -> Tensor:
        """Logits after every token of one text [tokens, vocab]: what its likelihood is computed from."""
        return self._run([PrefillChunk(tokens, [], 0)], num_logits=0)[0][0]

    @torch.inference_mode()
    def decode(self, tokens: Sequence[int] | Tensor) -> Tensor:
        """Append one token to every row; the logits that follow, [rows, vocab]."""
        return self._rows.decode(tokens)

    def _decode_lane(self, lane: Lane, tokens: Sequence[int]) -> Tensor:
        """`decode` for the rows of one lane, in their places."""
        if self._fused is not None:
            return self._fused.decode(self._tensor(tokens), self._tensor(lane.lengths), lane.cache.tensors)
        positions = self._tensor(lane.lengths).unsqueeze(1)
        num_keys = min(-(-(max(lane.lengths) + 1) // _KEY_MULTIPLE) * _KEY_MULTIPLE, lane.cache.num_slots)
        metadata = AttentionMetadata(positions, positions, num_keys)
        return self._forward_last(self._tensor(tokens).unsqueeze(1), metadata, lane.cache)

    @torch.inference_mode()
    def decode_alone(self, rows: Sequence[int], token: int) -> Tensor:
        """`decode` for one sequence's rows apart from the others: slower, to find out whose rows make it fail.

        Room is made for these rows alone: where memory no longer suffices for the longest, only the longest fail.
        """
        lengths = self.lengths
        chunks = [PrefillChunk([token], [self.read(row, 0, lengths[row])], lengths[row]) for row in rows]
        logits, new = self.prefill(chunks)
        for row, key_values in zip(rows, new, strict=True):
            self._rows.append(row, key_values)
        return logits

    @torch.inference_mode()
    def add_rows(
        self, rows: Sequence[KeyValues], *, lane: int = 0, room_for: int = 0, capacity: int | None = None
    ) -> list[int]:
        """Add rows with their prompts' keys and values; their numbers.

        Args:
            lane: Where they stand on a CPU, one of a few small numbers.
            room_for: Rows there will be in it when all that are on their way have joined: many that come together are
                moved once, not each time their number doubles.
            capacity: Tokens that each may come to hold; None for one more than it has.
        """
        first = len(self._rows.lengths)
        longest = max(key_values[0][0].shape[1] for key_values in rows)
        self._rows.add(rows, lane=lane, room_for=room_for, capacity=capacity or longest + 1)
        return list(range(first, first + len(rows)))

    @torch.inference_mode()
    def remove_rows(self, rows: Sequence[int]) -> dict[int, int]:
        """Drop rows; where the others moved, as {old number: new number}."""
        return self._rows.remove(rows)

    @torch.inference_mode()
    def read(self, row: int, start: int, stop: int) -> KeyValues:
        """A copy of keys and values of a running row's tokens `start:stop`."""
        return self._rows.read(row, start, stop)

    @torch.inference_mode()
    def clear(self, rows: Sequence[int]) -> None:
        """Wipe rows about to leave after a failure, whose numbers may not be finite."""
        for row in rows:
            self._rows.clear(row)

    def reset(self) -> None:
        """Drop all rows and their memory."""
        self.__dict__.pop("_rows", None)

    def _tensor(self, values: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(values, dtype=torch.long).to(self.device, non_blocking=True)

    def _forward_last(self, ids: Tensor, metadata: AttentionMetadata, cache: SlotCache | TokenPool) -> Tensor:
        """Logits after the last column [rows, vocab], float32."""
        return self._forward(ids, metadata, cache, num_logits=1)[:, -1]

    def _forward(
        self, ids: Tensor, metadata: AttentionMetadata, cache: SlotCache | TokenPool, *, num_logits: int
    ) -> Tensor:
        """Logits after the last `num_logits` columns, all of them if 0, [rows, n, vocab], float32."""
        cache.metadata = metadata
        out = self.model(
            input_ids=ids,
            position_ids=metadata.positions,
            use_cache=True,
            logits_to_keep=num_logits,
            metadata=metadata,
            **{self._cache_argument: cache},
        )
        logits: Tensor = out.logits.float()
        return logits
