"""The engine from its callers' side: answers, streams, seeds, prefixes found again, numbers."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from la_agents.engine.engine import Engine, engine_for
from la_agents.engine.scheduler import Limits
from la_agents.errors import ConfigurationError, EngineBusyError, RequestTooLargeError
from la_agents.models import LoadedModel
from la_agents.requests import Completion, Generation, Request, Sampling
from tests.engine_tools import answer, fresh_model, random_request, text_of, tokens_of

THREAD = "la_agents-engine"


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return fresh_model()


@pytest.fixture
def engine(loaded: LoadedModel) -> Iterator[Engine]:
    with Engine(loaded) as engine:
        yield engine
        assert engine.stats().num_rows == engine.stats().num_waiting == 0


def together(engine: Engine, requests: list[Request]) -> list[Completion]:
    generations = [engine.submit(request) for request in requests]
    return [generation.completion for generation in generations]


def read(generation: Generation) -> str:
    return "".join(chunk.text for chunk in generation) + generation.completion.tail


# -- answers -----------------------------------------------------------------------------------------------------------


def sampled_requests() -> list[Request]:
    """16 users: unaligned, joint and summed, each with settings and a seed of its own."""
    return [
        random_request(
            seed,
            num_branches=seed % 4,
            shared=40 * (seed % 2),
            temperature=0.5 + 0.1 * (seed % 6),
            top_p=1.0 - 0.05 * (seed % 3),
            seed=seed,
            max_tokens=5 + seed,
            alignment={"strength": seed / 5, "max_divergence": 0.5 if seed % 5 == 0 else None},
        )
        for seed in range(16)
    ]


def test_a_seeded_request_gets_the_same_tokens_alone_and_among_15_others(engine: Engine, loaded: LoadedModel) -> None:
    requests = sampled_requests()
    alone = [tokens_of(engine.complete(request)) for request in requests]
    with Engine(loaded, prefix_cache_bytes=0) as crowded:
        for _ in range(2):
            assert [tokens_of(c) for c in together(crowded, requests)] == alone
        assert [tokens_of(c) for c in together(crowded, requests[::-1])][::-1] == alone
    assert len({tuple(tokens) for tokens in alone}) == 16


def test_without_a_seed_each_call_draws_its_own(engine: Engine) -> None:
    request = random_request(1, temperature=1.5, max_tokens=20)
    assert tokens_of(engine.complete(request)) != tokens_of(engine.complete(request))


@pytest.mark.parametrize("num_branches", [0, 2])
def test_max_tokens_is_the_length_of_the_answer(engine: Engine, num_branches: int) -> None:
    for max_tokens in (1, 2, 7):
        completion = engine.complete(random_request(3, num_branches=num_branches, max_tokens=max_tokens))
        assert len(completion.records) == max_tokens
        assert completion.finish_reason == "length"
        assert completion.num_rows == 1 + num_branches


def test_the_models_context_ends_an_answer(loaded: LoadedModel) -> None:
    request = random_request(3, num_branches=1, length=20, max_tokens=1000)
    completion = answer(loaded, request, limits=Limits(max_positions=25))
    assert (completion.finish_reason, len(completion.records)) == ("length", 5)


def test_limits_given_by_hand_keep_the_models_context(loaded: LoadedModel) -> None:
    with Engine(loaded, Limits(max_rows=4)) as engine:
        assert engine.limits == Limits(max_rows=4, max_positions=loaded.max_positions)
        with pytest.raises(RequestTooLargeError, match="context of 1024"):
            engine.submit(random_request(0, length=1024))


def test_any_end_of_sequence_id_ends_an_answer_and_is_not_part_of_it(engine: Engine, loaded: LoadedModel) -> None:
    request = random_request(5, num_branches=1, max_tokens=12)
    tokens = tokens_of(engine.complete(request))
    later, sooner = tokens[8], tokens[4]
    assert tokens.index(sooner) < tokens.index(later)
    ending = dataclasses.replace(loaded, eos_token_ids=frozenset([later, sooner]))
    completion = answer(ending, request)
    assert tokens_of(completion) == tokens[: tokens.index(sooner)]
    assert completion.finish_reason == "stop"


def test_an_answer_may_be_empty(engine: Engine, loaded: LoadedModel) -> None:
    request = random_request(5)
    first = tokens_of(engine.complete(request))[0]
    completion = answer(dataclasses.replace(loaded, eos_token_ids=frozenset([first])), request)
    assert (completion.records, completion.tail, completion.finish_reason) == ((), "", "stop")


def test_a_stop_string_ends_an_answer_before_it(engine: Engine, loaded: LoadedModel) -> None:
    request = random_request(8, max_tokens=30)
    whole = text_of(loaded, engine.complete(request))
    for start, end in ((4, 9), (10, 11), (0, 3)):
        stop = whole[start:end]
        sampling = dataclasses.replace(request.sampling, stop=("never said", stop))
        generation = engine.submit(dataclasses.replace(request, sampling=sampling))
        assert read(generation) == whole[: whole.find(stop)]
        assert generation.completion.finish_reason == "stop"


# -- streams -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_chunks_join_to_the_answer_one_a_token(engine: Engine, loaded: LoadedModel, temperature: float) -> None:
    generation = engine.submit(random_request(9, num_branches=1, temperature=temperature, max_tokens=40))
    chunks = list(generation)
    completion = generation.completion
    assert tuple(chunk.record for chunk in chunks) == completion.records
    assert "".join(chunk.text for chunk in chunks) + completion.tail == text_of(loaded, completion)
    assert list(generation) == [], "read once"


async def test_async_streams_share_an_event_loop(engine: Engine, loaded: LoadedModel) -> None:
    requests = [random_request(seed, num_branches=seed % 3, max_tokens=10 + seed) for seed in range(8)]

    async def stream(request: Request) -> tuple[str, Completion]:
        generation = engine.submit(request)
        text = "".join([chunk.text async for chunk in generation])
        completion = await generation.acompletion()
        return text + completion.tail, completion

    results = await asyncio.gather(*map(stream, requests))
    for request, (text, completion) in zip(requests, results, strict=True):
        assert text == text_of(loaded, completion)
        assert tokens_of(completion) == tokens_of(engine.complete(request))


def test_an_event_loop_that_ended_early_hurts_nobody(engine: Engine) -> None:
    async def first_chunk() -> Generation:
        generation = engine.submit(random_request(1, max_tokens=60))
        async for _ in generation:
            break
        return generation

    generation = asyncio.run(first_chunk())
    assert len(engine.complete(random_request(2)).records) == 8
    assert len(generation.completion.records) == 60, "another loop, or none, can read on"


def test_several_readers_of_one_stream_all_come_to_its_end(engine: Engine) -> None:
    generation = engine.submit(random_request(1, max_tokens=40))
    with ThreadPoolExecutor(4) as pool:
        completions = list(pool.map(lambda _: generation.completion, range(4)))
    assert all(c is completions[0] for c in completions)


def test_many_threads_get_their_own_answers(engine: Engine) -> None:
    requests = [random_request(seed, num_branches=seed % 3, max_tokens=6) for seed in range(24)]
    alone = [tokens_of(engine.complete(request)) for request in requests]
    with ThreadPoolExecutor(12) as pool:
        assert [tokens_of(c) for c in pool.map(engine.complete, requests)] == alone


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [-1, 10**6])
@pytest.mark.parametrize("where", [0, 1])
def test_a_token_the_model_does_not_know_is_refused(engine: Engine, token: int, where: int) -> None:
    prompts = [(20, 21), (20, 22)]
    prompts[where] = (20, token)
    with pytest.raises(ConfigurationError, match=f"got {token}"):
        engine.submit(Request(reference=prompts[0], branches=(prompts[1],), weights=(1.0,)))


def test_what_could_never_run_is_refused_at_once(loaded: LoadedModel) -> None:
    with Engine(loaded, Limits(max_rows=3, max_cached_tokens=200)) as engine:
        for request in (
            random_request(0, num_branches=3),
            random_request(0, num_branches=2, length=20, max_tokens=60),
        ):
            with pytest.raises(RequestTooLargeError):
                engine.submit(request)
        assert engine.stats().num_steps == 0


def test_a_full_queue_is_busy_and_then_takes_requests_again(loaded: LoadedModel) -> None:
    with Engine(loaded, Limits(max_rows=1, max_waiting=2)) as engine:
        started = engine.submit(random_request(0, max_tokens=500))
        next(iter(started))
        waiting = [engine.submit(random_request(seed, max_tokens=3)) for seed in (1, 2)]
        with pytest.raises(EngineBusyError):
            engine.submit(random_request(3))
        started.cancel()
        assert [len(g.completion.records) for g in waiting] == [3, 3]
        assert len(engine.complete(random_request(3)).records) == 8


# -- prefixes ----------------------------------------------------------------------------------------------------------


def test_a_second_turn_finds_the_first(engine: Engine, loaded: LoadedModel) -> None:
    first = random_request(11, num_branches=1, shared=12, length=68, max_tokens=40)
    completion = engine.complete(first)
    assert completion.num_cached_tokens == 0
    assert completion.num_computed_tokens == 160, "a common prefix of 12 tokens is too short to split off"
    said = tuple(tokens_of(completion))
    more = random_request(12, length=10).reference
    second = dataclasses.replace(
        first, reference=first.reference + said + more, branches=(first.branches[0] + said + more,)
    )
    again = engine.complete(second)
    # All but the answer's last token was computed, in blocks of 32.
    assert again.num_cached_tokens == 2 * ((80 + 39) // 32 * 32)
    assert again.num_computed_tokens == 2 * (80 + 40 + 10) - again.num_cached_tokens
    assert tokens_of(again) == tokens_of(answer(loaded, second, prefix_cache_bytes=0))
    assert engine.stats().prefix_hit_rate > 0


def test_a_prefix_common_to_the_branches_is_computed_once(loaded: LoadedModel) -> None:
    request = random_request(13, num_branches=3, shared=100, length=10)
    shared = answer(loaded, request, prefix_cache_bytes=0)
    apart = answer(loaded, request, prefix_cache_bytes=0, share_prefixes=False)
    assert (shared.num_computed_tokens, apart.num_computed_tokens) == (100 + 4 * 10, 4 * 110)
    assert shared.num_cached_tokens == apart.num_cached_tokens == 0
    assert tokens_of(shared) == tokens_of(apart)


def test_a_users_prefix_is_found_by_that_user_alone(engine: Engine) -> None:
    alices = dataclasses.replace(random_request(14, length=100), salt="alice", num_public_tokens=40)
    bobs = dataclasses.replace(alices, salt="bob")
    assert engine.complete(alices).num_cached_tokens == 0
    assert engine.complete(bobs).num_cached_tokens == 32, "what the application says to everybody"
    assert engine.complete(alices).num_cached_tokens == 96


def test_a_caller_who_is_not_known_leaves_nothing_but_what_is_public(engine: Engine) -> None:
    unknown = dataclasses.replace(random_request(16, length=100), salt=None, num_public_tokens=40)
    held = engine.stats().prefix_bytes
    assert engine.complete(unknown).num_cached_tokens == 0
    block = engine.stats().prefix_bytes - held
    assert engine.complete(unknown).num_cached_tokens == 32
    assert engine.stats().prefix_bytes == held + block, "nothing more is kept"
    for salt in ("", "alice"):
        assert engine.complete(dataclasses.replace(unknown, salt=salt)).num_cached_tokens == 32


def test_users_that_arrive_together_find_the_first_ones_prefix(loaded: LoadedModel) -> None:
    requests = [random_request(15, length=128, max_tokens=2)] * 4
    with Engine(loaded, Limits(max_rows=1)) as engine:
        assert sum(c.num_cached_tokens for c in together(engine, requests)) == 3 * 96


def test_answers_are_the_same_with_a_prefix_cache_that_keeps_evicting(loaded: LoadedModel) -> None:
    requests = [random_request(seed % 5, num_branches=1, shared=50, length=30, max_tokens=5) for seed in range(15)]
    expected = [tokens_of(answer(loaded, request, prefix_cache_bytes=0)) for request in requests[:5]] * 3
    with Engine(loaded, prefix_cache_bytes=5 * 32 * 1024) as engine:
        assert [tokens_of(c) for c in together(engine, requests)] == expected
        assert 0 < engine.stats().prefix_bytes <= 5 * 32 * 1024


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_stats_add_up(engine: Engine) -> None:
    before = engine.stats()
    requests = [random_request(seed, num_branches=seed % 3, max_tokens=4 + seed) for seed in range(6)]
    completions = together(engine, requests)
    stats = engine.stats()
    assert stats.num_finished == 6
    assert stats.num_failed == stats.num_cancelled == 0
    assert stats.num_generated_tokens == sum(len(c.records) for c in completions)
    assert stats.num_prefilled_tokens == sum(c.num_computed_tokens for c in completions)
    assert stats.num_decoded_rows == sum(c.num_rows * (len(c.records) - 1) for c in completions)
    assert stats.num_steps >= max(len(c.records) for c in completions)
    assert stats.row_bytes == before.row_bytes == 0
    parts = (stats.prefill_seconds, stats.decode_seconds, stats.sampler_seconds, stats.rest_seconds)
    assert all(seconds > 0 for seconds in parts)
    assert stats.tokens_per_second == pytest.approx(stats.num_generated_tokens / sum(parts), rel=0.01)
    assert stats.as_dict()["num_finished"] == 6


# -- engines -----------------------------------------------------------------------------------------------------------


def engine_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


def test_an_engine_that_nobody_holds_ends_its_thread_and_lets_its_model_go() -> None:
    threads = engine_threads()
    loaded = fresh_model()
    engine = Engine(loaded)
    engine.complete(random_request(0))
    (thread,) = set(engine_threads()) - set(threads)
    gone = [weakref.ref(engine), weakref.ref(loaded.model)]
    del engine, loaded
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert not thread.is_alive()


def test_an_engine_without_work_has_no_thread(loaded: LoadedModel) -> None:
    threads = engine_threads()
    with Engine(loaded):
        assert engine_threads() == threads


def test_one_engine_a_model() -> None:
    first, second = fresh_model(), fresh_model("pythia")
    engine = engine_for(first)
    assert engine_for(first) is engine
    assert engine_for(first, Limits()) is engine
    other = engine_for(second, Limits(max_rows=4))
    assert other is not engine
    with pytest.raises(ConfigurationError, match="max_rows=4"):
        engine_for(second, Limits(max_rows=5))
    request = random_request(1, num_branches=1)
    generations = [engine.submit(request), other.submit(request)]
    answers = [tokens_of(g.completion) for g in generations]
    assert answers == [tokens_of(answer(first, request)), tokens_of(answer(second, request))]
    engine.close()
    assert engine_for(first) is not engine


def test_requests_submitted_together_begin_together_or_not_at_all() -> None:
    with Engine(fresh_model("llama")) as engine:
        request = Request(reference=(5, 6, 7), sampling=Sampling(max_tokens=4))
        first, *others = [tokens_of(generation.completion) for generation in engine.submit_all([request] * 5)]
        assert others == [first] * 4
        assert engine.stats().num_steps <= 6  # all in one batch
        with pytest.raises(ConfigurationError):
            engine.submit_all([request, Request(reference=(10**6,))])
        assert tokens_of(engine.complete(request)) == first
