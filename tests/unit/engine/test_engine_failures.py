"""What goes wrong goes wrong for the request it belongs to: failures, deadlines, cancellation, closing."""

from __future__ import annotations

import dataclasses
import gc
import os
import pickle
import signal
import threading
import time
import traceback
import weakref
from itertools import chain, islice

import pytest
import torch

from la_agents.engine.engine import Engine, engine_for
from la_agents.engine.scheduler import Limits
from la_agents.errors import (
    DeadlineExceededError,
    EngineClosedError,
    GenerationError,
    LaAgentsError,
    RequestTooLargeError,
)
from la_agents.models import LoadedModel
from la_agents.requests import Generation, Request
from tests.engine_tools import POISON, FailingTokenizer, answer, failing_on, fresh_model, random_request, tokens_of

ERRORS = {
    "raises": RuntimeError("the kernel gave up"),
    "out of memory": RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    "is not finite": None,
}


@pytest.fixture
def loaded() -> LoadedModel:
    """A model of the test's own, that it may hook into."""
    return fresh_model()


def healthy_requests() -> list[Request]:
    return [random_request(seed, num_branches=seed % 3, shared=40 * (seed % 2), max_tokens=12) for seed in range(6)]


def expected_answers(requests: list[Request]) -> list[list[int]]:
    return [tokens_of(answer(fresh_model(), request)) for request in requests]


def outcome(generation: Generation) -> list[int] | LaAgentsError:
    try:
        return tokens_of(generation.completion)
    except LaAgentsError as error:
        return error


# -- a failing request fails alone -------------------------------------------------------------------------------------


@pytest.mark.parametrize("static", [None, True])
@pytest.mark.parametrize("how", ERRORS)
@pytest.mark.parametrize("num_branches", [0, 2])
def test_a_prompt_that_fails_fails_alone(loaded: LoadedModel, how: str, static: bool | None, num_branches: int) -> None:
    healthy, bad = healthy_requests(), random_request(99, num_branches=num_branches, length=20, poisoned=True)
    expected = expected_answers(healthy)
    with Engine(loaded, static_shapes=static) as engine, failing_on(loaded, POISON, ERRORS[how]):
        alone = outcome(engine.submit(bad))
        beside = [outcome(engine.submit(request)) for request in (bad, *healthy)]
        crowd = [engine.submit(request) for request in (*healthy[:3], bad, *healthy[3:])]
        *most, failure = [outcome(crowd[i]) for i in (0, 1, 2, 4, 5, 6, 3)]
        assert engine.stats().num_failed == 3
        assert engine.stats().num_rows == engine.stats().row_bytes == 0
    assert beside[1:] == most == expected
    for error in (alone, beside[0], failure):
        if how == "out of memory":
            assert isinstance(error, RequestTooLargeError)
            assert f"{1 + num_branches} rows of up to 20 prompt tokens to fit the memory of cpu" in str(error)
        else:
            assert isinstance(error, GenerationError)
        if ERRORS[how] is not None:
            assert str(error.__cause__) == str(ERRORS[how])


@pytest.mark.parametrize("static", [None, True])
@pytest.mark.parametrize("how", ERRORS)
def test_a_token_that_fails_fails_its_own_sequence_alone(loaded: LoadedModel, how: str, static: bool | None) -> None:
    """The error comes while all decode together, and from a token in the middle of one answer."""
    healthy, bad = healthy_requests(), random_request(99, num_branches=1, max_tokens=12)
    expected, tokens = expected_answers(healthy), tokens_of(answer(loaded, bad))
    seen = {*chain(*expected), *chain(*(chain(*request.prompts) for request in (*healthy, bad)))}
    last = next(i for i, token in enumerate(tokens) if i >= 3 and token not in {*seen, *tokens[:i]})
    with Engine(loaded, static_shapes=static) as engine, failing_on(loaded, tokens[last], ERRORS[how]):
        for _ in range(2):
            crowd = [engine.submit(request) for request in (*healthy[:3], bad, *healthy[3:])]
            read = (chunk.record.token_id for chunk in crowd[3])
            assert list(islice(read, last + 1)) == tokens[: last + 1], "what came before the failure is handed out"
            with pytest.raises(GenerationError if how != "out of memory" else RequestTooLargeError):
                next(read)
            assert [outcome(crowd[i]) for i in (0, 1, 2, 4, 5, 6)] == expected
        assert engine.stats().num_rows == 0


def test_a_cache_that_cannot_grow_fails_the_sequence_that_needs_it(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slots of all rows grow together, in steps of 256, when the longest row fills them."""
    short, long = random_request(1, num_branches=1, max_tokens=40), random_request(2, length=245, max_tokens=40)
    late = random_request(3, num_branches=2, max_tokens=20)
    expected = expected_answers([short, long, late])
    allocate = torch.Tensor.new_zeros

    def allocate_little(self: torch.Tensor, size: tuple[int, ...], **arguments: object) -> torch.Tensor:
        if len(size) == 4 and size[2] > 257:
            raise ERRORS["out of memory"]
        return allocate(self, size, **arguments)

    with Engine(loaded) as engine:
        monkeypatch.setattr(torch.Tensor, "new_zeros", allocate_little)
        running = [engine.submit(short), engine.submit(long)]
        assert outcome(running[0]) == expected[0]
        failure = outcome(running[1])
        assert isinstance(failure, RequestTooLargeError)
        assert outcome(engine.submit(late)) == expected[2], "the loop goes on"
        monkeypatch.undo()
        assert outcome(engine.submit(long)) == expected[1]


def test_numbers_that_are_not_finite_stay_out_of_the_rows_and_prefixes_of_others(loaded: LoadedModel) -> None:
    """A failed row's slots hold nan, which no attention mask stops; and nan is no prefix to share."""
    staying = random_request(1, max_tokens=60)
    late = [random_request(seed, num_branches=1, length=40, max_tokens=20) for seed in (2, 3, 4)]
    bad = random_request(99, num_branches=2, length=100, poisoned=True)
    expected = expected_answers([staying, *late])
    with Engine(loaded) as engine:
        running = engine.submit(staying)
        next(iter(running))
        with failing_on(loaded, POISON):
            assert isinstance(outcome(engine.submit(bad)), GenerationError)
        assert engine.stats().prefix_bytes == 0
        assert [outcome(g) for g in [engine.submit(request) for request in late]] == expected[1:]
        assert outcome(running) == expected[0]
        assert outcome(engine.submit(bad)) == tokens_of(answer(loaded, bad)), "healed, it is answered as ever"


@pytest.mark.parametrize("at", [0, 5, 11])
def test_a_tokenizer_that_fails_on_one_answer_fails_it_alone(loaded: LoadedModel, at: int) -> None:
    healthy = healthy_requests()
    expected = expected_answers(healthy)
    bad = random_request(98, max_tokens=12)
    said = tokens_of(answer(loaded, bad))
    token = said[at]
    failing = dataclasses.replace(loaded, tokenizer=FailingTokenizer(loaded.tokenizer, token))
    with Engine(failing) as engine:
        crowd = [engine.submit(request) for request in (bad, *healthy)]
        results = [outcome(generation) for generation in crowd]
        assert isinstance(results[0], GenerationError)
        assert str(token) in str(results[0])
        for result, tokens in zip(results[1:], expected, strict=True):
            assert result == tokens or (token in tokens and isinstance(result, GenerationError))
        assert sum(isinstance(result, list) for result in results) >= 3
        assert engine.stats().num_rows == 0


def test_a_tokenizer_that_fails_at_the_very_end_fails_one_answer_alone(loaded: LoadedModel) -> None:
    """When the last text is flushed, and when a cancelled answer is."""

    class FailsLater(FailingTokenizer):
        armed = False

        def decode(self, token_ids: list[int], **options: object) -> str:
            return super().decode(token_ids, **options) if self.armed else "\N{REPLACEMENT CHARACTER}"

    tokenizer = FailsLater(loaded.tokenizer, tokens_of(answer(loaded, random_request(1)))[0])
    with Engine(dataclasses.replace(loaded, tokenizer=tokenizer)) as engine:
        generation = engine.submit(random_request(1, max_tokens=400))
        next(iter(generation))
        tokenizer.armed = True
        generation.cancel()
        assert isinstance(outcome(generation), GenerationError)
        assert isinstance(outcome(engine.submit(random_request(2))), list)


def test_a_prompt_of_other_things_than_integers_fails_alone(loaded: LoadedModel) -> None:
    with Engine(loaded) as engine:
        running = engine.submit(random_request(1, max_tokens=30))
        odd = engine.submit(Request(reference=(20.0,) * 40))
        assert isinstance(outcome(odd), GenerationError)
        assert len(running.completion.records) == 30


def test_an_error_says_nothing_of_the_prompt_and_carries_its_cause(loaded: LoadedModel) -> None:
    bad = random_request(99, length=20, poisoned=True)
    with Engine(loaded) as engine, failing_on(loaded, POISON, ERRORS["raises"]):
        error = outcome(engine.submit(bad))
    assert str(error) == (
        "Expected the model to run on 1 rows of up to 20 prompt tokens, got RuntimeError: the kernel gave up"
    )
    assert isinstance(pickle.loads(pickle.dumps(error)), GenerationError)


def test_an_error_that_is_kept_keeps_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the model nor anything of those who shared the batch, and no error of theirs."""
    loaded = fresh_model()
    gone = weakref.ref(loaded.model)
    nan, raises = (random_request(seed, num_branches=1, poisoned=True) for seed in (98, 99))
    raises = dataclasses.replace(raises, reference=(POISON - 1, *raises.reference[1:]), branches=(), weights=())
    with (
        Engine(loaded) as engine,
        failing_on(loaded, POISON),
        failing_on(loaded, POISON - 1, RuntimeError("mine")),
    ):
        running = engine.submit(random_request(1, max_tokens=200))
        errors = [outcome(g) for g in [engine.submit(request) for request in (raises, nan, raises)]]
        running.cancel()
    del engine, loaded, running
    gc.collect()
    assert gone() is None
    for error in errors:
        assert isinstance(error, GenerationError)
        assert error.__context__ is None
    assert str(errors[0].__cause__) == "mine"
    assert errors[0].__cause__.__context__ is None
    assert "in hook" in caplog.text, "the log says where it happened"


def test_a_second_reader_of_a_failed_stream_learns_of_it_too(loaded: LoadedModel) -> None:
    with Engine(loaded) as engine, failing_on(loaded, POISON, ERRORS["raises"]):
        generation = engine.submit(random_request(99, poisoned=True))
        for _ in range(2):
            with pytest.raises(GenerationError):
                list(generation)


async def test_a_failure_reaches_an_async_reader(loaded: LoadedModel) -> None:
    with Engine(loaded) as engine, failing_on(loaded, POISON, ERRORS["raises"]):
        with pytest.raises(GenerationError):
            await engine.submit(random_request(99, poisoned=True)).acompletion()
        assert len((await engine.submit(random_request(1)).acompletion()).records) == 8


# -- cancellation and deadlines ----------------------------------------------------------------------------------------


def test_a_cancelled_request_ends_and_its_rows_are_free(loaded: LoadedModel) -> None:
    endless = random_request(1, num_branches=3, max_tokens=900)
    with Engine(loaded, Limits(max_rows=4)) as engine:
        generation = engine.submit(endless)
        waiting = engine.submit(random_request(2, num_branches=3))
        for _, _chunk in zip(range(3), generation, strict=False):
            pass
        generation.cancel()
        completion = generation.completion
        assert completion.finish_reason == "cancelled"
        assert 3 <= len(completion.records) < 900
        assert len(waiting.completion.records) == 8, "there is room now"
        generation.cancel()
        stats = engine.stats()
        assert (stats.num_rows, stats.num_cancelled, stats.num_finished) == (0, 1, 1)


def test_a_request_cancelled_while_it_waits_never_runs(loaded: LoadedModel) -> None:
    with Engine(loaded, Limits(max_rows=1)) as engine:
        running = engine.submit(random_request(1, max_tokens=300))
        next(iter(running))
        waiting = engine.submit(random_request(2))
        waiting.cancel()
        assert waiting.completion.finish_reason == "cancelled"
        assert waiting.completion.records == ()
        running.cancel()


def test_a_deadline_ends_requests_that_wait_and_requests_that_run(loaded: LoadedModel) -> None:
    with Engine(loaded, Limits(max_rows=1)) as engine:
        running = engine.submit(random_request(1, max_tokens=1000, timeout=0.3))
        waiting = engine.submit(random_request(2, timeout=1e-4))
        patient = engine.submit(random_request(3, timeout=300))
        with pytest.raises(DeadlineExceededError, match=r"within 0.0001 s, got 0 tokens"):
            waiting.completion  # noqa: B018
        with pytest.raises(DeadlineExceededError, match=r"within 0.3 s, got \d+ tokens"):
            running.completion  # noqa: B018
        assert len(patient.completion.records) == 8


# -- the end of an engine ----------------------------------------------------------------------------------------------


def test_closing_ends_what_is_under_way_and_refuses_more(loaded: LoadedModel) -> None:
    engine = Engine(loaded, Limits(max_rows=1))
    running, waiting = (engine.submit(random_request(seed, max_tokens=900)) for seed in (1, 2))
    next(iter(running))
    assert not engine.closed
    engine.close()
    engine.close()
    assert engine.closed
    for generation in (running, waiting):
        assert isinstance(outcome(generation), EngineClosedError)
    with pytest.raises(EngineClosedError, match="it was closed"):
        engine.submit(random_request(3))
    stats = engine.stats()
    assert stats.num_rows == stats.num_waiting == stats.row_bytes == 0


def test_an_engine_may_be_closed_before_its_first_request(loaded: LoadedModel) -> None:
    engine = Engine(loaded)
    engine.close()
    with pytest.raises(EngineClosedError):
        engine.submit(random_request(1))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_dies_tells_every_caller_now_and_later(loaded: LoadedModel) -> None:
    engine = engine_for(loaded)
    running, bystander = (engine.submit(random_request(seed, max_tokens=900)) for seed in (1, 2))
    next(iter(running))
    with failing_on(loaded, POISON, SystemExit("the thread is told to go")):
        doomed = engine.submit(random_request(99, poisoned=True))
        errors = [outcome(generation) for generation in (running, bystander, doomed)]
    assert all(isinstance(error, EngineClosedError) for error in errors)
    assert len(set(map(id, errors))) == 3, "each caller raises its own"
    with pytest.raises(EngineClosedError):
        engine.submit(random_request(3))
    assert engine.closed
    assert engine_for(loaded) is not engine
    assert len(engine_for(loaded).complete(random_request(4)).records) == 8


def test_tracebacks_of_one_caller_do_not_show_in_anothers(loaded: LoadedModel) -> None:
    engine = Engine(loaded)
    generations = [engine.submit(random_request(seed, max_tokens=900)) for seed in range(3)]
    next(iter(generations[0]))
    engine.close()

    def alices_secret_frame() -> LaAgentsError | list[int]:
        return outcome(generations[0])

    first, second = alices_secret_frame(), outcome(generations[1])
    assert isinstance(first, EngineClosedError)
    assert isinstance(second, EngineClosedError)
    assert "alices_secret_frame" not in "".join(traceback.format_exception(second))


def test_a_dropped_engine_closes_and_says_so_to_those_who_wait() -> None:
    engine = Engine(fresh_model())
    generation = engine.submit(random_request(1, max_tokens=1000))
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None
    assert isinstance(outcome(generation), EngineClosedError)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_refused_and_the_parent_goes_on(loaded: LoadedModel) -> None:
    with Engine(loaded) as engine:
        engine.complete(random_request(1))
        child = os.fork()
        if child == 0:
            refused = False
            try:
                engine.submit(random_request(2))
            except EngineClosedError as error:
                refused = "fork" in str(error)
            engine.close()
            os._exit(0 if refused else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(engine.complete(random_request(2)).records) == 8


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal on this platform")
def test_an_interrupted_wait_cancels_its_request(loaded: LoadedModel) -> None:
    class AlarmError(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise AlarmError

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with Engine(loaded) as engine:

            def watch() -> None:
                while engine.stats().num_generated_tokens < 3:
                    time.sleep(0.001)
                os.kill(os.getpid(), signal.SIGUSR1)

            threading.Thread(target=watch).start()
            with pytest.raises(AlarmError):
                engine.complete(random_request(1, max_tokens=1000))
            assert len(engine.complete(random_request(2)).records) == 8
            assert engine.stats().num_cancelled == 1
    finally:
        signal.signal(signal.SIGUSR1, before)
