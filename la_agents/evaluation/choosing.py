"""Choosing: which of several answers does a method choose, and how often is it the one that follows the principle?

Two ways to ask. By likelihood: the question alone is put to the model, and each answer is scored token by token under
the method's policy. By letter: the answers are listed under A, B, C, ..., and the method generates the letter. Rows, by
key `<choice>/<setting>`:

    total, mean    log-likelihood of each option in nats, and in nats a token; None where the method has no policy
    letter         the place of the option that the generated `text` names, or None
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, HumanMessage

from la_agents.errors import ConfigurationError
from la_agents.evaluation.cases import Answer, Case
from la_agents.evaluation.choices import LETTERS, Choice, first_of_each, letter_of, personal, prefeval
from la_agents.evaluation.intervals import Interval, mean_interval
from la_agents.evaluation.likelihood import Continuation
from la_agents.evaluation.measuring import complete_cases
from la_agents.evaluation.methods import BASE, POLICIES, Setting, methods_named
from la_agents.evaluation.plots import Panel, Point
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.runs import Report, Row, Run
from la_agents.evaluation.steerability import STRENGTHS
from la_agents.evaluation.suites import Options, Plan, Suite
from la_agents.evaluation.summary import grouped
from la_agents.evaluation.tables import Cell, markdown_table
from la_agents.principles import Principle

if TYPE_CHECKING:
    from la_agents.evaluation.subject import Subject

__all__ = ["CHOICES", "accuracy", "choice_cases", "choice_report", "margin", "mean_over_items"]

_MAX_LETTER_TOKENS = 6
_BEGINNING = "Answer:"
"""The answer is begun for the model, as in the published protocol, so that a small one knows what is wanted."""


def choice_cases(
    subject: Subject, choices: Sequence[Choice], settings: Sequence[Setting], seed: int = 0
) -> Iterator[Case]:
    """A case for each choice under each setting, in their order."""
    items: dict[str, list[Choice]] = {}
    for choice in choices:
        items.setdefault(choice.item, []).append(choice)

    @lru_cache(maxsize=1)
    def along(item: str) -> Mapping[str, list[Continuation]]:
        """For each choice about an item, the logits along its options; of the whole item, whatever is missing."""
        own = items[item]
        prompts = subject.builder.build_text(own[0].question, [Principle(choice.principle) for choice in own], "sum")
        texts = [subject.scorer.encode(option) for option in own[0].options]
        found = list(subject.scorer.continuations(prompts, texts))
        return {
            choice.key: [Continuation(one.token_ids, one.logits[[0, branch]], one.weights[:1]) for one in found]
            for branch, choice in enumerate(own, start=1)
        }

    def row(choice: Choice, answer: Answer) -> Row:
        setting = answer.case.setting
        totals = means = None
        if setting.num_samples == 1:
            options = along(choice.item)[choice.key]
            sums = [float(one.log_probabilities(setting).double().sum()) for one in options]
            totals = [round(total, 4) for total in sums]
            means = [round(total / len(one.token_ids), 4) for total, one in zip(sums, options, strict=True)]
        return {
            "group": choice.group,
            "item": choice.item,
            "setting": setting.key,
            "method": setting.method,
            "strength": setting.strength,
            "max_divergence": setting.max_divergence,
            "correct": choice.correct,
            "total": totals,
            "mean": means,
            "letter": letter_of(answer.text, choice.options),
            "text": answer.text,
        }

    for choice in choices:
        listed = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, choice.options, strict=False))
        asked = f"{choice.question}\n\n{listed}\n\nChoose the best of these answers. Reply with its letter alone."
        for setting in settings:
            yield Case(
                key=f"{choice.key}/{setting.key}",
                question=(HumanMessage(asked), AIMessage(_BEGINNING)),
                principles=(Principle(choice.principle),),
                setting=setting,
                max_tokens=_MAX_LETTER_TOKENS,
                seed=seed,
                row=partial(row, choice),
            )


def _plan(name: str, read: Callable[[Path, int], list[Choice]], options: Options) -> Plan:
    if options.data is None:
        msg = f"Expected --data with the file or folder of {name}, got none; the documentation says where to get it."
        raise ConfigurationError(msg)
    names = options.methods or POLICIES
    if refused := [method.name for method in methods_named(names) if not method.is_policy]:
        msg = f"Expected methods that texts can be scored under ({', '.join(POLICIES)}), got {', '.join(refused)}."
        raise ConfigurationError(msg)
    settings = [BASE, *options.settings(names, STRENGTHS)]
    choices = first_of_each(read(options.data, options.seed), options.limit)

    def measure(run: Run, subject: Subject, report: Report | None = None) -> list[Row]:
        return complete_cases(run, subject, choice_cases(subject, choices, settings, options.seed), report)

    return Plan({"num_choices": len(choices), "settings": [setting.key for setting in settings[1:]]}, measure)


def accuracy(column: str, row: Row) -> float | None:
    """Whether the correct option was chosen; of options that are equally good it is one chosen at random.

    Args:
        column: "total", "mean" or "letter".
    """
    correct, found = row["correct"], row[column]
    if column == "letter":
        return float(found == correct)
    return None if found is None else float(found[correct] == max(found)) / found.count(max(found))


def margin(row: Row) -> float | None:
    """By how much the correct option is above the best of the others, nats a token; negative if it is below."""
    correct, scores = row["correct"], row["mean"]
    return None if scores is None else scores[correct] - max(scores[:correct] + scores[correct + 1 :])


def mean_over_items(rows: Iterable[Row], measure: Callable[[Row], float | None]) -> Interval | None:
    """The mean of a figure with its interval; None where no row has it.

    Rows about one item are averaged first: they are not independent of each other.
    """
    by_item = [[value for row in own if (value := measure(row)) is not None] for own in grouped(rows, "item").values()]
    means = [fmean(values) for values in by_item if values]
    return mean_interval(means) if means else None


def choice_report(header: Row, rows: Sequence[Row]) -> tuple[list[str], list[Panel]]:
    """How often the option that follows the principle was chosen, a row a setting; and accuracy against strength."""
    measures: list[Callable[[Row], float | None]] = [
        partial(accuracy, "total"),
        partial(accuracy, "mean"),
        margin,
        partial(accuracy, "letter"),
    ]
    cells: list[list[Cell]] = []
    curves: dict[str, dict[str, list[Point]]] = {"likelihood per token": {}, "generated letter": {}}
    for setting, own in grouped(rows, "setting").items():
        found = [mean_over_items(own, measure) for measure in measures]
        named = sum(row["letter"] is not None for row in own) / len(own)
        cells.append([setting, *(None if one is None else str(one) for one in found), named])
        for panel, interval in zip(curves.values(), (found[1], found[3]), strict=True):
            if interval is not None and own[0]["max_divergence"] is None:
                x = own[0]["strength"] or 0.0  # methods without a strength stand at 0
                panel.setdefault(own[0]["method"], []).append(Point(x, interval.mean, interval.low, interval.high))
    num_options = len(next((row["total"] for row in rows if row["total"]), [])) or "the options"
    names = ("setting", "likelihood", "per token", "margin", "letter", "named")
    tables = [markdown_table(names, cells, provenance_line(header)), _LEGEND.format(num_options=num_options)]
    return tables, [Panel(title, "strength", "accuracy", own, (0.0, 1.0)) for title, own in curves.items()]


_LEGEND = """\
*likelihood*: the answer with the greatest log-likelihood under the method's policy is the correct one; *per token*: the
same by the mean over its tokens. *margin*: log-likelihood of the correct answer less that of the best other one, nats a
token. *letter*: the generated letter names the correct answer, none being wrong; *named*: it names one at all. Guessing
scores one in {num_options}. Intervals are 95%, by bootstrap over the questions.
"""

CHOICES = {
    name: Suite(name, partial(_plan, name, read), choice_report, ("data", "methods", "strengths", "budgets"))
    for name, read in (("prefeval-mcq", prefeval), ("personal-preference", personal))
}
