"""Where an answer ends: ids from every source that names one, joined, and what the chat template itself writes."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken

from la_agents import ChatLinearAlignment
from la_agents.calls.builder import CallBuilder
from la_agents.engine.detokenizer import Detokenizer
from la_agents.engine.engine import Engine
from la_agents.errors import ConfigurationError
from la_agents.models import LoadedModel, load_model
from la_agents.models.turn_end import TurnEnd, turn_end
from la_agents.prompts.builder import PromptBuilder
from la_agents.requests import Request, Sampling
from tests.engine_tools import fresh_model
from tests.tiny import FAMILIES, save_tiny_model, tiny_model, tiny_tokenizer

ENDS = {
    "llama": "<|im_end|>",
    "qwen2": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "gemma": "<end_of_turn>",
    "mistral": "</s>",
}
OTHERS = {
    "llama": "<|endoftext|>",
    "qwen2": "<|endoftext|>",
    "qwen3": "<|endoftext|>",
    "gemma": "<eos>",
    "mistral": "<unk>",
}


def id_of(family: str, token: str) -> int:
    return int(tiny_tokenizer(family).convert_tokens_to_ids(token))


def with_template(template: str | None, family: str = "llama") -> Any:
    tokenizer = copy.deepcopy(tiny_tokenizer(family))
    tokenizer.chat_template = template
    return tokenizer


def save_lying(family: str, folder: Path, *, generation: Any, model: Any, tokenizer: str | None) -> Path:
    """The tiny model with files that name these ids; no generation config at all if that is "absent"."""
    save_tiny_model(family, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": model}))
    if generation == "absent":
        (folder / "generation_config.json").unlink()
    else:
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": generation}))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    if family != "mistral":  # its template writes the tokenizer's own
        (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": tokenizer}))
    return folder


# -- the sources -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ENDS)
@pytest.mark.parametrize("kind", ["another", "none", "absent", "list"])
def test_the_templates_end_counts_whatever_the_files_name(family: str, kind: str, tmp_path: Path) -> None:
    end, other = id_of(family, ENDS[family]), id_of(family, OTHERS[family])
    named = {"another": other, "none": None, "absent": "absent", "list": [other, 300]}[kind]
    model = None if kind == "none" else other
    folder = save_lying(family, tmp_path / "m", generation=named, model=model, tokenizer=OTHERS[family])
    found = load_model(folder, device="cpu").eos_token_ids
    assert end in found
    assert found <= {end, other, 300}
    assert (300 in found) == (kind == "list"), "an author's own list is taken as it is"


def test_every_source_adds_its_ids(tmp_path: Path) -> None:
    folder = save_lying("gemma", tmp_path / "m", generation=[7], model=id_of("gemma", "<pad>"), tokenizer="<eos>")
    ids = load_model(folder, device="cpu").eos_token_ids
    assert ids == {7, id_of("gemma", "<pad>"), id_of("gemma", "<eos>"), id_of("gemma", "<end_of_turn>")}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_default_of_a_configurations_class_does_not_end_answers_at_a_letter(family: str, tmp_path: Path) -> None:
    letter = id_of(family, "a" if family not in ("gemma", "mistral") else "<0x61>")
    folder = save_lying(
        family, tmp_path / "m", generation="absent", model=letter, tokenizer=OTHERS.get(family, "<|endoftext|>")
    )
    assert letter not in load_model(folder, device="cpu").eos_token_ids


def test_an_id_beyond_the_vocabulary_is_none(tmp_path: Path) -> None:
    folder = save_lying("llama", tmp_path / "m", generation=[10**6, -1, True], model=10**6, tokenizer="<|endoftext|>")
    assert load_model(folder, device="cpu").eos_token_ids == {
        id_of("llama", "<|endoftext|>"),
        id_of("llama", "<|im_end|>"),
    }


def test_ids_given_by_hand_replace_the_others_and_make_another_copy(tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "m")
    own, given, none = (load_model(folder, device="cpu", end_token_ids=ids) for ids in (None, [7, 9], []))
    assert (given.eos_token_ids, none.eos_token_ids) == ({7, 9}, frozenset())
    assert own is not given
    assert load_model(folder, device="cpu", end_token_ids=(9, 7)) is given
    face = ChatLinearAlignment(model=str(folder), end_token_ids=[7, 9])
    assert face.engine.loaded is given
    assert face.identifying != ChatLinearAlignment(model=str(folder)).identifying


@pytest.mark.parametrize("ids", [7, [-1], ["</s>"], "12", [1.0], [True]])
def test_ids_that_are_none_are_refused(ids: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="end_token_ids"):
        load_model(save_tiny_model("llama", tmp_path / "m"), device="cpu", end_token_ids=ids)


# -- the template ------------------------------------------------------------------------------------------------------

_TURNS = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}END{% endfor %}"
IM_END = TurnEnd(id_of("llama", "<|im_end|>"))


@pytest.mark.parametrize(
    ("written", "end"),
    [
        ("{{ '<|im_end|>\n' }}", IM_END),
        ("{{ '\n<|im_end|><|endoftext|>' }}", IM_END),
        ("{{ ' [/ANSWER] <|im_end|>' }}", TurnEnd(IM_END.token_id, " [/ANSWER]")),
        ("{{ '<|end_of_answer|>\n' }}", TurnEnd(None, "<|end_of_answer|>")),  # several tokens of this vocabulary
        ("{{ '\n\n' }}", TurnEnd(id_of("llama", "<|im_start|>"))),  # the next turn's first token
        ("", TurnEnd(id_of("llama", "<|im_start|>"))),
        ("{% if not loop.last %}<|im_end|>{% endif %}", IM_END),
    ],
)
def test_what_a_template_writes_after_an_answer_ends_it(written: str, end: TurnEnd) -> None:
    assert turn_end(with_template(_TURNS.replace("END", written))) == end


@pytest.mark.parametrize(
    ("template", "stop"),
    [
        ("### {{ m.role }}:\n{{ m.content }}\n\n", "\n### user:"),
        ("{{ m.role | upper }}: {{ m.content }} ", " USER:"),
        ("{{ m.content }}\n", ""),
        ("{{ m.content }}", ""),
        ("# {{ m.content }}\n", ""),
    ],
)
def test_the_next_turns_label_stops_an_answer_where_no_token_does(template: str, stop: str) -> None:
    tokenizer = with_template("{% for m in messages %}" + template + "{% endfor %}")
    assert turn_end(tokenizer) == TurnEnd(None, stop)
    assert PromptBuilder(tokenizer).stop == ((stop,) if stop else ())


_LLAMA_3 = (
    "{% for m in messages %}{% set c = '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + "
    "'<|eot_id|>' %}{% if loop.index0 == 0 %}{% set c = bos_token + c %}{% endif %}{{ c }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_PHI_3 = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ '<|endoftext|>' }}{% endif %}"
)
_GLM_4 = "[gMASK]{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}<|assistant|>"
_ZEPHYR = "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
_LLAMA_2 = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ '<s>[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + ' </s>' }}{% endif %}{% endfor %}"
)
_VICUNA = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ 'USER: ' + m.content + ' ' }}"
    "{% else %}{{ 'ASSISTANT: ' + m.content }}{% if not loop.last %}{{ '</s>' }}{% endif %}{% endif %}{% endfor %}"
)
_HARMONY = (  # what ends an answer differs from what ends its thoughts, and from what history shows
    "{% for m in messages %}{{ '<|start|>' + m.role + '<|message|>' + m.content }}"
    "{% if loop.last and m.role == 'assistant' %}<|return|>{% else %}<|end|>{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (_LLAMA_3, "<|eot_id|>"),
        (_PHI_3, "<|end|>"),
        (_GLM_4, "<|user|>"),
        (_GLM_4.removesuffix("<|assistant|>"), "<|user|>"),
        (_ZEPHYR + "<|assistant|>", "</s>"),
        (_ZEPHYR, "</s>"),
        (_LLAMA_2, "</s>"),
        (_VICUNA, "</s>"),
        (_HARMONY, "<|return|>"),
    ],
)
@pytest.mark.parametrize("special", [True, False])
def test_templates_in_the_style_of_known_families(template: str, end: str, special: bool) -> None:
    """Also where the markers were added to the vocabulary as ordinary tokens."""
    tokenizer = with_template(template)
    markers = set(re.findall(r"<[|/][a-z_|]*>", template)) | {"<s>", end, "<|user|>", "<|assistant|>"}
    added = [AddedToken(marker, special=special, normalized=False) for marker in sorted(markers)]
    tokenizer.add_tokens(added, special_tokens=special)
    tokenizer.eos_token = "</s>"
    assert turn_end(tokenizer) == TurnEnd(tokenizer.convert_tokens_to_ids(end))


@pytest.mark.parametrize(
    "template", [None, "{{ raise_exception('no') }}", "{{ messages[7].content }}", "fixed text", "{{ 1 / 0 }}"]
)
def test_a_template_that_shows_no_answer_says_nothing(template: str | None) -> None:
    assert turn_end(with_template(template)) == TurnEnd()


# -- stop strings ------------------------------------------------------------------------------------------------------


def forced(tokens: list[int]) -> LoadedModel:
    """A model that answers with these tokens; no id ends its answer."""
    loaded, rest = fresh_model("llama"), iter(tokens)

    def hook(_: torch.nn.Module, args: Any, logits: torch.Tensor) -> torch.Tensor:
        chosen = torch.zeros_like(logits)
        chosen[..., next(rest)] = 1.0
        return chosen

    loaded.model.lm_head.register_forward_hook(hook)
    return loaded


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (("<|im_end|>",), "Please"),
        (("<|im_end|>\n",), "Please"),
        (("never", "se<|im_end|>"), "Plea"),
        (("<|endoftext|>",), "Please\nbe "),
        (("\nbe", "<|endoftext|>"), "Please"),
        (("e\nb",), "Pleas"),  # no special token stands in it: it is sought in what is shown
        (("<|im_start|>",), "Please\nbe kind"),
    ],
)
def test_a_stop_string_may_be_a_special_token(stop: tuple[str, ...], text: str) -> None:
    tokenizer = tiny_tokenizer("llama")
    ids = tokenizer.encode("Please<|im_end|>\nbe <|endoftext|>kind", add_special_tokens=False)
    with Engine(forced(ids)) as engine:
        request = Request(reference=(20, 21, 22), sampling=Sampling(max_tokens=len(ids), stop=stop))
        generation = engine.submit(request)
        shown = "".join(chunk.text for chunk in generation) + generation.completion.tail
    assert shown == text
    assert generation.completion.finish_reason == ("length" if text.endswith("kind") else "stop")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_special_token_of_every_family_can_stop(family: str) -> None:
    tokenizer = tiny_tokenizer(family)
    words = tokenizer.encode("be kind", add_special_tokens=False)
    for index, token in tokenizer.added_tokens_decoder.items():
        detokenizer = Detokenizer(tokenizer, (token.content,))
        shown = "".join(detokenizer.push(i) for i in [*words, index, *words]) + detokenizer.flush()
        assert (shown, detokenizer.stopped) == (tokenizer.decode(words), True)


# -- the first call ----------------------------------------------------------------------------------------------------


def test_the_first_call_has_the_templates_own_stops() -> None:
    """A template without special tokens: its labels are known once the tokenizer is, which the first call loads."""
    face = ChatLinearAlignment(model=tiny_model("pythia"), max_tokens=4, stop=["END"])
    calls = [CallBuilder.of(face, {}, stop).build("Hello") for stop in (None, ["NO"], None)]
    own = ("\nSystem:", "\nUser:")
    assert [call.request.sampling.stop for call in calls] == [("END", *own), ("NO", *own), ("END", *own)]
