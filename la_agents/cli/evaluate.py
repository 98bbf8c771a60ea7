"""`la-agents evaluate`: are preferences followed, and are they found? Measured on data of your choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from la_agents.cli import measuring
from la_agents.cli.measuring import (
    OUT,
    BudgetsOption,
    ChoicesOption,
    DataOption,
    LimitOption,
    MethodsOption,
    OutOption,
    PrinciplesOption,
    RepeatableSeedOption,
    StrengthsOption,
)
from la_agents.cli.options import JsonOption, ModelOption, settings_of
from la_agents.cli.terminal import answer, print_json

__all__ = ["app"]

_COSINE_FLOOR = 0.25
"""Lets about as many own preferences through as the store's threshold does, so that the wrong ones can be compared."""

_LEGEND = """\
@k: the own preference is among the first k. found: it is among 5 and above the threshold. Where it is not stored:
alarm: anything is returned; wrong: something of another topic is."""

app = typer.Typer(
    help="Measure how well preferences are followed and found.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def steerability(
    ctx: typer.Context,
    model: ModelOption = None,
    data: DataOption = None,
    strength: StrengthsOption = None,
    budget: BudgetsOption = None,
    methods: MethodsOption = None,
    principles: PrinciplesOption = None,
    limit: LimitOption = None,
    seed: RepeatableSeedOption = 0,
    out: OutOption = OUT,
) -> None:
    """How far answers to open questions follow principles that need no judge, and what that costs."""
    from la_agents.evaluation.suites import Options

    options = Options(
        data=data,
        methods=measuring.names(methods),
        strengths=measuring.numbers(strength),
        budgets=measuring.numbers(budget),
        principles=measuring.names(principles),
        limit=limit,
        seed=seed,
    )
    measuring.show(measuring.run(settings_of(ctx, model=model), "steerability", out, options))


@app.command()
def conflict(
    ctx: typer.Context,
    model: ModelOption = None,
    data: DataOption = None,
    strength: StrengthsOption = None,
    methods: MethodsOption = None,
    limit: LimitOption = None,
    seed: RepeatableSeedOption = 0,
    out: OutOption = OUT,
) -> None:
    """Two principles at odds, with weights: does the outcome follow the weights?"""
    from la_agents.evaluation.suites import Options

    options = Options(
        data=data, methods=measuring.names(methods), strengths=measuring.numbers(strength), limit=limit, seed=seed
    )
    measuring.show(measuring.run(settings_of(ctx, model=model), "conflict", out, options))


@app.command()
def wordings(
    ctx: typer.Context,
    model: ModelOption = None,
    data: DataOption = None,
    principles: PrinciplesOption = None,
    limit: LimitOption = None,
    seed: RepeatableSeedOption = 0,
    out: OutOption = OUT,
) -> None:
    """The same principles put to the model in different words: which are followed best?"""
    from la_agents.evaluation.suites import Options

    options = Options(data=data, principles=measuring.names(principles), limit=limit, seed=seed)
    measuring.show(measuring.run(settings_of(ctx, model=model), "wordings", out, options))


@app.command("prefeval-mcq")
def prefeval_mcq(
    ctx: typer.Context,
    data: ChoicesOption,
    model: ModelOption = None,
    strength: StrengthsOption = None,
    budget: BudgetsOption = None,
    methods: MethodsOption = None,
    limit: LimitOption = None,
    seed: RepeatableSeedOption = 0,
    out: OutOption = OUT,
) -> None:
    """PrefEval's classification task: is the answer that follows the preference chosen among four?"""
    options = measuring.choice_options(data, methods, strength, budget, limit, seed)
    measuring.show(measuring.run(settings_of(ctx, model=model), "prefeval-mcq", out, options))


@app.command("personal-preference")
def personal_preference(
    ctx: typer.Context,
    data: ChoicesOption,
    model: ModelOption = None,
    strength: StrengthsOption = None,
    budget: BudgetsOption = None,
    methods: MethodsOption = None,
    limit: LimitOption = None,
    seed: RepeatableSeedOption = 0,
    out: OutOption = OUT,
) -> None:
    """Four people ask one question: is the answer meant for each chosen?"""
    options = measuring.choice_options(data, methods, strength, budget, limit, seed)
    measuring.show(measuring.run(settings_of(ctx, model=model), "personal-preference", out, options))


@app.command()
def consolidation(
    pairs: Annotated[Path, typer.Argument(help="JSON Lines with old, new, label and split.", dir_okay=False)],
    as_json: JsonOption = False,
) -> None:
    """How often what is said again, restated or contradicted is recognised, and what is independent left alone."""
    from la_agents.evaluation.consolidation import judge_pairs, read_pairs
    from la_agents.preferences.consolidation import RuleConsolidator
    from la_agents.preferences.embeddings import BundledEmbeddings

    read = read_pairs(pairs)
    reports = {}
    for split in dict.fromkeys(pair.split for pair in read):
        own = [pair for pair in read if pair.split == split]
        reports[split] = judge_pairs(own, RuleConsolidator(), BundledEmbeddings()).report()
    _print_reports(reports, as_json)


@app.command()
def learning(
    conversations: Annotated[
        Path, typer.Argument(help="JSON Lines with messages, preferences, split and kind.", dir_okay=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """How much of what users state in conversations the rule-based extractor finds, and how much it makes up."""
    from la_agents.evaluation.learning import read_conversations, score_extractor
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
    as_json: JsonOption = False,
) -> None:
    """How often a question finds its own preference among 10, 30 and 100, and how often it gets a wrong one."""
    from la_agents.evaluation.retrieval import (
        Questions,
        by_cosine,
        by_relevance,
        cross_validated,
        measure,
        read_topics,
    )
    from la_agents.preferences.embeddings import BundledEmbeddings
    from la_agents.preferences.store import DEFAULT_MIN_RELEVANCE

    data = Questions(read_topics(folder), BundledEmbeddings())
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


def _print_reports(reports: Mapping[str, Mapping[str, float]], as_json: bool) -> None:
    if as_json:
        print_json(reports)
        return
    for split, report in reports.items():
        answer(split)
        for name, value in report.items():
            answer(f"  {name:<24} {value:g}" if isinstance(value, int) else f"  {name:<24} {value:.3f}")
