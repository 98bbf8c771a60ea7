"""Sampler: logits of all rows in, one token a sequence out; alignment and choice vectorised over the batch."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from la_agents import alignment
from la_agents.engine.batch import Batch, Member, describe
from la_agents.engine.candidates import candidates
from la_agents.engine.masks import Masks, grammar_masks
from la_agents.engine.sequence import Sequence
from la_agents.engine.static_decoder import GraphCapture
from la_agents.requests import Alignment, Request, Sampling, TokenRecord

__all__ = ["Sampler", "Started"]

_log = logging.getLogger(__name__)

_SEQUENCES_IN_CACHE = 4
_MAX_GRAPHS = 64
_USUAL: tuple[tuple[int, dict[str, Any], dict[str, Any]], ...] = (
    (0, {}, {}),
    (1, {}, {}),
    (2, {}, {}),
    (1, {"max_divergence": 0.5}, {}),
    (1, {"method": "linear"}, {}),
    (1, {}, {"temperature": 0.7, "top_p": 0.9, "seed": 0}),
)
"""Numbers of branches and settings whose kernels are compiled before the first request."""


@dataclass(frozen=True)
class _Step:
    """What one step gives, on the device.

    Attributes:
        tokens: [S].
        table: [S, 6 + K], float64, which holds token ids exactly: token, the reference's, nan for numbers that are not
            finite, divergence, scale, cost, contributions.
        final: [S, vocab], what is decoded, -inf outside the support; None if all are greedy and nobody asked for it.
        allowed: [S, vocab], the reference's, -inf outside the grammar.
    """

    tokens: Tensor
    table: Tensor
    final: Tensor | None
    allowed: Tensor


@dataclass(frozen=True)
class Started:
    """A step that may not have ended yet."""

    batch: Batch
    step: _Step
    table: Callable[[], Tensor]  # on the host, once it is there

    @property
    def tokens(self) -> Tensor:
        """The chosen ones, on the device; the next step may overwrite them."""
        return self.step.tokens


class _Graph:
    """A step for one kind of batch as a CUDA graph over logits at one address."""

    def __init__(self, logits: Tensor, batch: Batch, inputs: Tensor | None, capture: GraphCapture) -> None:
        self._batch = self._holds = batch
        self._inputs = None if inputs is None else inputs.to(logits.device)
        self._replay: Callable[[], _Step] = capture(lambda: _compute(logits, batch, None, self._inputs))

    def run(self, batch: Batch, inputs: Tensor | None) -> _Step:
        if batch is not self._holds:
            for own, new in zip(self._batch.tensors, batch.tensors, strict=True):
                own.copy_(new)
            self._holds = batch
        if self._inputs is not None and inputs is not None:
            self._inputs.copy_(inputs, non_blocking=True)
        return self._replay()


class Sampler:
    """Chooses each sequence's next token; remembers the tensors that describe the batch while it stays the same."""

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._batches: list[Batch] = []
        self._graphs: OrderedDict[tuple[Any, ...], _Graph | None] = OrderedDict()
        self._capture = GraphCapture()

    def prepare(self, vocab: int, device: torch.device) -> None:
        """On a GPU, compile what steps of the usual settings take: a minute on a new machine, cached from then on."""
        if device.type != "cuda":
            return
        _log.info("compiling the sampler's kernels: up to a minute on a new machine, cached from then on")
        alignment.compile_kernels(device.type)
        with torch.inference_mode():
            for number in (3, 1):  # several and one are compiled apart; three, since there are two branches as well
                for branches, how, sampling in _USUAL:
                    request = Request(
                        reference=(0,),
                        branches=((0,),) * branches,
                        weights=(1.0,) * branches,
                        sampling=Sampling(**sampling),
                        alignment=Alignment(**how),
                    )
                    width = 1 + branches
                    rows = [(Sequence(request), range(i * width, (i + 1) * width)) for i in range(number)]
                    # Once among rows of others, which have just ended.
                    for others in (0, 1):
                        self.sample(torch.zeros(number * width + others, vocab, device=device), rows)

    def sample(self, logits: Tensor, rows: SequenceOf[tuple[Sequence, SequenceOf[int]]]) -> list[TokenRecord]:
        """`start` and `finish`: one record a sequence, in order."""
        return self.finish(self.start(logits, rows))

    def start(
        self, logits: Tensor, rows: SequenceOf[tuple[Sequence, SequenceOf[int]]], *, stays: bool = False
    ) -> list[Started]:
        """Choose each sequence's token; on a GPU what is returned may not be there yet.

        Args:
            logits: [rows, vocab], float32.
            rows: For each sequence, where its rows are: the reference first, then its branches.
            stays: Whether logits of the next steps will be at the same address, so that a graph is worth capturing.
        """
        members = [(sequence, tuple(numbers)) for sequence, numbers in rows]
        if members != self._members:
            # On a CPU a few sequences at a time: what lies between two operations then stays in the processor's cache.
            size = len(members) if logits.is_cuda else _SEQUENCES_IN_CACHE
            parts = [members[i : i + size] for i in range(0, len(members), size)]
            self._batches = [describe(part, logits.device) for part in parts]
            self._members = members
        masks = grammar_masks([batch.members for batch in self._batches], logits)
        started = []
        for batch, mask in zip(self._batches, masks, strict=True):
            step = self._step(logits, batch, mask, stays=stays and logits.is_cuda)
            started.append(Started(batch, step, _to_host(step.table)))
        return started

    def _step(self, logits: Tensor, batch: Batch, masks: Masks | None, *, stays: bool) -> _Step:
        inputs = batch.inputs()
        if not stays or masks is not None:
            return _compute(logits, batch, masks, None if inputs is None else inputs.to(logits.device))
        key = (*batch.signature, logits.data_ptr(), len(logits))
        graph = self._graphs.get(key)
        if graph is not None:
            self._graphs.move_to_end(key)
            return graph.run(batch, inputs)
        if key in self._graphs:  # met before: it may be met again
            graph = self._graphs[key] = _Graph(logits, batch, inputs, self._capture)
            return graph.run(batch, inputs)
        self._graphs[key] = None
        while len(self._graphs) > _MAX_GRAPHS:
            self._graphs.popitem(last=False)
        return _compute(logits, batch, None, None if inputs is None else inputs.to(logits.device))

    @staticmethod
    def finish(steps: SequenceOf[Started]) -> list[TokenRecord]:
        """The records of what `start` returned, in order of the sequences."""
        return [record for started in steps for record in _records(started.batch, started.step, started.table())]


def _to_host(table: Tensor) -> Callable[[], Tensor]:
    """Start the one transfer to the host; who waits for it does not wait for what is started after it."""
    if not table.is_cuda:
        return lambda: table
    host = torch.empty(table.shape, dtype=table.dtype, pin_memory=True).copy_(table, non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record(torch.cuda.current_stream(table.device))

    def wait() -> Tensor:
        arrived.synchronize()
        return host

    return wait


def _records(batch: Batch, step: _Step, host: Tensor) -> list[TokenRecord]:
    table = host.tolist()
    listed = {}
    if step.final is not None:
        listed = candidates(step.final, step.allowed, batch.temperature, step.tokens, batch.explained)
    records = []
    for i, ((sequence, _), (token, own, nan, kl, s, cost, *rest)) in enumerate(zip(batch.members, table, strict=True)):
        if sequence.fluency is not None and math.isfinite(cost):
            sequence.fluency.spend(cost)
        contributions = tuple(rest[: sequence.num_rows - 1])
        records.append(TokenRecord(int(token), int(own), kl + nan, s, contributions, listed.get(i, ())))
    return records


def _compute(logits: Tensor, batch: Batch, masks: Masks | None, inputs: Tensor | None) -> _Step:
    """One step; on a GPU it never waits for what it computes."""
    regular = batch.regular(logits)
    reference = logits.index_select(0, batch.reference) if regular is None else regular[:, 0]
    allowed = reference
    if masks is not None:
        allowed = reference.masked_fill(masks.forbidden, float("-inf"))
    step, facts = None, logits.new_zeros((len(batch.members), 3))
    if batch.aligned.numel():
        step = batch.align(logits, reference, masks, inputs)
    final = _final(step, allowed, batch)
    tokens, reference_tokens = _choose(step, final, allowed, batch, inputs)
    if step is not None:
        at = None if batch.all_aligned else batch.aligned
        chosen, greedy = (x if at is None else x.index_select(0, at) for x in (tokens, batch.greedy))
        facts = step.facts(chosen, batch.weights, greedy if batch.any_fluency else None)
        if at is not None:
            facts = logits.new_zeros((len(batch.members), facts.shape[1])).index_copy(0, at, facts)
    whose, rows = (logits, batch.rows) if regular is None else (regular, None)
    return _Step(tokens, _table(whose, rows, tokens, reference_tokens, facts), final, allowed)


@alignment.kernel
def _table(logits: Tensor, rows: Tensor | None, tokens: Tensor, others: Tensor, facts: Tensor) -> Tensor:
    peaks = logits.amax(dim=-1)
    own = peaks if rows is None else peaks[rows]
    # A sequence whose logits are not finite shows it as a divergence of nan: 0 * inf and 0 * nan are nan.
    columns = [tokens, others, (0 * own).sum(dim=-1)]
    return torch.cat([torch.stack([column.double() for column in columns], dim=1), facts.double()], dim=1)


def _final(step: alignment.Step | None, reference: Tensor, batch: Batch) -> Tensor | None:
    """What is decoded, [S, vocab]; None where the likeliest tokens say all that is asked."""
    if batch.all_greedy and not batch.explained:
        return None
    if step is None:
        return reference
    return step.whole() if batch.all_aligned else reference.index_copy(0, batch.aligned, step.whole())


def _choose(
    step: alignment.Step | None, final: Tensor | None, reference: Tensor, batch: Batch, inputs: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The chosen tokens [S], and what the reference alone would have chosen with the same randomness [S]."""
    alone = alignment.likeliest(reference)
    tokens = alone
    if step is not None:
        tokens = step.likeliest() if batch.all_aligned else alone.index_copy(0, batch.aligned, step.likeliest())
    if batch.all_greedy or inputs is None or final is None:
        return tokens, alone
    first, second = inputs[:, 0], inputs[:, 1]
    top_p = None if alignment.all_are(batch.top_p, 1.0) else batch.top_p
    pi = alignment.sampled_from(final, top_p, batch.temperature)
    if step is None:
        tokens = torch.where(batch.greedy, tokens, alignment.draw(pi, first))
        return tokens, tokens
    drawn, other = alignment.coupled(pi, alignment.sampled_from(reference, top_p, batch.temperature), first, second)
    return torch.where(batch.greedy, tokens, drawn), torch.where(batch.greedy, alone, other)
