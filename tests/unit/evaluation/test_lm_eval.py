"""The lm-eval class, against the bare model's logits and against the LangChain faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_eval
import pytest
import torch
from datasets import Dataset
from langchain_core.messages import AIMessage, HumanMessage
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager

from la_agents import ChatLinearAlignment, LinearAlignmentLLM
from la_agents.errors import ConfigurationError, RequestTooLargeError
from la_agents.evaluation.lm_eval import LinearAlignmentLM
from tests.tiny import MAX_POSITIONS, pristine_model, save_tiny_model, tiny_model

PRINCIPLES = ["Talk like a pirate.", "Always be brief."]
QUESTION = "The user asks a question."
CONTEXT = "What should I cook tonight?"


def requests(kind: Any, *arguments: tuple[Any, ...]) -> list[Instance]:
    return [Instance(kind, {}, each, 0) for each in arguments]


def subject(family: str, **settings: Any) -> LinearAlignmentLM:
    return LinearAlignmentLM(model=tiny_model(family), **settings)


def bare_log_probabilities(family: str, prefix: list[int], text: list[int]) -> torch.Tensor:
    """Logits before each token of a text, from transformers alone."""
    with torch.no_grad():
        logits = pristine_model(family).model(torch.tensor([[*prefix, *text]])).logits[0]
    return logits[len(prefix) - 1 : -1].float()


def ids(family: str, text: str) -> list[int]:
    return tiny_model(family).tokenizer.encode(text, add_special_tokens=False)


def test_lm_eval_finds_it_by_name() -> None:
    assert get_model("la_agents") is LinearAlignmentLM


@pytest.mark.parametrize("family", ["llama", "gemma", "pythia"])
def test_likelihoods_are_those_of_the_line_of_the_bare_models_logits(family: str) -> None:
    strength = 1.5
    lm = subject(family, principles=PRINCIPLES, method="cfg", strength=strength)
    face = LinearAlignmentLLM(model=tiny_model(family), principles=PRINCIPLES)
    rendered = face.render(CONTEXT)
    texts = [" Brief answers", " model and tool"]
    found = lm.loglikelihood(requests("loglikelihood", *((CONTEXT, text) for text in texts)))
    is_text = rendered.reference.endswith(CONTEXT)  # a base model goes on with it
    assert is_text == (family == "pythia")
    for text, (total, _) in zip(texts, found, strict=True):
        tokens = ids(family, text if is_text else text.strip())
        f_0, f_1 = (
            bare_log_probabilities(family, ids(family, prompt), tokens)
            for prompt in (rendered.reference, *rendered.principle_prompts)
        )
        log_pi = torch.log_softmax(f_0 + (1 + strength) * (f_1 - f_0), dim=-1)
        assert total == pytest.approx(float(log_pi.gather(-1, torch.tensor(tokens)[:, None]).sum()), abs=2e-3)


def test_without_principles_a_text_has_the_bare_models_likelihood() -> None:
    lm, text = subject("llama"), "The user asks a question and the assistant answers it."
    tokens = ids("llama", text)
    logits = bare_log_probabilities("llama", [tiny_model("llama").tokenizer.bos_token_id], tokens)
    bare = torch.log_softmax(logits, dim=-1).gather(-1, torch.tensor(tokens)[:, None]).sum()
    (rolling,) = lm.loglikelihood_rolling(requests("loglikelihood_rolling", (text,)))
    ((unasked, _),) = lm.loglikelihood(requests("loglikelihood", ("", text)))
    assert rolling == pytest.approx(float(bare), abs=2e-3)
    assert unasked == pytest.approx(rolling, abs=1e-4)


def test_principles_stand_before_a_text_in_their_branch_alone() -> None:
    lm, text = subject("llama", principles=PRINCIPLES, strength=0.0, support="all"), "The user asks a question."
    start = [tiny_model("llama").tokenizer.bos_token_id]
    tokens = ids("llama", text)
    logits = bare_log_probabilities("llama", [*start, *ids("llama", "\n".join(PRINCIPLES) + "\n\n")], tokens)
    prompted = torch.log_softmax(logits, dim=-1).gather(-1, torch.tensor(tokens)[:, None]).sum()
    (found,) = lm.loglikelihood_rolling(requests("loglikelihood_rolling", (text,)))
    assert found == pytest.approx(float(prompted), abs=2e-3)


@pytest.mark.parametrize("compose", ["joint", "sum"])
def test_a_text_longer_than_the_context_is_read_in_windows(compose: str) -> None:
    lm = subject("llama", principles=PRINCIPLES, compose=compose)
    text = "The user asks a question and the assistant answers it. " * 80
    assert len(ids("llama", text)) > MAX_POSITIONS
    (found,) = lm.loglikelihood_rolling(requests("loglikelihood_rolling", (text,)))
    assert found < 0
    with pytest.raises(RequestTooLargeError, match=f"Expected at most {MAX_POSITIONS} tokens"):
        lm.loglikelihood(requests("loglikelihood", (text, " yes")))


def test_what_a_face_answers_is_greedy_and_another_text_is_not() -> None:
    lm = subject("llama", principles=PRINCIPLES)
    face = LinearAlignmentLLM(model=tiny_model("llama"), principles=PRINCIPLES, max_tokens=8)
    answer = face.invoke(QUESTION)
    asked = requests("loglikelihood", (QUESTION, answer), (QUESTION, answer[:-1] + "#"))
    assert [is_greedy for _, is_greedy in lm.loglikelihood(asked)] == [True, False]


@pytest.mark.parametrize("family", ["llama", "pythia"])
def test_generated_answers_are_the_faces_own(family: str) -> None:
    lm = subject(family, principles=PRINCIPLES, strength=1.0)
    given = {"model": tiny_model(family), "principles": PRINCIPLES, "strength": 1.0}
    chat = [
        {"role": "user", "content": "Ça va?"},
        {"role": "assistant", "content": "Beaucoup!"},
        {"role": "user", "content": CONTEXT},
    ]
    arguments = {"until": ["e"], "max_gen_toks": 12}
    found = lm.generate_until(
        requests(
            "generate_until",
            (CONTEXT, arguments),
            ("The user asks", {"until": "\n\n", "max_gen_toks": 9, "do_sample": False, "temperature": 0.0}),
            (lm.apply_chat_template(chat), arguments),
            (lm.apply_chat_template([*chat, {"role": "assistant", "content": "Answer:"}], False), arguments),
        )
    )
    text, llm = LinearAlignmentLLM(**given), ChatLinearAlignment(**given)
    messages = [HumanMessage("Ça va?"), AIMessage("Beaucoup!"), HumanMessage(CONTEXT)]
    assert found == [
        text.invoke(CONTEXT, stop=["e"], max_tokens=12),
        text.invoke("The user asks", stop=["\n\n"], max_tokens=9),
        llm.invoke(messages, stop=["e"], max_tokens=12).text,
        llm.invoke([*messages, AIMessage("Answer:")], stop=["e"], max_tokens=12).text,
    ]
    assert len(set(found)) > 1


def test_sampled_answers_take_the_tasks_settings() -> None:
    lm = subject("llama", principles=PRINCIPLES)
    arguments = {"until": [], "max_gen_toks": 12, "do_sample": True, "temperature": 0.9, "top_p": 0.9, "seed": 5}
    face = LinearAlignmentLLM(model=tiny_model("llama"), principles=PRINCIPLES)
    expected = face.invoke(CONTEXT, max_tokens=12, temperature=0.9, top_p=0.9, seed=5)
    assert lm.generate_until(requests("generate_until", (CONTEXT, arguments))) == [expected]


def test_what_is_not_honoured_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="num_beams"):
        subject("llama").generate_until(requests("generate_until", (CONTEXT, {"num_beams": 4})))
    with pytest.raises(ConfigurationError, match="fluency"):
        subject("llama", principles=PRINCIPLES, fluency=0.4)
    with pytest.raises(ConfigurationError, match="magic"):
        subject("llama", magic=1)


def test_lm_eval_runs_a_task_of_the_users_own_with_it(tmp_path: Path) -> None:
    asked = {"question": "What is the capital of France?", "options": ["London", "Paris"], "place": 1}
    task = {
        "task": "capitals",
        "custom_dataset": lambda **_: {"test": Dataset.from_list([asked, asked])},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{options}}",
        "doc_to_target": "{{place}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    found = lm_eval.simple_evaluate(
        model="la_agents",
        model_args={"model": str(save_tiny_model("llama", tmp_path)), "principles": PRINCIPLES, "strength": 1.5},
        device="cuda:0",  # what its command line asks for by default
        tasks=[task],
        task_manager=TaskManager(include_defaults=False),
        apply_chat_template=True,
        bootstrap_iters=0,
    )
    lm = subject("llama", principles=PRINCIPLES, strength=1.5)
    context = lm.apply_chat_template([{"role": "user", "content": asked["question"]}])
    expected = lm.loglikelihood(requests("loglikelihood", *((context, option) for option in asked["options"])))
    first, _ = found["samples"]["capitals"]
    assert [total for total, _ in first["filtered_resps"]] == pytest.approx([total for total, _ in expected], abs=2e-3)
    assert found["results"]["capitals"]["acc,none"] == float(expected[1] > expected[0])
