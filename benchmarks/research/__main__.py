"""`python -m benchmarks.research`: the suites that run a model by name, and the memory's on labelled data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from la_agents.cli import measuring
from la_agents.cli.app import Commands
from la_agents.cli.measuring import ChosenOptions
from la_agents.cli.options import JsonOption, ModelSettings, command
from la_agents.cli.terminal import answer, print_json
from la_agents.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

_COSINE_FLOOR = 0.25
"""Lets about as many own preferences through as the store's threshold does, so that the wrong ones can be compared."""

_LEGEND = """\
@k: the right preference is among the first k. found: it is among the first 5 and above the threshold.
When the right preference is absent: alarm, something is returned; wrong, it is off-topic."""

MultilingualOption = Annotated[
    bool, typer.Option("--multilingual", help="Measure MultilingualEmbeddings instead of the bundled ones.")
]

app = typer.Typer(
    help=__doc__,
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command()
@command
def run(
    suite: Annotated[str, typer.Argument(help="Such as conflict; a wrong name lists all.")],
    settings: ModelSettings,
    chosen: ChosenOptions,
) -> None:
    """Run a suite on a model; rows, tables and a picture go to the folder `--out`."""
    from benchmarks.research.suites import RESEARCH

    if suite not in RESEARCH:
        msg = f"Expected a suite among {', '.join(RESEARCH)}, got {suite!r}."
        raise ConfigurationError(msg)
    measuring.show(measuring.run(settings, RESEARCH[suite], chosen))


@app.command()
def consolidation(
    pairs: Annotated[Path, typer.Argument(help="JSON Lines with old, new, label and split.", dir_okay=False)],
    as_json: JsonOption = False,
) -> None:
    """How often repetitions, restatements and contradictions are recognised, and independent preferences left alone."""
    from benchmarks.research.consolidation import PairScores, judge_pairs, read_pairs
    from la_agents.preferences.consolidation.judging import CoreConsolidator
    from la_agents.preferences.embedding.bundled import BundledEmbeddings

    read = read_pairs(pairs)
    scores = {}
    for split in dict.fromkeys(pair.split for pair in read):
        own = [pair for pair in read if pair.split == split]
        scores[split] = judge_pairs(own, CoreConsolidator(), BundledEmbeddings())
    whole = sum(scores.values(), PairScores())
    _print_reports({name: each.report() for name, each in [*scores.items(), ("all", whole)]}, as_json)


@app.command()
def learning(
    conversations: Annotated[
        Path, typer.Argument(help="JSON Lines with messages, preferences, split and kind.", dir_okay=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """How much of what users state in conversations the rule-based extractor finds, and how much it makes up."""
    from benchmarks.research.learning import read_conversations, score_extractor
    from la_agents.learning.rules import RuleExtractor

    read = read_conversations(conversations)
    reports = {}
    for split in dict.fromkeys(conversation.split for conversation in read):
        own = [conversation for conversation in read if conversation.split == split]
        reports[split] = score_extractor(own, RuleExtractor()).report()
    _print_reports(reports, as_json)


@app.command()
def retrieval(
    folder: Annotated[Path, typer.Argument(help="PrefEval's topics, one JSON list a file.", file_okay=False)],
    min_relevance: Annotated[float | None, typer.Option("--min-relevance", help="Default: the store's.")] = None,
    cross_validate: Annotated[
        bool,
        typer.Option("--cross-validate", help="Choose each threshold on half of the topics, for the others."),
    ] = False,
    multilingual: MultilingualOption = False,
    as_json: JsonOption = False,
) -> None:
    """How often a question finds its own preference among 10, 30 and 100, and how often it gets a wrong one."""
    from benchmarks.research.retrieval import (
        Questions,
        by_cosine,
        by_relevance,
        cross_validated,
        measure,
        read_topics,
    )
    from la_agents.preferences.store import DEFAULT_MIN_RELEVANCE

    data = Questions(read_topics(folder), _embeddings(multilingual=multilingual))
    floor = DEFAULT_MIN_RELEVANCE if min_relevance is None else min_relevance
    ways = {"cosine": (by_cosine, _COSINE_FLOOR), "la-agents": (by_relevance, floor)}
    sizes = (10, 30, 100)
    rows: list[dict[str, Any]] = []
    for name, (way, least) in ways.items():
        if cross_validate:
            floors, scores = cross_validated(data, way, sizes)
        else:
            floors, scores = [least], [measure(data, way, least, size) for size in sizes]
        rows += [{"way": name, "min_relevance": floors, **asdict(score)} for score in scores]
    rows.sort(key=lambda row: row["num_preferences"])
    if as_json:
        print_json(rows)
        return
    answer(f"{len(data.questions)} questions")
    answer("held way            @1     @3     @5  found  alarm  wrong")
    for row in rows:
        figures = [*row["recall_at"].values(), row["found"], row["false_alarm"], row["wrong_topic"]]
        answer(f"{row['num_preferences']:>4} {row['way']:<10} {' '.join(f'{value:6.3f}' for value in figures)}")
    answer(_LEGEND)


@app.command()
def languages(
    file: Annotated[Path, typer.Argument(help="JSON: preferences and messages by language.", dir_okay=False)],
    multilingual: MultilingualOption = False,
    as_json: JsonOption = False,
) -> None:
    """How often a message finds its own preference in each language, and how often it gets a wrong one."""
    from benchmarks.research.languages import measure_languages

    found = [asdict(each) for each in measure_languages(file, _embeddings(multilingual=multilingual))]
    figures = ("questions", "first", "found", "wrong")
    found.append({"language": "all", **{name: sum(each[name] for each in found) for name in figures}})
    if as_json:
        print_json(found)
        return
    answer(f"{'':<10} {' '.join(f'{name:>9}' for name in figures)}")
    for each in found:
        answer(f"{each['language']:<10} {' '.join(f'{each[name]:>9}' for name in figures)}")


def _embeddings(*, multilingual: bool) -> Embeddings:
    from la_agents.preferences.embedding.bundled import BundledEmbeddings
    from la_agents.preferences.embedding.multilingual import MultilingualEmbeddings

    return MultilingualEmbeddings() if multilingual else BundledEmbeddings()


def _print_reports(reports: Mapping[str, Mapping[str, float]], as_json: bool) -> None:
    if as_json:
        print_json(reports)
        return
    for split, report in reports.items():
        answer(split)
        for name, value in report.items():
            answer(f"  {name:<24} {value:g}" if isinstance(value, int) else f"  {name:<24} {value:.3f}")


if __name__ == "__main__":
    app()
