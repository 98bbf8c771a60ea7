"""Call formats read off templates in the style of models that know tools, added tokens and single calls included."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from tokenizers import AddedToken

from la_agents import ChatLinearAlignment
from la_agents.models import LoadedModel
from la_agents.prompts.builder import PromptBuilder
from la_agents.prompts.call_format import HERMES, CallFormat
from tests.tiny import tiny_model, tiny_tokenizer

# Llama 3.1: the tools in the first human turn, one call an answer as bare JSON, results as "ipython".
LLAMA_3 = (
    "{% for m in messages %}{% if m.tool_calls is defined and m.tool_calls %}"
    "{% if m.tool_calls | length != 1 %}{{ raise_exception('single tool-calls only') }}{% endif %}"
    "<|im_start|>assistant\n\n"
    '{{ \'{"name": "\' + m.tool_calls[0].function.name + \'", "parameters": \' }}'
    "{{ m.tool_calls[0].function.arguments | tojson }}{{ '}' }}<|im_end|>"
    "{% elif m.role == 'tool' %}<|im_start|>ipython\n\n{{ m.content }}<|im_end|>"
    "{% else %}<|im_start|>{{ m.role }}\n\n{% if loop.last and tools %}{{ tools | tojson }}{% endif %}"
    "{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}"
)
# Mistral: a control token, a list of calls with ids.
MISTRAL = (
    "{% for m in messages %}{% if m.role == 'user' %}"
    "{% if loop.last and tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "[INST]{{ m.content }}[/INST]"
    "{% elif m.tool_calls is defined and m.tool_calls %}[TOOL_CALLS][{% for c in m.tool_calls %}"
    '{{ \'{"name": "\' + c.function.name + \'", "arguments": \' }}{{ c.function.arguments | tojson }}'
    "{{ ', \"id\": \"' + c.id + '\"}' }}{% if not loop.last %}, {% endif %}{% endfor %}]<|im_end|>"
    "{% elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]"
    "{% elif m.role == 'assistant' %}{{ m.content }}<|im_end|>{% else %}[SYS]{{ m.content }}{% endif %}{% endfor %}"
)
PYTHON_STYLE = (
    "{% for m in messages %}{{ m.role + ':' + m.content }}{% for c in m.tool_calls or [] %}"
    "{{ c.function.name }}({% for k, v in c.function.arguments.items() %}{{ k }}={{ v }}{% endfor %})"
    "{% endfor %}<|im_end|>{% endfor %}{{ tools | tojson if tools else '' }}assistant:"
)


def loaded_with(template: str | None, *tokens: AddedToken) -> LoadedModel:
    """A tiny model whose tokenizer has another template, and control tokens in place of some learned ones."""
    loaded = tiny_model.__wrapped__("qwen2")
    tokenizer = copy.deepcopy(tiny_tokenizer("qwen2"))
    if tokens:
        tokenizer.add_tokens(list(tokens))
        loaded.model.resize_token_embeddings(len(tokenizer))
    tokenizer.chat_template = template or tokenizer.chat_template
    object.__setattr__(loaded, "tokenizer", tokenizer)
    return loaded


def format_of(template: str) -> CallFormat:
    return PromptBuilder(loaded_with(template).tokenizer).call_format


def test_bare_json_and_one_call_at_a_time() -> None:
    assert format_of(LLAMA_3) == CallFormat('{"name": "', '", "parameters": ', None, "}")


def test_a_control_token_and_ids() -> None:
    """Ids differ from call to call, so that one call an answer is read."""
    opening = '[TOOL_CALLS][{"name": "'
    assert format_of(MISTRAL) == CallFormat(opening, '", "arguments": ', None, ', "id": "call00000"}]')


def test_arguments_that_are_no_json_fall_back() -> None:
    builder = PromptBuilder(loaded_with(PYTHON_STYLE).tokenizer)
    assert builder.call_format is HERMES
    tools = [{"type": "function", "function": {"name": "weather", "description": "Qd", "parameters": {}}}]
    assert "<tool_call>" in builder.build([HumanMessage("Hi")], tools=tools).reference.text


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return city


@pytest.mark.parametrize(
    ("template", "tokens"),
    [
        (LLAMA_3, ()),
        (MISTRAL, (AddedToken("[TOOL_CALLS]", special=True),)),
        (None, (AddedToken("<tool_call>", special=False), AddedToken("</tool_call>", special=False))),
    ],
)
@pytest.mark.parametrize("choice", ["any", "auto"])
def test_calls_are_decoded_and_read_in_the_templates_own_format(
    template: str | None, tokens: tuple[Any, ...], choice: str
) -> None:
    loaded = loaded_with(template, *tokens)
    called = 0
    for seed in range(3):
        llm = ChatLinearAlignment(model=loaded, temperature=1.5, seed=seed, max_tokens=200)
        message = llm.bind_tools([weather], tool_choice=choice).invoke("Hi")
        called += bool(message.tool_calls)
        for call in message.tool_calls:
            jsonschema.validate(call["args"], weather.args_schema.model_json_schema())
        assert "tool_call" not in message.content.lower()
        history = [HumanMessage("Hi"), message]
        if message.tool_calls:
            history += [ToolMessage("sunny", tool_call_id=call["id"]) for call in message.tool_calls]
        assert isinstance(llm.bind_tools([weather]).invoke([*history, HumanMessage("And?")]), AIMessage)
    assert called == 3 or choice == "auto"
