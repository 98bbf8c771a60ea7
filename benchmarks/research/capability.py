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
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError
from la_agents.evaluation.adherence import MeasuredPrinciple, measured_named
from la_agents.evaluation.intervals import mean_interval, signed
from la_agents.evaluation.methods import BASE, Setting
from la_agents.evaluation.plots import Panel, Point
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.questions import check_limit
from la_agents.evaluation.runs import Row
from la_agents.evaluation.suites import Options, Plan, Suite
from la_agents.evaluation.summary import grouped
from la_agents.evaluation.tables import Cell, markdown_table

if TYPE_CHECKING:
    from la_agents.evaluation.lm_eval import LinearAlignmentLM
    from la_agents.evaluation.runs import Report, Run
    from la_agents.evaluation.subject import Subject

__all__ = ["CAPABILITY", "DATA", "by_item"]

DATA = Path(__file__).with_name("capability.json")
METHODS = ("prompt", "prompt-system", "calibrated")
PRINCIPLES = ("uplifting", "pirate", "formal", "vegetarian")
_MAX_TOKENS = 32
_NO_PRINCIPLE = "-"


def _plan(options: Options) -> Plan:
    """Every task under every principle and setting, and once without any."""
    check_limit(options.limit)
    settings = options.settings(METHODS, (2.0,))
    if any(setting.num_samples > 1 for setting in settings):
        msg = "Expected methods that have a likelihood, got best-of-n; leave it out."
        raise ConfigurationError(msg)
    principles = measured_named(options.principles or PRINCIPLES)
    pairs = [(None, BASE), *((principle, setting) for principle in principles for setting in settings)]

    def rows_of(principle: MeasuredPrinciple | None, setting: Setting) -> dict[str, Row]:
        """All rows of a pair but for their scores, by key."""
        name = principle.id if principle else _NO_PRINCIPLE
        own = {"principle": name, "setting": setting.key, "method": setting.method}
        return {
            f"{task} {name}/{setting.key}/{number}": {"task": task, **own, "question": number}
            for task, items in _data().items()
            for number in range(len(items[: options.limit]))
        }

    def measure(run: Run, subject: Subject, report: Report | None = None) -> list[Row]:
        due = {pair: rows_of(*pair) for pair in pairs}

        def work(missing: Sequence[str]) -> Iterator[tuple[str, Row]]:
            for pair, rows in due.items():
                if not rows.keys().isdisjoint(missing):
                    scores = _scores(_lm(subject, *pair), options.limit)
                    for key, row in rows.items():
                        if key in missing:
                            yield key, {**row, "score": round(scores[row["task"], row["question"]], 4)}

        return run.complete([key for rows in due.values() for key in rows], work, report)

    facts = {
        "principles": {principle.id: principle.text for principle in principles},
        "settings": [setting.key for setting in settings],
        "limit": options.limit,
    }
    return Plan(facts, measure)


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


def _scores(lm: LinearAlignmentLM, limit: int | None) -> dict[tuple[str, int], float]:
    """The score of every item by task and number, by lm-eval."""
    from lm_eval.evaluator import evaluate

    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of defaults that are meant
    found = evaluate(lm, _tasks(), limit=limit, bootstrap_iters=0, apply_chat_template=True, log_samples=True)

    def score(task: str, sample: Mapping[str, Any]) -> float:
        if task != "text":
            return float(sample["acc"])
        (total, _), num_bytes = sample["filtered_resps"][0], len(sample["doc"]["rest"].encode())
        return -float(total) / (math.log(2) * num_bytes)

    return {(task, one["doc_id"]): score(task, one) for task, samples in found["samples"].items() for one in samples}


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


def _report(header: Row, rows: Sequence[Row]) -> tuple[list[str], list[Panel]]:
    """The score of every task by setting, and by principle, beside the model without principles."""
    line = provenance_line(header)
    cells: list[list[Cell]] = []
    by_principle: list[list[Cell]] = []
    panels = []
    for task, own in grouped(rows, "task").items():
        base = {row["question"]: row["score"] for row in own if row["method"] == BASE.method}
        settings = grouped(own, "setting")
        cells += [[task, name, len(base), *_compared(part, base)] for name, part in settings.items()]
        for principle, some in grouped(own, "principle").items():
            by_setting = grouped(some, "setting").items()
            by_principle += [[task, principle, name, *_compared(part, base)] for name, part in by_setting]
        means = [mean_interval(by_item(part)) for part in settings.values()]
        points = {task: [Point(i, mean.mean, mean.low, mean.high) for i, mean in enumerate(means)]}
        panels.append(Panel(task, "", "bits a byte" if task == "text" else "accuracy", points, ticks=list(settings)))
    tables = [markdown_table(["task", "setting", "items", "score", "against base"], cells, line), "## By principle\n"]
    columns = ["task", "principle", "setting", "score", "against base"]
    return [_LEGEND, *tables, markdown_table(columns, by_principle, line)], panels


_LEGEND = """\
text: bits a byte of plain prose, lower is better. choice, sums: accuracy. against base: the same less what the model
without principles has on the same items [95% interval].
"""


def by_item(rows: Sequence[Row], base: Mapping[int, float] | None = None) -> list[float]:
    """The mean of each item over the principles, less what it has in `base`."""
    own = grouped(rows, "question")
    return [fmean(row["score"] for row in part) - (base[item] if base else 0.0) for item, part in own.items()]


def _compared(rows: Sequence[Row], base: Mapping[int, float]) -> list[Cell]:
    return [str(mean_interval(by_item(rows))), signed(mean_interval(by_item(rows, base)))]


_TAKES = ("methods", "strengths", "budgets", "principles")
CAPABILITY = Suite("capability", _plan, _report, _TAKES, DATA, Path(__file__))
