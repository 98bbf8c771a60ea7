"""Methods as settings, and many answers under many settings out of one engine."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from la_agents.errors import ConfigurationError, RequestTooLargeError
from la_agents.evaluation.cases import Case
from la_agents.evaluation.likelihood import ModelScorer
from la_agents.evaluation.methods import METHODS, POLICIES, Setting, methods_named
from la_agents.evaluation.subject import Subject
from la_agents.principles import Principle
from la_agents.prompts.builder import PromptBuilder
from la_agents.requests import Alignment, Request, Sampling
from tests.engine_tools import fresh_model
from tests.tiny import pristine_model, tiny_model

PRINCIPLES = (Principle("Talk like a pirate."), Principle("Always be brief.", weight=0.5))
PROMPT = Setting("prompt")
QUESTIONS = ("What should I cook tonight?", "The user asks a question.", "Ça va?")


def settings_of_all() -> list[Setting]:
    return [point for method in METHODS.values() for point in method.points([0.0, 1.0, 2.0], [0.1, 1.0])]


def case(question: str = QUESTIONS[0], setting: Setting = PROMPT, **other: object) -> Case:
    return Case("", question, PRINCIPLES, setting, **{"max_tokens": 10, **other})


def test_every_point_has_a_key_of_its_own_and_can_be_run() -> None:
    points = settings_of_all()
    assert len({point.key for point in points}) == len(points)
    assert [point.key for point in points if "+" in point.method] == [
        f"{method} strength=2 {method.partition('+')[2]}={value}"
        for method in ("tapered+fluency", "linear+budget")
        for value in ("0.1", "1")
    ]
    for point in points:
        assert point.alignment().method == METHODS[point.method].rule


def test_points_are_what_the_method_varies() -> None:
    def strengths(name: str) -> list[float | None]:
        return [point.strength for point in METHODS[name].points([2.0, 0.0, 0.5, 2.0], [0.5])]

    assert strengths("base") == strengths("prompt") == strengths("best-of-n") == [None]
    assert strengths("linear") == strengths("linear-sum") == [0.0, 0.5, 2.0]
    assert strengths("cfg") == [0.5, 2.0]  # 0 is the method "prompt"
    assert strengths("amulet") == [0.5, 1.0]  # as published, and below
    assert strengths("linear+budget") == [2.0]


def test_names_are_looked_up_and_refused() -> None:
    assert [method.name for method in methods_named(["cfg", "base", "cfg"])] == ["base", "cfg"]
    assert set(POLICIES) < set(METHODS)
    with pytest.raises(ConfigurationError, match="'magic'"):
        methods_named(["base", "magic"])


def usual(setting: Setting) -> Setting:
    """What a calibrated setting is on a model that nobody has calibrated."""
    return replace(setting, strength=2.0) if setting.calibrated else setting


def test_answers_are_those_of_each_request_alone() -> None:
    subject = Subject(tiny_model("llama"))
    builder = subject.builder
    points = [point for point in settings_of_all() if point.num_samples == 1]
    cases = [case(question, point, seed=3) for question in QUESTIONS for point in points]
    answers, engine = subject.answer(cases), subject.engine
    assert [answer.case for answer in answers] == cases
    for answer in answers:
        one = answer.case
        principles = one.principles if one.setting.method != "base" else ()
        setting = usual(one.setting)
        placings = [setting.placing for _ in principles]
        prompts = builder.build_text(one.question, principles, setting.compose, placings=placings)
        alone = engine.complete(
            Request(
                reference=prompts.reference.token_ids,
                branches=tuple(branch.token_ids for branch in prompts.branches),
                weights=prompts.weights,
                sampling=Sampling(max_tokens=10),
                alignment=setting.alignment(),
            )
        )
        assert answer.token_ids == tuple(record.token_id for record in alone.records)
        assert len(answer.token_ids) == len(alone.records)
    unmoved = [answer for answer in answers if answer.case.setting.method == "base"]
    assert all(answer.mean_divergence == answer.changed == 0 for answer in unmoved)
    moved = [answer for answer in answers if answer.case.setting.method == "amulet" and len(answer.token_ids)]
    assert moved
    assert all(answer.mean_divergence > 0 for answer in moved)


def test_two_principles_make_one_branch_or_two() -> None:
    cases = [case(setting=Setting("linear", 1.0)), case(setting=Setting("linear-sum", 1.0))]
    answers = {answer.case.setting.method: answer.token_ids for answer in Subject(fresh_model()).answer(cases)}
    assert answers["linear"] != answers["linear-sum"]


def test_the_best_of_n_is_the_sample_that_the_principles_raise_most() -> None:
    subject = Subject(fresh_model())
    builder, engine = subject.builder, subject.engine
    one = case(setting=Setting("best-of-n", num_samples=6), seed=5)
    (best,) = subject.answer([one])
    (again,) = subject.answer([one])
    assert again.token_ids == best.token_ids
    assert again.mean_divergence == pytest.approx(best.mean_divergence, rel=1e-3, abs=1e-5)
    (other,) = subject.answer([replace(one, seed=6)])
    prompts = builder.build_text(one.question, PRINCIPLES)
    samples = [
        tuple(
            record.token_id
            for record in engine.complete(
                Request(
                    reference=prompts.reference.token_ids,
                    branches=(prompts.branches[0].token_ids,),
                    weights=prompts.weights,
                    sampling=Sampling(temperature=1.0, seed=5 * 1_000_003 + n, max_tokens=10),
                    alignment=Alignment(strength=0.0, principle_top_p=1.0),
                )
            ).records
        )
        for n in range(6)
    ]
    model = pristine_model("llama").model

    def ratio(text: tuple[int, ...]) -> float:
        # The weight of the joint branch is the mean of the principles', 0.75: the prompted policy is f(1).
        base, branch = (
            torch.log_softmax(model(torch.tensor([[*prompt, *text]])).logits[0, len(prompt) - 1 : -1], dim=-1)
            for prompt in (prompts.reference.token_ids, prompts.branches[0].token_ids)
        )
        mixed = torch.log_softmax(base + 0.75 * (branch - base), dim=-1)
        return float((mixed - base).gather(1, torch.tensor(text)[:, None]).sum())

    assert len(set(samples)) > 1
    assert best.token_ids == max(samples, key=ratio)
    assert other.token_ids != best.token_ids


def test_the_first_failure_reaches_the_caller_and_the_rest_is_given_up() -> None:
    subject = Subject(fresh_model())
    cases, engine = [case(max_tokens=200), case("word " * 2000), case(max_tokens=200)], subject.engine
    with pytest.raises(RequestTooLargeError):
        subject.answer(cases)
    assert engine.complete(Request(reference=(1, 2, 3), sampling=Sampling(max_tokens=1))).finish_reason == "length"
    assert engine.stats().num_running == engine.stats().num_waiting == 0


def test_a_prompt_is_computed_once_for_all_settings() -> None:
    subject = Subject(fresh_model())
    points = [Setting("linear", strength) for strength in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)]
    cases = [case(f"What should I cook on day {n}, {n}?", point) for n in range(4) for point in points]
    answers, stats = subject.answer(cases), subject.engine.stats()
    assert len(answers) == len(cases)
    assert stats.prefix_hit_rate > 0.6


# -- the policy of a setting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gemma", "mistral"])
def test_continuations_hold_what_the_model_says(family: str) -> None:
    loaded, model = tiny_model(family), pristine_model(family).model
    prompts = PromptBuilder(loaded.tokenizer).build_text(QUESTIONS[0], PRINCIPLES, "sum")
    texts = [loaded.tokenizer.encode(text, add_special_tokens=False) for text in ("be kind", "a", "What should I do?")]
    rows = [prompts.reference, *prompts.branches]
    for text, continuation in zip(texts, ModelScorer(loaded).continuations(prompts, texts), strict=True):
        assert continuation.logits.shape[:2] == (3, len(text))
        for row, logits in zip(rows, continuation.logits, strict=True):
            full = model(torch.tensor([[*row.token_ids, *text]])).logits[0]
            torch.testing.assert_close(logits, full[len(row.token_ids) - 1 : -1], rtol=1e-4, atol=1e-4)


def test_a_settings_policy_is_what_the_engine_decodes() -> None:
    """Token by token, the divergence that the engine reports is that of the policy that the evaluation reads."""
    subject = Subject(fresh_model())
    builder = subject.builder
    points = [point for point in settings_of_all() if point.num_samples == 1 and point.fluency is None]
    for answer in subject.answer([case(setting=point) for point in points]):
        setting = usual(answer.case.setting)
        principles = PRINCIPLES if setting.aligned else ()
        placings = [setting.placing for _ in principles]
        prompts = builder.build_text(QUESTIONS[0], principles, setting.compose, placings=placings)
        (along,) = subject.scorer.continuations(prompts, [answer.token_ids])
        log_pi = along.policy(setting.alignment(), aligned=setting.aligned)
        log_pi_0 = torch.log_softmax(along.logits[0], dim=-1)
        decoded = along.policy(setting.alignment(), aligned=setting.aligned, masked=True)
        kl = (decoded.exp() * (decoded - log_pi_0)).nan_to_num().sum(dim=-1)
        assert float(kl.mean()) == pytest.approx(answer.mean_divergence, rel=1e-3, abs=1e-4)
        assert decoded.argmax(dim=-1).tolist() == list(answer.token_ids)
        assert bool((log_pi.exp().sum(dim=-1) - 1).abs().max() < 1e-4)
        assert not math.isnan(float(along.log_probabilities(setting).sum()))
