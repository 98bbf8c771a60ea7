"""The bundled model with files that name another end than its template writes: answers end all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from la_agents import ChatLinearAlignment
from la_agents.models import LoadedModel, load_model

QUESTION = "What is the capital of France? Answer in one word."


@pytest.fixture(scope="module")
def lying_model(plain_model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Links to the model's files, but for those that name ends: they all say <|endoftext|>."""
    source, folder = Path(plain_model.model.config._name_or_path), tmp_path_factory.mktemp("lying")
    other = plain_model.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    for file in source.iterdir():
        if file.name in ("config.json", "generation_config.json"):
            (folder / file.name).write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": other}))
        elif file.name == "tokenizer_config.json":
            (folder / file.name).write_text(json.dumps({**json.loads(file.read_text()), "eos_token": "<|endoftext|>"}))
        else:
            (folder / file.name).symlink_to(file)
    return load_model(folder, device="cpu", quantize=None)


def test_an_answer_ends_with_its_turn(lying_model: LoadedModel) -> None:
    answer = ChatLinearAlignment(model=lying_model, max_tokens=24).invoke(QUESTION)
    assert answer.response_metadata["finish_reason"] == "stop"
    assert "Paris" in answer.text
    assert "assistant" not in answer.text


def test_a_stop_string_may_be_what_the_template_writes(lying_model: LoadedModel) -> None:
    model = load_model(lying_model.model.config._name_or_path, device="cpu", quantize=None, end_token_ids=[])
    endless = ChatLinearAlignment(model=model, max_tokens=24)
    assert endless.invoke(QUESTION).response_metadata["finish_reason"] == "length"
    stopped = endless.invoke(QUESTION, stop=["<|im_end|>"])
    assert stopped.response_metadata["finish_reason"] == "stop"
    assert "Paris" in stopped.text
