"""What a grammar costs: the masks and the endings, as a share of the steps of the same answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.messages import HumanMessage

from la_agents.engine.constraint import GrammarCompiler, allowed_tokens
from la_agents.engine.engine import Engine
from la_agents.prompts.builder import PromptBuilder
from la_agents.requests import Grammar, Request, Sampling

SCHEMAS: dict[str, dict[str, Any]] = {
    "person": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name", "age", "tags"],
        "additionalProperties": False,
    },
    "journey": {
        "type": "object",
        "properties": {
            "kind": {"enum": ["hotel", "flight", "train"]},
            "stops": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}, "date": {"type": "string", "format": "date"}},
                    "required": ["city", "date"],
                    "additionalProperties": False,
                },
            },
            "note": {"anyOf": [{"type": "string", "maxLength": 200}, {"type": "null"}]},
        },
        "required": ["kind", "stops", "note"],
        "additionalProperties": False,
    },
}
_QUESTION = "Describe a long journey and who goes on it, as JSON."


def grammar_cost(engine: Engine, num_tokens: int, repetitions: int) -> dict[str, float]:
    """By schema, the time of a step and the grammar's part of it; medians over the repetitions.

    The answers are decoded first; their tokens are then fed to a grammar alone, which is timed: both parts are of the
    same answer, and the one of the grammar is not hidden by the noise of the forwards.
    """
    prompt = PromptBuilder(engine.loaded.tokenizer).build([HumanMessage(_QUESTION)]).reference.token_ids
    vocab_size = int(engine.loaded.model.config.get_text_config().vocab_size)
    started = time.perf_counter()
    compiler = GrammarCompiler(engine.loaded, vocab_size)
    out = {"reading the vocabulary, once a model, ms": 1000 * (time.perf_counter() - started)}
    for name, schema in SCHEMAS.items():
        grammar = Grammar.json_schema(schema)
        sampling = Sampling(max_tokens=num_tokens, temperature=1.0, seed=1)
        request = Request(reference=prompt, sampling=sampling, grammar=grammar)
        tokens = [record.token_id for record in engine.complete(request).records]
        steps = [_step_seconds(engine, request) for _ in range(repetitions)]
        alone = [_grammar_seconds(compiler, grammar, tokens, num_tokens, vocab_size) for _ in range(repetitions)]
        step, own = float(np.median(steps)), float(np.median(alone))
        out |= {f"{name}, ms a step": 1000 * step, f"{name}, ms in the grammar": 1000 * own}
        out[f"{name}, share of the step, %"] = 100 * own / step
        started = time.perf_counter()
        compiler.compile(grammar, num_tokens)
        out[f"{name}, compiling, once a request, ms"] = 1000 * (time.perf_counter() - started)
    return out


def _step_seconds(engine: Engine, request: Request) -> float:
    """From token to token, without the prompt."""
    times = [time.perf_counter() for _ in engine.submit(request)]
    return (times[-1] - times[0]) / (len(times) - 1)


def _grammar_seconds(
    compiler: GrammarCompiler, grammar: Grammar, tokens: Sequence[int], num_tokens: int, vocab_size: int
) -> float:
    constraint = compiler.compile(grammar, num_tokens)
    started = time.perf_counter()
    for token in tokens:
        allowed_tokens([constraint], vocab_size)
        constraint.accept(token)
    return (time.perf_counter() - started) / len(tokens)
