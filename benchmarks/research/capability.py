"""Capability: what alignment costs on tasks that the principle does not concern, through the lm-eval class.

text       the loss on plain prose, asked to go on from its first sentence, bits a byte: lower is better
choice     questions with four answers, by likelihood
sums       additions, by the number that the generated answer names

The tasks are this project's own and easy enough for a small model, so that there is something to lose. Principles of
tone and topic do not change what the right answer is. Rows: `<task> <principle>/<setting>/<number>`.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from la_agents.evaluation.adherence import MeasuredPrinciple
from la_agents.evaluation.intervals import mean_interval
from la_agents.evaluation.methods import Setting
from la_agents.evaluation.plots import Panel, Point
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.reports import gained, write_report
from la_agents.evaluation.runs import Row
from la_agents.evaluation.summary import grouped
from la_agents.evaluation.tables import Cell, markdown_table
from la_agents.evaluation.unaligned import BASE

if TYPE_CHECKING:
    from la_agents.evaluation.lm_eval import LinearAlignmentLM
    from la_agents.evaluation.runs import Report, Run
    from la_agents.evaluation.subject import Subject

__all__ = ["DATA", "METHODS", "PRINCIPLES", "TASKS", "Plan", "measure", "report"]

DATA = Path(__file__).with_name("capability.json")
METHODS = ("prompt", "prompt-system", "calibrated")
PRINCIPLES = ("uplifting", "pirate", "formal", "vegetarian")
TASKS = ("text", "choice", "sums")
_MAX_TOKENS = 32
_NO_PRINCIPLE = "-"


@dataclass(frozen=True)
class Plan:
    """What is measured: every task under every principle and setting, and once without any.

    Attributes:
        limit: The first so many of every task.
    """

    principles: Sequence[MeasuredPrinciple]
    settings: Sequence[Setting]
    limit: int | None = None
    seed: int = 0

    def as_settings(self) -> dict[str, Any]:
        """For the provenance."""
        return {
            "principles": {principle.id: principle.text for principle in self.principles},
            "settings": [setting.key for setting in self.settings],
            "limit": self.limit,
        }

    def sizes(self) -> dict[str, int]:
        """How many items each task has."""
        data = _data()
        return {task: min(len(items), self.limit or len(items)) for task, items in data.items()}


def measure(run: Run, subject: Subject, plan: Plan, report: Report | None = None) -> list[Row]:
    """Do what is missing of a plan; its rows in order."""
    pairs: list[tuple[MeasuredPrinciple | None, Setting]] = [(None, BASE)]
    pairs += [(principle, setting) for principle in plan.principles for setting in plan.settings]
    by_pair = {pair: list(_keys(plan, *pair)) for pair in pairs}

    def work(missing: Sequence[str]) -> Iterator[tuple[str, Row]]:
        due = frozenset(missing)
        for (principle, setting), keys in by_pair.items():
            if due.isdisjoint(keys):
                continue
            lm = _lm(subject, principle, setting)
            for task, number, score in _scores(lm, plan.limit):
                key = _key(task, principle, setting, number)
                if key in due:
                    yield key, _row(task, principle, setting, number, score)

    return run.complete([key for keys in by_pair.values() for key in keys], work, report)


def _keys(plan: Plan, principle: MeasuredPrinciple | None, setting: Setting) -> Iterator[str]:
    for task, size in plan.sizes().items():
        yield from (_key(task, principle, setting, number) for number in range(size))


def _key(task: str, principle: MeasuredPrinciple | None, setting: Setting, number: int) -> str:
    return f"{task} {principle.id if principle else _NO_PRINCIPLE}/{setting.key}/{number}"


def _row(task: str, principle: MeasuredPrinciple | None, setting: Setting, number: int, score: float) -> Row:
    return {
        "task": task,
        "principle": principle.id if principle else _NO_PRINCIPLE,
        "setting": setting.key,
        "method": setting.method,
        "question": number,
        "score": round(score, 4),
    }


def _lm(subject: Subject, principle: MeasuredPrinciple | None, setting: Setting) -> LinearAlignmentLM:
    """The model with a principle, as the faces have it with this setting."""
    from la_agents.evaluation.lm_eval import LinearAlignmentLM
    from la_agents.prompts.builder import Wording

    if principle is None:
        return LinearAlignmentLM(model=subject.loaded)
    if setting.calibrated:
        return LinearAlignmentLM(principle.text, model=subject.loaded)
    chosen = setting.alignment()
    return LinearAlignmentLM(
        principle.text,
        model=subject.loaded,
        calibration=None,
        method=chosen.method,
        strength=chosen.chosen_strength,
        support=chosen.support,
        push=chosen.push,
        max_divergence=chosen.max_divergence,
        compose=setting.compose,
        placement=setting.placing.placement,
        wording=Wording(turn=setting.placing.turn),
    )


def _scores(lm: LinearAlignmentLM, limit: int | None) -> Iterator[tuple[str, int, float]]:
    """Task, number and score of every item, by lm-eval."""
    from lm_eval.evaluator import evaluate

    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of defaults that are meant
    found = evaluate(lm, _tasks(), limit=limit, bootstrap_iters=0, apply_chat_template=True, log_samples=True)
    for task, samples in found["samples"].items():
        for sample in samples:
            if task == "text":
                (total, _), num_bytes = sample["filtered_resps"][0], len(sample["doc"]["rest"].encode())
                yield task, sample["doc_id"], -total / (math.log(2) * num_bytes)
            else:
                yield task, sample["doc_id"], float(sample["acc"])


def _data() -> Mapping[str, list[Any]]:
    data = json.loads(DATA.read_text(encoding="utf-8"))
    return {"text": data["texts"], "choice": data["choices"], "sums": data["sums"]}


def _tasks() -> dict[str, Any]:
    """The tasks as lm-eval has them; everything is in memory."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    data = _data()
    # The right answer stands first in the file, and in turn at each of the four places in the task.
    choices = [(question, options[-place:] + options[:-place], place) for place, question, options in _placed(data)]
    docs = {
        "text": [{"first": first, "rest": rest} for first, rest in map(_parted, data["text"])],
        "choice": [{"text": question, "options": options, "place": place} for question, options, place in choices],
        "sums": [{"text": f"What is {a} + {b}?", "answer": a + b} for a, b in data["sums"]],
    }
    configs: dict[str, dict[str, Any]] = {
        "text": {
            "output_type": "loglikelihood",
            "doc_to_text": lambda doc: f"Go on with this text, in the same manner: {doc['first']}",
            "doc_to_target": lambda doc: doc["rest"],
            "metric_list": [{"metric": "acc"}],  # lm-eval's own perplexity is that of the whole text
        },
        "choice": {
            "output_type": "multiple_choice",
            "doc_to_text": lambda doc: doc["text"],
            "doc_to_choice": lambda doc: doc["options"],
            "doc_to_target": lambda doc: doc["place"],
            "metric_list": [{"metric": "acc"}],
        },
        "sums": {
            "output_type": "generate_until",
            "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": _MAX_TOKENS},
            "doc_to_text": lambda doc: doc["text"],
            "doc_to_target": lambda doc: str(doc["answer"]),
            "process_results": lambda doc, answers: {"acc": _names(answers[0], doc["answer"])},
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        },
    }
    return {
        name: ConfigurableTask(
            config={
                "task": name,
                "test_split": "test",
                "custom_dataset": lambda own=docs[name], **_: {"test": Dataset.from_list(own)},
                **config,
            }
        )
        for name, config in configs.items()
    }


def _parted(text: str) -> tuple[str, str]:
    """Its first sentence, and the rest."""
    first, _, rest = text.partition(". ")
    return f"{first}.", rest


def _placed(data: Mapping[str, list[Any]]) -> Iterator[tuple[int, str, list[str]]]:
    for number, (question, *options) in enumerate(data["choice"]):
        yield number % len(options), question, options


def _names(answer: str, number: int) -> bool:
    """Whether the last number of an answer, which may say the sum again before it, is the right one."""
    found = re.findall(r"\d+", answer)
    return bool(found) and int(found[-1]) == number


def report(folder: Path, header: Row, rows: Sequence[Row]) -> list[Path]:
    """The score of every task by setting, and by principle, beside the model without principles."""
    line = provenance_line(header)
    columns = ["task", "setting", "items", "score", "against base"]
    cells: list[list[Cell]] = []
    by_principle: list[list[Cell]] = []
    panels = []
    for task, own in grouped(rows, "task").items():
        base = {row["question"]: row["score"] for row in own if row["method"] == BASE.method}
        settings = grouped(own, "setting")
        cells += [[task, name, len(base), *_compared(part, base)] for name, part in settings.items()]
        by_principle += [
            [task, principle, name, *_compared(part, base)]
            for principle, some in grouped(own, "principle").items()
            for name, part in grouped(some, "setting").items()
        ]
        means = [mean_interval(_by_item(part)) for part in settings.values()]
        points = {task: [Point(i, mean.mean, mean.low, mean.high) for i, mean in enumerate(means)]}
        panels.append(Panel(task, "", "bits a byte" if task == "text" else "accuracy", points, ticks=list(settings)))
    legend = (
        "text: bits a byte of plain prose, lower is better. choice, sums: accuracy. against base: the same less what "
        "the model without principles has on the same items [95% interval].\n"
    )
    tables = [
        legend,
        markdown_table(columns, cells, line),
        "## By principle\n",
        markdown_table(["task", "principle", *columns[1:2], *columns[3:]], by_principle, line),
    ]
    return write_report(folder, "capability", "Capability", tables, panels, line)


def _by_item(rows: Sequence[Row], base: Mapping[int, float] | None = None) -> list[float]:
    """The mean of each item over the principles, less what it has in `base`."""
    own = grouped(rows, "question")
    return [sum(row["score"] for row in part) / len(part) - (base[item] if base else 0.0) for item, part in own.items()]


def _compared(rows: Sequence[Row], base: Mapping[int, float]) -> list[Cell]:
    return [str(mean_interval(_by_item(rows))), gained(mean_interval(_by_item(rows, base)))]
