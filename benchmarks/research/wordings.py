"""Wordings: the same principles put to the model in different words; which are followed best?

Rows: `<wording> <principle>/<setting>/<question>`, as a steerability run has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from la_agents.evaluation.adherence import measured_named
from la_agents.evaluation.cases import Case
from la_agents.evaluation.measuring import Unaligned, can_measure, follow, follow_case
from la_agents.evaluation.methods import Setting
from la_agents.evaluation.plots import Panel
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.reports import ADHERENCE, LEGEND, cells, point
from la_agents.evaluation.runs import Row
from la_agents.evaluation.suites import Options, Plan, Suite
from la_agents.evaluation.summary import COSTS, grouped, summarise
from la_agents.evaluation.tables import markdown_table
from la_agents.prompts.builder import Wording

__all__ = ["WORDINGS", "WORDINGS_SUITE"]

SETTINGS = (Setting("prompt"), Setting("linear", 1.0))
WORDINGS: Mapping[str, Wording] = {
    "bare": Wording(),
    "must": Wording(one="You must follow this instruction in every sentence: {principle}"),
    "prefers": Wording(one="The user has this preference, and your answer follows it: {principle}"),
    "adhere": Wording(one="Please adhere to the following principle.\n{principle}"),
    "remember": Wording(one="Remember: {principle}"),
}
"""For a single principle; `bare` is the principle itself, `adhere` is close to the paper's."""


def _plan(options: Options) -> Plan:
    questions, principles = options.questions(), measured_named(options.principles)

    def cases(unaligned: Unaligned) -> Iterator[Case]:
        for name, wording in WORDINGS.items():
            for one in principles:
                what, judged, fields = f"{name} {one.id}", ((one, 1.0),), {"wording": name, "principle": one.id}
                for question in questions:
                    for setting in SETTINGS if can_measure(one, question, unaligned) else ():
                        yield follow_case(
                            what,
                            judged,
                            setting,
                            question,
                            unaligned,
                            fields,
                            seed=options.seed,
                            wording=wording,
                        )

    facts = {
        "num_questions": len(questions),
        "principles": {principle.id: [principle.text, principle.max_tokens] for principle in principles},
        "wordings": {name: wording.one for name, wording in WORDINGS.items()},
        "settings": [setting.key for setting in SETTINGS],
    }
    return Plan(facts, follow(questions, max(principle.max_tokens for principle in principles), cases))


def _report(header: Row, rows: Sequence[Row]) -> tuple[list[str], list[Panel]]:
    """How well principles are followed in each wording: a row a wording and setting."""
    panels = [
        Panel(
            setting,
            "divergence, nats a token",
            "adherence",
            {name: [point(summary)] for name, own in grouped(part, "wording").items() for summary in summarise(own)},
            ADHERENCE,
        )
        for setting, part in grouped(rows, "setting").items()
    ]
    found = [
        [name, *cells(summary)[:3], *summary.costs.values()]
        for name, own in grouped(rows, "wording").items()
        for summary in summarise(own)
    ]
    columns = ["wording", "setting", "answers", "adherence", *COSTS]
    return [LEGEND, markdown_table(columns, found, provenance_line(header))], panels


WORDINGS_SUITE = Suite("wordings", _plan, _report, ("data", "principles"), source=Path(__file__))
