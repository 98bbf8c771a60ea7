"""What the plugin chooses is what the local engine chooses, whatever a request asks for; needs la_agents, not vLLM."""

from __future__ import annotations

import importlib.util
import math
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("la_agents", reason="la_agents is not installed here")

from la_agents.engine.sampler import Sampler
from la_agents.engine.sequence import Sequence
from la_agents.requests import Alignment, Request, Sampling, TokenRecord
from la_agents.vllm.wire import arguments_of, num_facts, records_of
from la_agents_vllm.arguments import Arguments, Row
from la_agents_vllm.buckets import Buckets
from la_agents_vllm.choosing import FORCED, choose, describe
from la_agents_vllm.records import write

VOCAB = 512
CPU = torch.device("cpu")


def some_request(rng: random.Random) -> Request:
    """Any combination of settings."""
    k = rng.choice([0, 1, 1, 2, 3])
    support = rng.choice([None, "nucleus", "plausible", "all"])
    push = rng.choice([None, "uniform", "tapered", "adaptive"])
    method = rng.choice(["tapered", "linear", "amulet", "cfg", "context-steering"])
    return Request(
        reference=(1, 2, 3),
        branches=tuple((4 + i, 5, 6) for i in range(k)),
        weights=tuple(rng.choice([1.0, 0.5, 0.0, 2.0]) for _ in range(k)),
        alignment=Alignment(
            method=method,
            strength=rng.choice([None, 0.0, 0.5, 2.0, *([] if method == "amulet" else [-0.5, 8.0])]),
            support=support,
            principle_top_p=rng.choice([None, 0.5, 0.9]) if support == "nucleus" else None,
            mask_temperature=rng.choice([None, 0.3, 1.5]) if support == "nucleus" else None,
            plausibility=rng.choice([None, 0.3, 0.0]) if support == "plausible" else None,
            push=push,
            taper=rng.choice([None, 0.5, 2.0]) if push in ("tapered", "adaptive") else None,
            fluency=rng.choice([None, None, 0.1]),
            max_divergence=rng.choice([None, None, 0.0, 0.3, 3.0]),
        ),
        sampling=Sampling(
            temperature=rng.choice([0.0, 0.0, 0.7, 1.3]), top_p=rng.choice([1.0, 0.8]), seed=rng.randrange(99)
        ),
        list_candidates=rng.random() < 0.3,
    )


def row_of(request: Request, name: str) -> Row:
    given = Arguments.of(arguments_of(request))
    assert given is not None
    return Row.first(name, given, request.sampling.seed or 0, request.sampling.temperature, request.sampling.top_p)


def read_back(logits: Tensor, row: int, request: Request) -> TokenRecord:
    """A row's record, as a server returns it: the largest values, the chosen token's first."""
    token = int(logits[row].argmax())
    values, ids = logits[row].topk(1 + num_facts(request))
    entries = {f"token_id:{i}": max(v, -9999.0) for i, v in zip(ids.tolist(), values.tolist(), strict=True)}
    choice = {"token_ids": [token], "logprobs": {"top_logprobs": [entries]}}
    (record,) = records_of(choice, request)
    return record


@pytest.mark.parametrize("seed", range(40))
def test_tokens_and_records_are_those_of_the_local_engine(seed: int) -> None:
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    requests = [some_request(rng) for _ in range(rng.randint(1, 5))]
    numbers = list(range(sum(1 + len(r.branches) for r in requests) + 2))
    rng.shuffle(numbers)
    places = [[numbers.pop() for _ in r.prompts] for r in requests]
    rows = [row_of(r, f"r{i}") for i, r in enumerate(requests)]
    buckets = Buckets(8, CPU)
    gangs = describe(list(zip(places, rows, strict=True)), buckets, CPU)
    sequences = [Sequence(r) for r in requests]
    streams = [random.Random(r.sampling.seed) for r in requests]
    sampler = Sampler()
    for step in range(4):
        shared = torch.randn(VOCAB, generator=generator) * 4
        logits = shared + torch.randn(len(numbers) + sum(map(len, places)), VOCAB, generator=generator) * 2
        expected = sampler.sample(logits, list(zip(sequences, places, strict=True)))
        drawn = torch.tensor([(s.random(), s.random()) for s in streams], dtype=torch.float64).T
        given = logits.clone()
        tokens = choose(given, gangs, drawn, torch.full((len(requests),), step), buckets)
        for i, (request, record) in enumerate(zip(requests, expected, strict=True)):
            assert [int(given[place].argmax()) for place in places[i]] == [record.token_id] * len(places[i])
            assert int(tokens[i]) == record.token_id
            found = read_back(given, places[i][0], request)
            assert (found.token_id, found.reference_id) == (record.token_id, record.reference_id)
            facts = [found.divergence, found.scale, *found.contributions]
            assert facts == pytest.approx([record.divergence, record.scale, *record.contributions], abs=1e-4, rel=1e-4)
            assert [c.token_id for c in found.candidates] == [c.token_id for c in record.candidates]
            assert [c.aligned for c in found.candidates] == pytest.approx(
                [c.aligned for c in record.candidates], abs=1e-5
            )
        for other in numbers:
            assert torch.equal(given[other], logits[other]), "a row of nobody's is left alone"


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_a_grammar_forbids_is_never_chosen_and_unaligned_parts_are_the_references(temperature: float) -> None:
    sampling = Sampling(temperature=temperature, seed=3)
    request = Request(
        reference=(1, 2),
        branches=((3, 4), (5, 6)),
        weights=(1.0, 1.0),
        sampling=sampling,
        alignment=Alignment(strength=3.0, support="all", push="uniform"),
    )
    buckets = Buckets(4, CPU)
    gangs = describe([([0, 1, 2], row_of(request, "a"))], buckets, CPU)
    alone = describe([([0], row_of(Request(reference=(1, 2), sampling=sampling), "b"))], buckets, CPU)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(3, VOCAB, generator=generator) * 3
        allowed = torch.rand(VOCAB, generator=generator) < 0.1
        logits = logits.masked_fill(~allowed, -math.inf)
        drawn, first = torch.rand(2, 1, dtype=torch.float64, generator=generator), torch.zeros(1, dtype=torch.long)
        (token,) = choose(logits.clone(), gangs, drawn, first, buckets)
        assert bool(allowed[token])
        unaligned = logits.clone()
        unaligned[1:] = -math.inf
        (token,) = choose(unaligned, gangs, drawn, first, buckets)
        (own,) = choose(logits.clone(), alone, drawn, first, buckets)
        assert int(token) == int(own)
        assert [int(unaligned[row].argmax()) for row in range(3)] == [int(own)] * 3


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("row", [0, 1])
def test_logits_that_are_not_finite_are_told(bad: float, row: int) -> None:
    from la_agents.errors import GenerationError

    request = Request(reference=(1, 2), branches=((3, 4),), weights=(1.0,))
    buckets = Buckets(4, CPU)
    gangs = describe([([0, 1], row_of(request, "a"))], buckets, CPU)
    logits = torch.randn(2, VOCAB)
    logits[row, 5] = bad
    choose(logits, gangs, torch.zeros(2, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.long), buckets)
    with pytest.raises(GenerationError, match="finite"):
        read_back(logits, 0, request)


@pytest.mark.parametrize("token", [0, 2, 3, 400])
def test_facts_and_chosen_token_do_not_mix(token: int) -> None:
    logits = torch.zeros(2, VOCAB)
    write(logits, torch.tensor([1]), torch.tensor([token]), torch.tensor([[7.0, 0.5, math.nan, -2.0]]))
    assert int(logits[1].argmax()) == token
    assert logits[1, token] == torch.tensor(FORCED)
    facts = [float(v) for i, v in enumerate(logits[1]) if i != token and not math.isinf(v)]
    assert facts == [7.0, 0.5, -2.0]
    assert not logits[0].any()


def test_a_bucket_goes_on_from_the_state_of_its_place() -> None:
    buckets = Buckets(2, CPU)
    slot, rate = torch.tensor([buckets.slot_of("a")]), torch.tensor([0.5])
    assert buckets.slot_of("a") == int(slot)
    place = torch.tensor([0])
    buckets.spend(slot, place, torch.tensor([9.0]), rate)
    assert buckets.left(slot, place + 1).tolist() == [0.5]
    buckets.spend(slot, place + 1, torch.tensor([0.25]), rate)
    assert buckets.left(slot, place + 2).tolist() == [0.75]
    buckets.spend(slot, place + 1, torch.tensor([0.0]), rate)  # the step was thrown away, and is taken again
    assert buckets.left(slot, place + 2).tolist() == [1.0]
    assert len({buckets.slot_of(name) for name in ("b", "c")}) == 2  # "a" has gone
    assert buckets.left(torch.tensor([buckets.slot_of("a")]), place).tolist() == [3.0]


def test_the_copies_of_the_method_are_its_sources() -> None:
    spec = importlib.util.spec_from_file_location("copy_alignment", Path(__file__).parents[1] / "copy_alignment.py")
    assert spec is not None
    assert spec.loader is not None
    copying = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copying)
    sources = {path.name: copying.copied(path) for path in copying.SOURCES.glob("*.py")}
    copies = {path.name: path.read_text(encoding="utf-8") for path in copying.COPIES.glob("*.py")}
    assert sources == copies, "run python integrations/vllm/copy_alignment.py"
