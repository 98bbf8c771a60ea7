"""Calls: from a face's settings and a call's arguments to a request for an engine, and from its answer to metadata.

Knows the store, the prompts and the protocol of engines, and brings them together; knows no LangChain result type.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from la_agents.calibration import Calibration, shipped_calibration
from la_agents.calls.batches import asubmit, submit
from la_agents.calls.settings import CALL_SETTINGS, alignment_of, sampling_of
from la_agents.errors import GenerationError
from la_agents.principles import Principle, as_principles, digest
from la_agents.prompts.tokenization import check_text
from la_agents.report.building import alignment_report
from la_agents.requests import Request, common_prefix
from la_agents.structure.structure import Structure
from la_agents.structure.structured_output import schema_of
from la_agents.users import find_user, resolve_user

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from la_agents.calls.runtime import Ready
    from la_agents.calls.settings import Personalized
    from la_agents.prompts.builder import Placing, Prompts
    from la_agents.prompts.call_format import CallFormat
    from la_agents.requests import Completion, Engine, Generation, Grammar

__all__ = ["AlignedCall", "CallBuilder", "Rendering", "last_human_text"]

_UNKEYED = {"model", "timeout"}  # the model is in the key by its fingerprint


class Rendering(NamedTuple):
    """The prompts of a call as the model sees them: without principles, and one text a branch."""

    reference: str
    principle_prompts: list[str]


@dataclass(frozen=True)
class AlignedCall:
    """One call on its way: what to ask the engine for, and what the answer's report needs beside it.

    Attributes:
        call_format: How tool calls stand in the answer, if it may hold any.
    """

    engine: Engine
    request: Request
    principles: tuple[Principle, ...]
    prompts: Prompts
    structure: Structure | None = None
    call_format: CallFormat | None = None

    def submit(self) -> Generation:
        """Put it in the engine's queue; the caller cancels the generation when it is not needed any more."""
        return submit(self._queue)

    async def asubmit(self) -> Generation:
        """`submit` for tasks, which may be cancelled meanwhile."""
        return await asubmit(self._queue)

    def _queue(self) -> Generation:
        return self.engine.submit(self.request)

    def metadata(self, completion: Completion) -> dict[str, Any]:
        """`response_metadata` of the finished answer.

        Raises:
            GenerationError: it was cut off, with the batch that it belonged to.
        """
        if completion.finish_reason == "cancelled":
            msg = "Expected a whole answer, it was cancelled while it was written; ask again."
            raise GenerationError(msg)
        report = alignment_report(
            completion,
            self.request.alignment,
            self.principles,
            self.prompts.branch_principles,
            self.prompts.weights,
            tokenizer=self.engine.tokenizer if self.request.list_candidates else None,
        )
        report["scope"] = "answer" if self.structure is None else self.structure.alignment_scope
        return {"finish_reason": completion.finish_reason, "model_name": self.engine.name, "alignment": report}


@dataclass(frozen=True)
class CallBuilder:
    """One call of a face, with all that has to be looked up for it: its settings, its user and its principles.

    Attributes:
        settings: The face's and the call's own, checked.
        user: Whose call it is, or None.
        principles: The constructor's or the call's own, then the user's that matter to the query.
        structure: What the answer may hold besides free text.
        structure_arguments: The arguments that say so.
    """

    face: Personalized = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    user: str | None
    principles: tuple[Principle, ...] = field(repr=False)
    structure: Structure | None = None
    structure_arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        face: Personalized,
        arguments: Mapping[str, Any],
        stop: Sequence[str] | None = None,
        *,
        query: str | None = None,
        structure: Mapping[str, Any] | None = None,
    ) -> CallBuilder:
        """Check the arguments of a call, then look up its user's preferences.

        Args:
            face: Whose settings count where the call says nothing.
            arguments: The call's own, without those of `structure`.
            stop: LangChain's argument of that name.
            query: What preferences are matched against; None: the user's preferences do not count.
            structure: Arguments of tools and formats.

        Raises:
            ConfigurationError: an argument is unknown or not of its kind; it is named.
            UserNotSpecifiedError: a store is set, no user is named, and anonymous calls are not allowed.
            PromptError: the query is no text that can be written down.
        """
        settings = face.call_settings(arguments, stop)
        sampling_of(settings), alignment_of(settings)
        given = arguments.get("principles")
        principles = as_principles(face.principles if given is None else given)
        user = find_user(arguments.get("user_id"), default=face.user_id)
        asked = None if structure is None else Structure.of(structure, aligned=False)
        builder = cls(face, settings, user, principles, asked, structure or {})
        return builder if query is None else replace(builder, principles=(*principles, *builder._preferred(query)))

    @cached_property
    def ready(self) -> Ready:
        """The engine and the prompt builder; loads the model, if it is to be loaded here."""
        return self.face.ready(self.settings)

    def build(self, source: Sequence[BaseMessage] | str) -> AlignedCall:
        """The call for `source`: messages, or plain text."""
        sampling, structure, prompts_of = sampling_of(self.settings), self.structure, self.ready.builder
        # Where nothing of the answer is aligned, the branches would be computed for nothing.
        applied = () if structure is not None and structure.whole and not structure.aligned else self.principles
        strength, placings = self._guidance(applied)
        prompts = self._prompts(source, applied, placings)
        request = Request(
            reference=prompts.reference.token_ids,
            branches=tuple(branch.token_ids for branch in prompts.branches),
            weights=prompts.weights,
            sampling=replace(sampling, stop=(*sampling.stop, *prompts_of.stop)),
            alignment=alignment_of({**self.settings, "strength": strength}),
            timeout=self.settings["timeout"],
            salt=self.user,
            num_public_tokens=_num_public_tokens(prompts_of.frame, prompts),
            list_candidates=self.settings["explain"],
            grammar=self._grammar(),
        )
        calls = None if structure is None or structure.box is None else prompts_of.call_format
        return AlignedCall(self.ready.engine, request, self.principles, prompts, structure, calls)

    def render(self, source: Sequence[BaseMessage] | str) -> Rendering:
        """The prompts for `source`, as text."""
        prompts = self._prompts(source, self.principles, self._guidance(self.principles)[1])
        return Rendering(prompts.reference.text, [branch.text for branch in prompts.branches])

    @cached_property
    def cache_key(self) -> str:
        """What an answer depends on beside its prompt, as a digest: it holds no user's text.

        Equal arguments give equal keys, whether they come from the constructor, a binding or the call. Each user has
        their own keys, so that response times tell no one what another user asked.
        """
        face, structure = self.face, self.structure_arguments
        parts = {
            "model": self.ready.fingerprint,
            "user": self.user,
            "principles": digest(self.principles),
            "placement": face.placement,
            "calibration": self._calibration.digest,
            "wording": None if face.wording is None else asdict(face.wording),
            "structure": {name: value for name, value in sorted(structure.items()) if value is not None},
            **{name: self.settings[name] for name in CALL_SETTINGS if name not in _UNKEYED},
        }
        text = json.dumps([type(face).__name__, parts], default=_plain)
        return f"la_agents:{hashlib.sha256(text.encode()).hexdigest()}"

    def _preferred(self, query: str) -> list[Principle]:
        """The user's preferences that matter to `query`."""
        check_text(query)
        face = self.face
        store = face.setting("preferences")
        if store is None or (self.user is None and face.setting("allow_anonymous")):
            return []
        user = resolve_user(self.user)
        # The store takes None for "any relevance", so its default has to be left to it.
        relevance, max_tokens = face.setting("min_relevance"), face.setting("max_principle_tokens")
        limit: dict[str, Any] = {} if relevance is None else {"min_relevance": relevance}
        if max_tokens is not None:
            limit |= {"max_tokens": max_tokens, "count_tokens": lambda text: len(face.get_token_ids(text))}
        found = store.retrieve(user, query, k=face.setting("max_principles"), **limit)
        return [scored.principle for scored in found]

    @property
    def _calibration(self) -> Calibration:
        own, name = self.face.setting("calibration"), self.ready.engine.name
        return shipped_calibration(name) if own == "auto" else own or Calibration(name)

    def _guidance(self, principles: Sequence[Principle]) -> tuple[float | None, list[Placing] | None]:
        """The strength of a call and where its principles stand; None for the method's and the builder's own."""
        strength, calibration, face = self.settings["strength"], self._calibration, self.face
        if not principles or self.settings["method"] != calibration.method:
            return strength, None
        placed = face.placement is not None or face.wording is not None
        return (
            calibration.strength(principles) if strength is None else strength,
            None if placed else calibration.placings(principles),
        )

    def _prompts(
        self,
        source: Sequence[BaseMessage] | str,
        principles: Sequence[Principle],
        placings: Sequence[Placing] | None,
    ) -> Prompts:
        builder, compose, structure = self.ready.builder, self.settings["compose"], self.structure
        if isinstance(source, str):
            return builder.build_text(source, principles, compose, placings=placings)
        tools, instructions = ((), "") if structure is None else (structure.tools, structure.instructions)
        return builder.build(source, principles, compose, placings=placings, tools=tools, instructions=instructions)

    def _grammar(self) -> Grammar | None:
        if self.structure is None:
            return None
        added_tokens = self.ready.engine.tokenizer.added_tokens_decoder
        added = {str(token.content): index for index, token in added_tokens.items()}
        return self.structure.grammar(self.ready.builder.call_format, added)


def last_human_text(messages: Sequence[BaseMessage]) -> str:
    """What the user asked last: the query that preferences are matched against; "" without a human message."""
    human = next((m for m in reversed(messages) if m.type == "human"), None)
    return "" if human is None else str(human.text)


def _num_public_tokens(frame: Sequence[int], prompts: Prompts) -> int:
    """Leading tokens that are the template's alone; a system text may hold what was retrieved for one user."""
    rows = [frame, *(prompt.token_ids for prompt in (prompts.reference, *prompts.branches))]
    return common_prefix(rows, min(map(len, rows)))


def _plain(value: Any) -> Any:
    """A schema given as a class, by what it says: another class of the same name is another schema."""
    return schema_of(value) if isinstance(value, type) else repr(value)
