"""Runner: the model's forward over ragged rows, in two shapes: chunks of prompts, and one token for every row."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from la_agents.engine.attention import ATTENTION, AttentionMetadata
from la_agents.engine.fused import FusedDecoder, can_fuse
from la_agents.engine.kv_cache import KeyValues, SlotCache, concatenate
from la_agents.engine.memory import return_free_memory
from la_agents.engine.static_decoder import StaticDecoder
from la_agents.errors import UnsupportedModelError

if TYPE_CHECKING:
    from la_agents.models import LoadedModel

__all__ = ["PrefillChunk", "Runner", "cache_argument"]

_KEY_MULTIPLE = 64
_WORTH_RETURNING = 2**26
"""Bytes of a slot cache from which on its memory is returned to the system when the last row leaves."""


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


class _Lane:
    """Rows side by side in one slot cache, as long as its longest; each lane is decoded by a forward of its own."""

    def __init__(self, cache: SlotCache, static: StaticDecoder | None) -> None:
        self.cache = cache
        self.static = static
        self.lengths: list[int] = []

    def remove_row(self, place: int) -> int:
        """Drop a row; the last one moves to its place. The place of the last one before."""
        last = len(self.lengths) - 1
        if place != last:
            self.cache.move(last, place, self.lengths[last])
            self.lengths[place] = self.lengths[last]
        self.lengths.pop()
        return last


class Runner:
    """Runs one model; owns the keys and values of the running rows.

    Rows are numbered 0, 1, ... in the order they joined; when rows leave, the last ones move into the gaps. Each stands
    in a lane, beside rows of like length.

    Args:
        loaded: The model; its attention is switched to the slot cache's.
        static_shapes: Decode in fixed shapes (`StaticDecoder`); None does so on CUDA, where they become graphs.
            On a CPU, a quantised model of a family that `FusedDecoder` knows is decoded by it.
    """

    def __init__(self, loaded: LoadedModel, *, static_shapes: bool | None = None) -> None:
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
        self._lanes: dict[int, _Lane] = {}
        self._places: list[tuple[_Lane, int]] = []  # a row's lane, and where it stands in it

    @property
    def num_rows(self) -> int:
        return len(self._places)

    @property
    def lengths(self) -> list[int]:
        """Tokens that each row holds."""
        return [lane.lengths[place] for lane, place in self._places]

    @property
    def has_own_threads(self) -> bool:
        """Whether the forward runs on other threads than PyTorch's, which then have only small work left."""
        return self._fused is not None

    @property
    def num_bytes(self) -> int:
        """Bytes held by keys and values of the running rows."""
        return sum(lane.cache.num_bytes for lane in self._lanes.values())

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
        cache = self._new_cache(1, num_keys)
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
        cache = self._new_cache(len(chunks), num_keys)
        ids, positions, slots = [], [], []
        for row, chunk in enumerate(chunks):
            pad = width - len(chunk.tokens)
            span = list(range(chunk.num_past, chunk.num_past + len(chunk.tokens)))
            ids.append([0] * pad + list(chunk.tokens))
            positions.append([0] * pad + span)
            slots.append([cache.scratch_slot] * pad + span)
            if chunk.past:
                cache.write(row, concatenate(chunk.past))
        metadata = AttentionMetadata(self._tensor(positions), self._tensor(slots), num_keys)
        logits = self._forward(self._tensor(ids), metadata, cache, num_logits=num_logits)
        spans = [(p.num_past, p.num_past + len(p.tokens)) for p in chunks]
        return logits, [cache.read(row, *span) for row, span in enumerate(spans)]

    @torch.inference_mode()
    def score(self, tokens: Sequence[int]) -> Tensor:
        """Logits after every token of one text [tokens, vocab]: what its likelihood is computed from."""
        return self._run([PrefillChunk(tokens, [], 0)], num_logits=0)[0][0]

    @torch.inference_mode()
    def decode(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to every row; the logits that follow, [rows, vocab]."""
        order: list[int] = []
        parts = []
        lanes = [lane for lane in self._lanes.values() if lane.lengths]
        for lane in lanes:
            rows = [row for row, (own, _) in enumerate(self._places) if own is lane]
            rows.sort(key=lambda row: self._places[row][1])
            parts.append(self._decode_lane(lane, [tokens[row] for row in rows]))
            order += rows
        for lane in lanes:  # only now: where a lane fails, all are as they were
            lane.lengths = [length + 1 for length in lane.lengths]
        logits = parts[0] if len(parts) == 1 else torch.cat(parts)
        return logits if order == list(range(self.num_rows)) else logits[self._tensor(order).argsort()]

    def _decode_lane(self, lane: _Lane, tokens: Sequence[int]) -> Tensor:
        """`decode` for the rows of one lane, in their places."""
        longest = max(lane.lengths) + 1
        lane.cache.reserve(len(lane.lengths), longest)
        if lane.static is not None:
            logits = lane.static.decode(tokens, lane.lengths, lane.cache)
        elif self._fused is not None:
            logits = self._fused.decode(self._tensor(tokens), self._tensor(lane.lengths), lane.cache.tensors)
        else:
            positions = self._tensor(lane.lengths).unsqueeze(1)
            num_keys = min(-(-longest // _KEY_MULTIPLE) * _KEY_MULTIPLE, lane.cache.num_slots)
            metadata = AttentionMetadata(positions, positions, num_keys)
            logits = self._forward_last(self._tensor(tokens).unsqueeze(1), metadata, lane.cache)
        return logits

    @torch.inference_mode()
    def decode_alone(self, rows: Sequence[int], token: int) -> Tensor:
        """`decode` for one sequence's rows apart from the others: slower, to find out whose rows make it fail.

        Room is made for these rows alone: where memory no longer suffices for the longest, only the longest fail.
        """
        lengths = self.lengths
        chunks = [PrefillChunk([token], [self.read(row, 0, lengths[row])], lengths[row]) for row in rows]
        logits, new = self.prefill(chunks)
        longest = max(lengths[row] for row in rows) + 1
        for row, key_values in zip(rows, new, strict=True):
            lane, place = self._places[row]
            lane.cache.reserve(len(lane.lengths), longest)
            lane.cache.write(place, key_values, start=lengths[row])
            lane.lengths[place] += 1
        return logits

    @torch.inference_mode()
    def add_rows(self, rows: Sequence[KeyValues], *, lane: int = 0, room_for: int = 0) -> list[int]:
        """Add rows with their prompts' keys and values; their numbers.

        Args:
            lane: Where they stand, one of a few small numbers.
            room_for: Rows there will be in it when all that are on their way have joined: many that come together are
                moved once, not each time their number doubles.
        """
        joined = self._lanes.get(lane) or self._lanes.setdefault(lane, self._new_lane())
        lengths = [key_values[0][0].shape[1] for key_values in rows]
        first, number = len(joined.lengths), self.num_rows
        joined.cache.reserve(max(first + len(rows), room_for), max([*joined.lengths, *lengths]) + 1)
        for place, key_values in enumerate(rows, start=first):
            joined.cache.write(place, key_values)
        joined.lengths += lengths
        self._places += [(joined, first + i) for i in range(len(rows))]
        return list(range(number, self.num_rows))

    @torch.inference_mode()
    def remove_rows(self, rows: Sequence[int]) -> dict[int, int]:
        """Drop rows; where the others moved, as {old number: new number}."""
        moved: dict[int, int] = {}
        origin = list(range(self.num_rows))
        for row in sorted(rows, reverse=True):
            lane, place = self._places[row]
            before = lane.remove_row(place)
            self._places = [(lane, place) if there == (lane, before) else there for there in self._places]
            last = self._places.pop()
            if row < self.num_rows:
                self._places[row] = last
                moved[origin[-1]] = row
                origin[row] = origin[-1]
            origin.pop()
        self._drop_empty_lanes()
        return moved

    def _drop_empty_lanes(self) -> None:
        for number, lane in list(self._lanes.items()):
            if lane.lengths or (lane.static is not None and number == 0):  # its graphs would be captured anew
                continue
            del self._lanes[number]
            if lane.cache.num_bytes > _WORTH_RETURNING:
                lane.cache = self._new_cache(1, 0)
                return_free_memory()

    @torch.inference_mode()
    def read(self, row: int, start: int, stop: int) -> KeyValues:
        """A copy of keys and values of a running row's tokens `start:stop`."""
        lane, place = self._places[row]
        return lane.cache.read(place, start, stop)

    @torch.inference_mode()
    def clear(self, rows: Sequence[int]) -> None:
        """Wipe rows about to leave after a failure, whose numbers may not be finite."""
        for row in rows:
            lane, place = self._places[row]
            lane.cache.clear(place)

    def reset(self) -> None:
        """Drop all rows and their memory."""
        self._lanes, self._places = {}, []

    def _new_lane(self) -> _Lane:
        return _Lane(self._new_cache(1, 0), StaticDecoder(self._forward_last) if self._has_static_shapes else None)

    def _new_cache(self, num_rows: int, num_tokens: int) -> SlotCache:
        return SlotCache(self.num_layers, num_rows, num_tokens)

    def _tensor(self, values: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(values, dtype=torch.long).to(self.device, non_blocking=True)

    def _forward_last(self, ids: Tensor, metadata: AttentionMetadata, cache: SlotCache) -> Tensor:
        """Logits after the last column [rows, vocab], float32."""
        return self._forward(ids, metadata, cache, num_logits=1)[:, -1]

    def _forward(self, ids: Tensor, metadata: AttentionMetadata, cache: SlotCache, *, num_logits: int) -> Tensor:
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
