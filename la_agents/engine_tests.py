"""Engine tests: what the faces rely on, for any engine (`la_agents.requests.Engine`) to be run against; needs pytest.

    class TestMyEngine(EngineTests):
        @pytest.fixture(scope="class")
        def engine(self):
            with MyEngine("some-model") as engine:
                yield engine

What an engine cannot keep is named by overriding the test with `@pytest.mark.xfail(reason=...)`. The model may be any,
a random one too: nothing here depends on what it says.
"""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from la_agents.errors import ConfigurationError, DeadlineExceededError, IncompleteAnswerError, RequestTooLargeError
from la_agents.requests import Alignment, Completion, Engine, Generation, Grammar, Request, Sampling

__all__ = ["EngineTests"]

QUESTION = "What should I cook tonight? Please answer in one line. "
PRINCIPLES = ("Talk like a pirate. ", "Always be brief. ", "Answer in French. ")
TOLERANCE = 1e-3
"""Nats by which a stated divergence may miss what it stands for: half precision rounds logits."""


def read(generation: Generation) -> str:
    """The whole text of an answer."""
    return "".join(chunk.text for chunk in generation) + generation.completion.tail


def tokens(completion: Completion) -> list[int]:
    """The tokens of an answer."""
    return [record.token_id for record in completion.records]


class EngineTests:
    """Subclass it, name the class `Test...`, and give it a fixture `engine`."""

    @pytest.fixture
    def engine(self) -> Engine:
        """The engine under test; a subclass says which."""
        raise NotImplementedError

    @staticmethod
    def request(engine: Engine, *, num_branches: int = 0, text: str = QUESTION, **changes: Any) -> Request:
        """A request of a question, with principles in front of it; `changes` are fields of Request or of Sampling."""
        encode = engine.tokenizer.encode
        prompts = [tuple(encode(text, add_special_tokens=False))]
        prompts += [tuple(encode(one + text, add_special_tokens=False)) for one in PRINCIPLES[:num_branches]]
        sampling = {name: changes.pop(name) for name in Sampling.__dataclass_fields__ if name in changes}
        return Request(
            reference=prompts[0],
            branches=tuple(prompts[1:]),
            weights=(1.0,) * num_branches,
            sampling=Sampling(**{"max_tokens": 8, **sampling}),
            **changes,
        )

    @classmethod
    def long_request(cls, engine: Engine, **changes: Any) -> Request:
        """One whose answer takes hundreds of characters, whatever the model would say."""
        return cls.request(engine, grammar=Grammar.regex("(xq){200}"), max_tokens=500, **changes)

    # -- answers and streams -------------------------------------------------------------------------------------------

    def test_it_says_what_it_runs(self, engine: Engine) -> None:
        assert isinstance(engine, Engine)
        assert isinstance(engine.name, str)
        assert engine.name
        assert engine.context > 0
        ids = engine.tokenizer.encode("hello", add_special_tokens=False)
        assert str(engine.tokenizer.decode(ids)).strip() == "hello"

    @pytest.mark.parametrize("num_branches", [0, 1, 2])
    @pytest.mark.parametrize("temperature", [0.0, 1.2])
    def test_chunks_join_to_the_answer_one_a_token(self, engine: Engine, num_branches: int, temperature: float) -> None:
        generation = engine.submit(
            self.request(engine, num_branches=num_branches, temperature=temperature, seed=1, max_tokens=12)
        )
        chunks = list(generation)
        completion = generation.completion
        assert tuple(chunk.record for chunk in chunks) == completion.records
        assert completion.finish_reason in ("stop", "length")
        text = "".join(chunk.text for chunk in chunks) + completion.tail
        decoded = str(engine.tokenizer.decode(tokens(completion), skip_special_tokens=True))
        assert text == decoded.rstrip("\N{REPLACEMENT CHARACTER}")

    @pytest.mark.parametrize("num_branches", [0, 2])
    def test_an_answer_says_what_it_took(self, engine: Engine, num_branches: int) -> None:
        request = self.request(engine, num_branches=num_branches)
        completion = engine.submit(request).completion
        assert completion.num_rows == 1 + num_branches
        assert completion.num_prompt_tokens == len(request.reference)
        assert all(len(record.contributions) == num_branches for record in completion.records)
        assert all(record.divergence >= 0 for record in completion.records)
        assert num_branches or all(record.divergence == 0 for record in completion.records)

    @pytest.mark.parametrize("max_tokens", [1, 2, 7])
    def test_max_tokens_bounds_an_answer(self, engine: Engine, max_tokens: int) -> None:
        completion = engine.submit(self.request(engine, max_tokens=12)).completion
        short = engine.submit(self.request(engine, max_tokens=max_tokens)).completion
        assert tokens(short) == tokens(completion)[:max_tokens]
        assert (short.finish_reason == "length") == (len(completion.records) >= max_tokens)

    def test_a_stream_reads_alike_in_a_task(self, engine: Engine) -> None:
        async def in_tasks() -> list[str]:
            async def one(seed: int) -> str:
                generation = engine.submit(self.request(engine, temperature=1.2, seed=seed))
                texts = [chunk.text async for chunk in generation]
                return "".join(texts) + (await generation.acompletion()).tail

            return list(await asyncio.gather(*map(one, range(3))))

        expected = [read(engine.submit(self.request(engine, temperature=1.2, seed=seed))) for seed in range(3)]
        assert asyncio.run(in_tasks()) == expected

    # -- choice --------------------------------------------------------------------------------------------------------

    def test_the_same_seed_gives_the_same_tokens_alone_and_among_others(self, engine: Engine) -> None:
        requests = [
            self.request(engine, num_branches=seed % 3, temperature=1.2, seed=seed, max_tokens=6 + seed)
            for seed in range(6)
        ]
        alone = [tokens(engine.submit(request).completion) for request in requests]
        generations = [engine.submit(request) for request in requests]
        assert [tokens(generation.completion) for generation in generations] == alone
        with ThreadPoolExecutor(6) as threads:
            found = threads.map(lambda request: tokens(engine.submit(request).completion), requests)
        assert list(found) == alone

    def test_other_seeds_give_other_tokens(self, engine: Engine) -> None:
        answers = {
            tuple(tokens(engine.submit(self.request(engine, temperature=3.0, seed=seed, max_tokens=20)).completion))
            for seed in range(4)
        }
        assert len(answers) > 1
        unseeded = [engine.submit(self.request(engine, temperature=3.0, max_tokens=20)) for _ in range(4)]
        assert len({tuple(tokens(generation.completion)) for generation in unseeded}) > 1

    @pytest.mark.parametrize("num_branches", [0, 1])
    def test_a_stop_string_ends_an_answer_before_it(self, engine: Engine, num_branches: int) -> None:
        request = self.request(engine, num_branches=num_branches, max_tokens=16)
        whole = read(engine.submit(request))
        middle = len(whole) // 2
        stop = whole[middle : middle + 3]
        generation = engine.submit(replace(request, sampling=replace(request.sampling, stop=("\0never", stop))))
        assert read(generation) == whole[: whole.find(stop)]
        assert generation.completion.finish_reason == "stop"

    # -- alignment -----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("how", ["tapered", "linear", "same prompt", "no weight"])
    def test_without_alignment_the_answer_is_the_references(self, engine: Engine, how: Any) -> None:
        unaligned = self.request(engine, temperature=1.0, seed=3, max_tokens=10)
        aligned = self.request(engine, num_branches=1, temperature=1.0, seed=3, max_tokens=10)
        everything = Alignment(strength=1.0, support="all", push="uniform")
        if how == "same prompt":  # f_1 = f_0
            aligned = replace(aligned, branches=(aligned.reference,), alignment=everything)
        elif how == "no weight":
            aligned = replace(aligned, weights=(0.0,), alignment=everything)
        else:
            aligned = replace(aligned, alignment=Alignment(method=how, max_divergence=0.0))
        completion = engine.submit(aligned).completion
        assert tokens(completion) == tokens(engine.submit(unaligned).completion)
        assert [record.reference_id for record in completion.records] == tokens(completion)
        assert all(record.divergence <= TOLERANCE for record in completion.records)

    @pytest.mark.parametrize("method", ["tapered", "linear", "cfg", "context-steering", "amulet"])
    def test_a_budget_bounds_every_token(self, engine: Engine, method: Any) -> None:
        request = self.request(engine, num_branches=2, temperature=1.0, seed=1, max_tokens=10)
        for budget in (0.01, 0.2):
            bounded = replace(request, alignment=Alignment(method=method, max_divergence=budget))
            records = engine.submit(bounded).completion.records
            assert all(record.divergence <= budget + TOLERANCE for record in records)

    def test_candidates_are_listed_where_they_are_asked_for(self, engine: Engine) -> None:
        request = self.request(engine, num_branches=1)
        assert all(record.candidates == () for record in engine.submit(request).completion.records)
        for record in engine.submit(replace(request, list_candidates=True)).completion.records:
            listed = {candidate.token_id: candidate for candidate in record.candidates}
            assert record.token_id in listed
            assert len(listed) == len(record.candidates) > 1
            assert all(0 <= p <= 1 + TOLERANCE for c in record.candidates for p in (c.reference, c.aligned))

    # -- grammars ------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("num_branches", [0, 1])
    @pytest.mark.parametrize("aligned", [False, True])
    def test_an_answer_keeps_to_its_grammar(self, engine: Engine, num_branches: int, aligned: bool) -> None:
        def answer(grammar: Grammar) -> str:
            request = self.request(
                engine, num_branches=num_branches, temperature=1.0, seed=2, max_tokens=120, grammar=grammar
            )
            generation = engine.submit(request)
            text = read(generation)
            assert generation.completion.finish_reason == "stop"
            return text

        assert answer(Grammar.choice(["yes", "no", "où?"], aligned=aligned)) in ("yes", "no", "où?")
        assert re.fullmatch(r"[0-9]{4}-[0-9]{2}", answer(Grammar.regex("[0-9]{4}-[0-9]{2}", aligned=aligned)))
        schema = {
            "type": "object",
            "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}, "kind": {"enum": ["a", "b"]}},
            "required": ["age", "kind"],
            "additionalProperties": False,
        }
        found = json.loads(answer(Grammar.json_schema(schema, aligned=aligned)))
        assert found.keys() == {"age", "kind"}
        assert 0 <= found["age"] <= 99
        assert found["kind"] in ("a", "b")

    def test_a_grammar_that_does_not_fit_is_refused(self, engine: Engine) -> None:
        request = self.request(engine, grammar=Grammar.regex("[0-9]{40}"), max_tokens=1)
        with pytest.raises((ConfigurationError, IncompleteAnswerError)):
            read(engine.submit(request))

    # -- ends ----------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("num_read", [0, 1, 3])
    def test_a_cancelled_request_ends_and_others_go_on(self, engine: Engine, num_read: int) -> None:
        request = self.request(engine, num_branches=1, temperature=1.2, seed=5, max_tokens=20)
        expected = tokens(engine.submit(request).completion)
        cancelled, other = engine.submit(self.long_request(engine, num_branches=1)), engine.submit(request)
        chunks = iter(cancelled)
        for _ in range(num_read):
            next(chunks)
        cancelled.cancel()
        assert cancelled.completion.finish_reason == "cancelled"
        assert len(cancelled.completion.records) < 200
        assert tokens(other.completion) == expected
        cancelled.cancel()
        other.cancel()  # it is over
        assert tokens(other.completion) == expected

    def test_a_deadline_ends_a_request(self, engine: Engine) -> None:
        generation = engine.submit(self.long_request(engine, timeout=1e-6))
        with pytest.raises(DeadlineExceededError):
            read(generation)
        with pytest.raises(DeadlineExceededError):  # a second reader learns of it too
            _ = generation.completion
        assert engine.submit(self.request(engine)).completion.records

    @pytest.mark.parametrize("where", [0, 1])
    @pytest.mark.parametrize("token", [-1, 1 << 40])
    def test_a_token_that_the_model_does_not_know_is_refused(self, engine: Engine, token: int, where: int) -> None:
        request = self.request(engine, num_branches=1)
        prompts = list(request.prompts)
        prompts[where] = (*prompts[where][:-1], token)
        with pytest.raises(ConfigurationError):
            engine.submit(replace(request, reference=prompts[0], branches=(prompts[1],)))
        assert engine.submit(request).completion.records

    @pytest.mark.parametrize("where", [0, 1])
    def test_a_prompt_as_long_as_the_context_is_refused(self, engine: Engine, where: int) -> None:
        request = self.request(engine, num_branches=1)
        prompts = list(request.prompts)
        prompts[where] = (prompts[where] * engine.context)[: engine.context]
        with pytest.raises(RequestTooLargeError) as refused:
            engine.submit(replace(request, reference=prompts[0], branches=(prompts[1],)))
        assert str(list(prompts[where][:4]))[1:-1] not in str(refused.value), "an error repeats no prompt"
        assert engine.submit(request).completion.records

    # -- isolation -----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("first", ["alice", None])
    @pytest.mark.parametrize("second", ["bob", None])
    @pytest.mark.parametrize("num_public_tokens", [0, 16])
    def test_no_user_finds_what_anothers_prompt_held(
        self, engine: Engine, first: str | None, second: str | None, num_public_tokens: int
    ) -> None:
        text = f"Of {first}, {second} and {num_public_tokens} only: " + QUESTION * 8  # by no other test
        request = self.request(engine, num_branches=1, text=text, num_public_tokens=num_public_tokens)
        first, second = (user and f"{user} {uuid4().hex}" for user in (first, second))  # no user of another test
        assert engine.submit(replace(request, salt=first)).completion.records
        found = engine.submit(replace(request, salt=second)).completion
        assert found.num_cached_tokens <= num_public_tokens * found.num_rows
