"""Tiny random models, one per architecture family, each with a tokenizer and a chat template in its style.

Deterministic (seeded), float32, made in milliseconds, nothing read from disk or network. The hard part of each:

    llama     grouped-query attention; ChatML with a default system text (SmolLM2's template)
    qwen2     tied embeddings, biases on q/k/v; ChatML with a default system text and tools
    qwen3     q/k norms, a head_dim of its own; ChatML with tools, splits assistant text at </think>
    pythia    GPT-NeoX: fused qkv, partial rotary; no chat template at all
    gemma     Gemma 2: alternating sliding-window layers, soft caps; template that refuses a system role
    mistral   sliding window on every layer; [INST] template that insists on alternation, prefix spaces
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from gguf import MODEL_ARCH, GGUFWriter, TokenType, get_tensor_name_map
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GenerationConfig,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from la_agents.models import LoadedModel
from la_agents.models.quantization import quantize_channels, weight_limit

__all__ = ["FAMILIES", "pristine_model", "save_tiny_gguf", "save_tiny_model", "tiny_model", "tiny_tokenizer"]

FAMILIES = ("llama", "qwen2", "qwen3", "pythia", "gemma", "mistral")

MAX_POSITIONS = 1024
SLIDING_WINDOW = 16  # tokens; shorter than any prompt, so that the window matters in every test

_CORPUS = (
    "You are a helpful AI assistant. The user asks a question and the assistant answers it.",
    "system user assistant model tool What should I cook tonight? Please answer in French, in one line.",
    "Always be brief. I am vegetarian. Talk like a pirate. The following principle applies: be kind.",
    "def main():\n    print('hello world')\n\n    return 0\n",
    "Ça va très bien, merci beaucoup! Übermäßig schön. 東京は晴れです。 こんにちは",
)

_CHATML_DEFAULT = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# Like Qwen 2.5 and 3: tools in the system text, tool calls as JSON in tags, tool results as user turns.
_CHATML_TOOLS = r"""
{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\n\n' }}{%- endif %}
    {{- '# Tools\n\nCall a function with JSON inside <tool_call></tool_call>.\n<tools>' }}
    {%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}
    {{- '\n</tools><|im_end|>\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- elif default_system %}
    {{- '<|im_start|>system\n' + default_system + '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set content = message.content or '' %}
        {%- if '</think>' in content %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\n' + content }}
        {%- for tool_call in message.tool_calls or [] %}
            {{- '\n<tool_call>\n{"name": "' + tool_call.function.name + '", "arguments": ' }}
            {{- tool_call.function.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<tool_response>\n' + message.content + '\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""

_QWEN2 = "{%- set default_system = 'You are Qwen, a helpful assistant.' %}" + _CHATML_TOOLS

_GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)

_MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)

_CHATML_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_CHATML_NAMES = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
_SPECIAL: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "llama": (_CHATML_TOKENS, _CHATML_NAMES),
    "qwen2": (_CHATML_TOKENS, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}),
    "qwen3": (_CHATML_TOKENS, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}),
    "pythia": (("<|endoftext|>", "<|padding|>"), {"eos_token": "<|endoftext|>", "pad_token": "<|padding|>"}),
    "gemma": (
        ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"},
    ),
    "mistral": (
        ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
        {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
    ),
}
_TEMPLATES = {
    "llama": _CHATML_DEFAULT,
    "qwen2": _QWEN2,
    "qwen3": _CHATML_TOOLS,
    "pythia": None,
    "gemma": _GEMMA,
    "mistral": _MISTRAL,
}
_EOS_IDS: dict[str, tuple[str, ...]] = {  # as the real generation configs: one id, or several
    "llama": ("<|im_end|>",),
    "qwen2": ("<|im_end|>", "<|endoftext|>"),
    "qwen3": ("<|im_end|>", "<|endoftext|>"),
    "pythia": ("<|endoftext|>",),
    "gemma": ("<eos>", "<end_of_turn>"),
    "mistral": ("</s>",),
}

_COMMON: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": MAX_POSITIONS,
    "initializer_range": 0.3,
}


def _build(family: str, vocab_size: int) -> PreTrainedModel:
    common = {**_COMMON, "vocab_size": vocab_size}
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**common, num_key_value_heads=2))
    if family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**common, num_key_value_heads=2, tie_word_embeddings=True))
    if family == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**common, num_key_value_heads=1, head_dim=24))
    if family == "pythia":
        rotary = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.25}
        return GPTNeoXForCausalLM(GPTNeoXConfig(**common, rope_parameters=rotary))
    if family == "gemma":
        return Gemma2ForCausalLM(
            Gemma2Config(
                **common,
                num_key_value_heads=2,
                head_dim=16,
                query_pre_attn_scalar=16,
                sliding_window=SLIDING_WINDOW,
                attn_logit_softcapping=5.0,
                final_logit_softcapping=10.0,
                tie_word_embeddings=False,  # tied and random, it would only repeat its last token
            )
        )
    if family == "mistral":
        return MistralForCausalLM(MistralConfig(**common, num_key_value_heads=2, sliding_window=SLIDING_WINDOW))
    msg = f"Expected a family among {FAMILIES}, got {family!r}."
    raise ValueError(msg)


def _byte_level(special: tuple[str, ...]) -> Tokenizer:
    """GPT-2's kind: every byte has a token, a space belongs to the word after it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _CORPUS,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=list(special),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def _sentencepiece(special: tuple[str, ...], *, prefix_space: bool) -> Tokenizer:
    """SentencePiece's kind: spaces are `▁`, unknown characters fall back to byte tokens such as `<0xE3>`."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trained.train_from_iterator(
        [line for line in _CORPUS if line.isascii()], trainers.BpeTrainer(vocab_size=250, show_progress=False)
    )
    learned = sorted(trained.get_vocab(), key=trained.get_vocab().__getitem__)
    tokens = dict.fromkeys([*special, *(f"<0x{byte:02X}>" for byte in range(256)), *learned])
    vocab = {token: index for index, token in enumerate(tokens)}
    merges = [tuple(pair) for pair in _merges(trained)]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    steps: list[Any] = [normalizers.Prepend("▁")] if prefix_space else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    decoding: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(decoding + ([decoders.Strip(" ", 1, 0)] if prefix_space else []))
    return tokenizer


def _merges(tokenizer: Tokenizer) -> list[list[str]]:
    merges: list[list[str]] = json.loads(tokenizer.to_str())["model"]["merges"]
    return merges


@cache
def tiny_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """The tokenizer of `family`: byte-level BPE, or SentencePiece-like (gemma, mistral). Do not change it."""
    special, names = _SPECIAL[family]
    if family in ("gemma", "mistral"):
        backend = _sentencepiece(special, prefix_space=family == "mistral")
    else:
        backend = _byte_level(special)
    backend.add_special_tokens(list(special))
    if "bos_token" in names and family != "llama":
        bos = names["bos_token"]
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, backend.token_to_id(bos))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, clean_up_tokenization_spaces=False, model_max_length=MAX_POSITIONS, **names
    )
    tokenizer.chat_template = _TEMPLATES[family]
    return tokenizer


@cache
def tiny_model(family: str) -> LoadedModel:
    """The seeded model of `family` with its tokenizer; one object for all callers: read-only."""
    tokenizer = tiny_tokenizer(family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1234 + FAMILIES.index(family))
        model = _build(family, len(tokenizer)).float().eval()
    eos = [tokenizer.convert_tokens_to_ids(token) for token in _EOS_IDS[family]]
    model.generation_config = GenerationConfig(
        eos_token_id=eos if len(eos) > 1 else eos[0], pad_token_id=tokenizer.pad_token_id
    )
    model.requires_grad_(False)
    return LoadedModel(
        name=f"tiny-{family}",
        model=model,
        tokenizer=tokenizer,
        eos_token_ids=frozenset(eos),
        max_positions=MAX_POSITIONS,
        device=torch.device("cpu"),
        dtype=torch.float32,
        quantization=None,
    )


@cache
def pristine_model(family: str) -> LoadedModel:
    """The same weights in a model that never meets an engine, for tests that call it themselves."""
    return tiny_model.__wrapped__(family)


def save_tiny_model(family: str, folder: Path) -> Path:
    """Write the tiny model of `family` to `folder` and return that, for tests of `load_model`."""
    loaded = tiny_model(family)
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


def save_tiny_gguf(path: Path) -> Path:
    """Write the tiny llama as llama.cpp would, in float32: its tensor names, its order of query and key rows."""
    loaded = tiny_model("llama")
    config = loaded.model.config
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _add_gguf_tokenizer(writer, loaded.tokenizer)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in loaded.model.state_dict().items():
        array = weight.numpy()
        for part, num_heads in heads.items():
            if part in name:  # rotary pairs lie side by side there, half a head apart here
                array = array.reshape(num_heads, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_gguf_tokenizer(writer: GGUFWriter, tokenizer: PreTrainedTokenizerFast) -> None:
    special = set(tokenizer.added_tokens_decoder)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    kinds = [TokenType.CONTROL if index in special else TokenType.NORMAL for index in range(len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in _merges(tokenizer.backend_tokenizer)])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tokenizer.chat_template)


def round_weights(model: nn.Module) -> None:
    """What 8 bits do to the weights, in float: the products with the activations stay exact."""
    for module in model.modules():
        if type(module) is nn.Linear:
            whole, scale = quantize_channels(module.weight.detach(), weight_limit())
            module.weight = nn.Parameter(whole * scale.unsqueeze(1))  # a tied embedding keeps its own
