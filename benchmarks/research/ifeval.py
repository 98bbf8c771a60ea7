"""IFEval: instructions of others, each taken apart from its task, as the principle; scored by IFEval's own verifiers.

Zhou et al., "Instruction-Following Evaluation for Large Language Models", arXiv 2311.07911; the verifiers and the words
of the instructions are those of `lm-eval`. Strict accuracy: the answer as it stands follows the instruction, or not.

Rows: `<instruction>/<setting>/<line of the data>`.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from la_agents.errors import ConfigurationError
from la_agents.evaluation.cases import Case
from la_agents.evaluation.measuring import Unaligned, follow, follow_case
from la_agents.evaluation.methods import BASE
from la_agents.evaluation.plots import Panel
from la_agents.evaluation.questions import OpenQuestion, check_limit
from la_agents.evaluation.reports import steerability_report
from la_agents.evaluation.runs import Row
from la_agents.evaluation.suites import Options, Plan, Suite

__all__ = ["IFEVAL", "Instruction", "read_instructions"]

METHODS = ("prompt", "prompt-system", "prompt-user", "calibrated")
MAX_TOKENS = 320
_SKIPPED = "skipped, for want of nltk's punkt"
_NEED_PUNKT = {"change_case:capital_word_frequency", "length_constraints:number_sentences"}
"""Their verifiers read nltk's data "punkt", which is not in a package: left out where it is not installed."""


@dataclass(frozen=True)
class Instruction:
    """One task of the data: what is asked, and the instruction that its answer is judged by.

    Attributes:
        index: Its line.
        prompt: The task with the instruction in the words of the data.
    """

    index: int
    id: str
    question: str
    prompt: str
    kwargs: Mapping[str, Any]
    max_tokens: int = MAX_TOKENS

    @property
    def text(self) -> str:
        """The instruction by itself, as IFEval words it."""
        text: str = _verifiers().INSTRUCTION_DICT[self.id](self.id).build_description(**self.kwargs)
        return text.strip()

    def adherence(self, question: str, answer: str, unaligned: str) -> float:
        """1 if the answer follows it, else 0."""
        from lm_eval.tasks.ifeval import utils

        _verifiers()
        asked = utils.InputExample(self.index, [self.id], self.prompt, [dict(self.kwargs)])
        return float(utils.test_instruction_following_strict(asked, answer).follow_all_instructions)


def read_instructions(path: Path, limit: int | None = None) -> tuple[list[Instruction], dict[str, int]]:
    """Read JSON Lines of `question`, `prompt`, `instruction_id` and `kwargs`.

    Args:
        limit: So many in all, the first ones of every instruction in turn.

    Returns:
        What can be verified here, and how many tasks of which other instruction were left out.

    Raises:
        ConfigurationError: the file is missing or not of that form, or an instruction is unknown.
    """
    check_limit(limit)
    known = _verifiers().INSTRUCTION_DICT
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found = [
            Instruction(index, one["instruction_id"], one["question"], one["prompt"], _given(one["kwargs"]))
            for index, one in enumerate(lines)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"Expected instructions in {path}, got {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    unknown = {one.id for one in found} - set(known)
    if unknown or not found:
        msg = f"Expected one or more of IFEval's instructions in {path}, got {min(unknown, default='none')}."
        raise ConfigurationError(msg)
    by_id: dict[str, list[Instruction]] = {}
    skipped: dict[str, int] = {}
    for one in found:
        if one.id in _NEED_PUNKT and not _has_punkt():
            skipped[one.id] = skipped.get(one.id, 0) + 1
        else:
            by_id.setdefault(one.id, []).append(one)
    in_turn = [one for turn in zip_longest(*by_id.values()) for one in turn if one is not None]
    kept = set(map(id, in_turn[:limit]))
    return [one for own in by_id.values() for one in own if id(one) in kept], skipped


def _given(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if value}


def _plan(options: Options) -> Plan:
    if options.data is None:
        msg = "Expected --data with IFEval's single instructions, got none; see benchmarks/README.md."
        raise ConfigurationError(msg)
    instructions, skipped = read_instructions(options.data, options.limit)
    settings = options.settings(METHODS, (2.0,))

    def cases(unaligned: Unaligned) -> Iterator[Case]:
        for one in instructions:
            for setting in (BASE, *settings):
                asked, fields = OpenQuestion(one.index, one.question), {"principle": one.id}
                yield follow_case(one.id, ((one, 1.0),), setting, asked, unaligned, fields, seed=options.seed)

    facts = {
        "num_instructions": len(instructions),
        "max_tokens": MAX_TOKENS,
        _SKIPPED: skipped,
        "settings": [setting.key for setting in settings],
    }
    return Plan(facts, follow([OpenQuestion(one.index, one.question) for one in instructions], MAX_TOKENS, cases))


def _report(header: Row, rows: Sequence[Row]) -> tuple[list[str], list[Panel]]:
    """Strict accuracy by setting, and by instruction."""
    tables, panels = steerability_report(header, rows)
    skipped = header["provenance"]["settings"][_SKIPPED]
    left_out = "".join(f"Left out: {n} tasks of `{name}` (nltk's punkt is missing).\n" for name, n in skipped.items())
    legend = "adherence is strict accuracy: the answer as it stands follows the instruction (the principle).\n"
    return [legend, left_out, *tables], panels


IFEVAL = Suite("ifeval", _plan, _report, ("data", "methods", "strengths", "budgets"), source=Path(__file__))


@cache
def _verifiers() -> Any:
    """The registry of instructions; importing it would download nltk's data, which is left to the user."""
    try:
        import langdetect
        import nltk
    except ImportError as error:
        msg = f"Expected {error.name} for IFEval's verifiers, got none; run `pip install 'la-agents[lm-eval]'`."
        raise ConfigurationError(msg) from error
    langdetect.DetectorFactory.seed = 0  # else the same answer may be judged otherwise the next time
    download, nltk.download = nltk.download, lambda *_, **__: False
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it says that it has downloaded them
            from lm_eval.tasks.ifeval import instructions_registry
    finally:
        nltk.download = download
    return instructions_registry


@cache
def _has_punkt() -> bool:
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError:
        return False
    return True
