"""Answer: one request on its way through a server: its tokens so far, their text, its grammar, and how it ends.

What the local engine does with a token once it is chosen happens here, on the client's side: text, stop strings, and
the end of a grammar's text before `max_tokens`, which may need no server any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from la_agents.engine.detokenizer import Detokenizer
from la_agents.engine.repetition import is_loop
from la_agents.requests import Chunk, Completion, Generation, Request, TokenRecord

if TYPE_CHECKING:
    from la_agents.engine.constraint import Constraint
    from la_agents.vllm.server import Server

__all__ = ["Answer"]


class Answer:
    """State of one answer.

    Attributes:
        generation: Its caller's end.
        records: Of the tokens so far.
    """

    def __init__(
        self, request: Request, generation: Generation, server: Server, constraint: Constraint | None, max_tokens: int
    ) -> None:
        self.request = request
        self.generation = generation
        self.records: list[TokenRecord] = []
        self._ends = server.eos_token_ids
        self._decode = server.tokenizer.decode
        self._constraint = constraint
        self._max_tokens = max_tokens
        # A grammar lets no special tokens through but those that it asks for: what tool calls are marked with.
        self._detokenizer = Detokenizer(
            server.tokenizer, request.sampling.stop, skip_special_tokens=request.grammar is None
        )
        self._num_cached_tokens = 0

    def note(self, about: Mapping[str, Any]) -> None:
        """What the server says of the request as a whole."""
        self._num_cached_tokens = int(about.get("cached", self._num_cached_tokens))

    def extend(self, record: TokenRecord) -> str | None:
        """Give a token to the caller; why the answer ends with it, if it does.

        Raises:
            IncompleteAnswerError: `max_tokens` do not suffice for the grammar.
        """
        reason = self._extend(record)
        while reason is None and self._constraint is not None and self._constraint.cut_short:
            reason = self._extend(record)  # the rest is the grammar's, whatever the model would say
        return reason

    def _extend(self, record: TokenRecord) -> str | None:
        constraint = self._constraint
        is_cut = constraint is not None and constraint.cut_short
        if not is_cut and record.token_id in self._ends:
            return "stop"
        followed = record if constraint is None else constraint.follow(record)
        if followed is None:
            return "length"
        if constraint is not None and constraint.structured:
            self._detokenizer.ignore_stops()
        self.records.append(followed)
        self.generation.post(Chunk(self._detokenizer.push(followed.token_id), followed))
        if self._detokenizer.stopped:
            return "stop"
        if constraint is not None and constraint.complete:
            return "length" if constraint.cut_short else "stop"
        if len(self.records) >= self._max_tokens:
            return "length"
        if constraint is None and self.request.sampling.stop_repetition and is_loop(self.records, self._decode):
            return "repetition"
        return None

    def completion(self, reason: str) -> Completion:
        """The finished answer."""
        prompts = self.request.prompts
        return Completion(
            tail=self._detokenizer.flush(),
            finish_reason=reason,
            records=tuple(self.records),
            num_rows=len(prompts),
            num_prompt_tokens=len(self.request.reference),
            num_computed_tokens=sum(map(len, prompts)) - self._num_cached_tokens,
            num_cached_tokens=self._num_cached_tokens,
        )
