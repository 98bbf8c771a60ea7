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
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError
from la_agents.evaluation.cases import EvalCase, measure_cases
from la_agents.evaluation.methods import Setting
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.questions import OpenQuestion
from la_agents.evaluation.reports import LEGEND, costs_table, curves, principles_table, write_report
from la_agents.evaluation.runs import Row
from la_agents.evaluation.summary import grouped
from la_agents.evaluation.unaligned import BASE, Unaligned

if TYPE_CHECKING:
    from la_agents.evaluation.runs import Report, Run
    from la_agents.evaluation.subject import Subject

__all__ = ["METHODS", "Instruction", "Plan", "measure", "read_instructions", "report"]

METHODS = ("prompt", "prompt-system", "prompt-user", "calibrated")
MAX_TOKENS = 320
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
    if unknown or not found or (limit is not None and limit < 1):
        got = f"{sorted(unknown)[0]!r}" if unknown else "none" if not found else f"a limit of {limit}"
        msg = f"Expected one or more of IFEval's instructions in {path}, got {got}."
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


@dataclass(frozen=True)
class Plan:
    """What is measured; the unaligned model takes part beside the settings."""

    instructions: Sequence[Instruction]
    skipped: Mapping[str, int]
    settings: Sequence[Setting]
    seed: int = 0

    def as_settings(self) -> dict[str, Any]:
        """For the provenance."""
        return {
            "num_instructions": len(self.instructions),
            "max_tokens": MAX_TOKENS,
            "skipped, for want of nltk's punkt": dict(self.skipped),
            "settings": [setting.key for setting in self.settings],
        }


def measure(run: Run, subject: Subject, plan: Plan, report: Report | None = None) -> list[Row]:
    """Do what is missing of a plan; its rows in order."""
    asked = {one.index: OpenQuestion(one.index, one.question) for one in plan.instructions}

    def cases(_: Unaligned) -> Iterator[EvalCase]:
        for one in plan.instructions:
            for setting in (BASE, *plan.settings):
                key = f"{one.id}/{setting.key}/{one.index}"
                yield EvalCase(key, asked[one.index], ((one, 1.0),), setting, {"principle": one.id})

    return measure_cases(run, subject, list(asked.values()), MAX_TOKENS, cases, seed=plan.seed, report=report)


def report(folder: Path, header: Row, rows: Sequence[Row]) -> list[Path]:
    """Strict accuracy by setting, and by instruction."""
    line = provenance_line(header)
    skipped = next(iter(v for k, v in header["provenance"]["settings"].items() if k.startswith("skipped")), {})
    left_out = "".join(f"Left out: {n} tasks of `{name}` (nltk's punkt is missing).\n" for name, n in skipped.items())
    legend = "adherence is strict accuracy: the answer as it stands follows the instruction.\n"
    tables = [LEGEND, legend, left_out, costs_table(rows, line), "## By instruction\n", principles_table(rows, line)]
    panels = [curves("all instructions", rows)]
    panels += [curves(name, own) for name, own in grouped(rows, "principle").items()]
    return write_report(folder, "ifeval", "IFEval, single instructions", tables, panels, line)


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
