"""Choice tables: how often the option that follows the principle was chosen, and by how much, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from la_agents.evaluation.intervals import Interval, mean_interval
from la_agents.evaluation.plots import Panel, Point
from la_agents.evaluation.runs import Row
from la_agents.evaluation.summary import grouped
from la_agents.evaluation.tables import Cell, markdown_table

__all__ = ["COLUMNS", "accuracy", "choice_panels", "choice_tables", "margin", "summarise"]

COLUMNS = ("total", "mean", "letter")
"""Three ways to choose: the greatest log-likelihood, the greatest per token, and the generated letter."""

_LEGEND = """\
*likelihood*: the answer with the greatest log-likelihood under the method's policy is the correct one; *per token*: the
same by the mean over its tokens. *margin*: log-likelihood of the correct answer less that of the best other one, nats a
token. *letter*: the generated letter names the correct answer, none being wrong; *named*: it names one at all. Guessing
scores one in {num_options}. Intervals are 95%, by bootstrap over the questions.
"""


def accuracy(row: Row, column: str) -> float | None:
    """Whether the correct option was chosen; of options that are equally good it is one chosen at random."""
    correct: int = row["correct"]
    if column == "letter":
        return float(row["letter"] == correct)
    scores: list[float] | None = row[column]
    if scores is None:
        return None
    best = max(scores)
    return float(scores[correct] == best) / scores.count(best)


def margin(row: Row, column: str = "mean") -> float | None:
    """By how much the correct option is above the best of the others; negative if it is below."""
    scores: list[float] | None = row[column]
    if scores is None:
        return None
    correct: int = row["correct"]
    return scores[correct] - max(score for place, score in enumerate(scores) if place != correct)


def summarise(rows: Iterable[Row], measure: Callable[[Row], float | None], seed: int = 0) -> Interval | None:
    """The mean of a figure over items, with its interval; None where no row has it.

    Rows about one item are averaged first: they are not independent of each other.
    """
    means = []
    for own in grouped(rows, "item").values():
        values = [value for value in map(measure, own) if value is not None]
        means += [fmean(values)] if values else []
    return mean_interval(means, seed=seed) if means else None


def choice_tables(rows: Sequence[Row], provenance: str, seed: int = 0) -> str:
    """Markdown: a row a setting; the groups are told apart in the rows alone."""
    settings = grouped(rows, "setting")
    overall = [
        [
            setting,
            *(_cell(summarise(own, _accuracy(column), seed)) for column in ("total", "mean")),
            _cell(summarise(own, margin, seed)),
            _cell(summarise(own, _accuracy("letter"), seed)),
            _share(own),
        ]
        for setting, own in settings.items()
    ]
    num_options = len(next((row["total"] for row in rows if row["total"]), [])) or "the options"
    names = ("setting", "likelihood", "per token", "margin", "letter", "named")
    parts = [markdown_table(names, overall, provenance), _LEGEND.format(num_options=num_options)]
    return "\n".join(parts)


def choice_panels(rows: Sequence[Row], seed: int = 0) -> list[Panel]:
    """Accuracy against strength, by likelihood per token and by letter; methods without a strength stand at 0."""
    panels = []
    for column, title in (("mean", "likelihood per token"), ("letter", "generated letter")):
        curves: dict[str, list[Point]] = {}
        for own in grouped(rows, "setting").values():
            interval = summarise(own, _accuracy(column), seed)
            first = own[0]
            if interval is not None and first["max_divergence"] is None:
                x = first["strength"] or 0.0
                curves.setdefault(first["method"], []).append(Point(x, interval.mean, interval.low, interval.high))
        panels.append(Panel(title, "strength", "accuracy", curves, (0.0, 1.0)))
    return panels


def _accuracy(column: str) -> Callable[[Row], float | None]:
    return lambda row: accuracy(row, column)


def _cell(interval: Interval | None) -> Cell:
    return None if interval is None else str(interval)


def _share(rows: Sequence[Row]) -> Cell:
    return sum(row["letter"] is not None for row in rows) / len(rows)
