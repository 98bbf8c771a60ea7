"""The page of an alignment report: one HTML file that loads nothing, and in which all text is data.

The policy in its head (CSP) lets this style and this script run, by their hashes, and nothing else: no other script, no
request. Text gets into the page escaped, or as JSON that the script puts on screen as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from la_agents.report.values import PrincipleReport, ReportValues, TokenReport

__all__ = ["LEVELS", "level", "most_moved", "page", "percent", "spans"]

LEVELS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0)
"""Nats at which the shade of a token gets deeper; the same for all answers, so that pages compare."""


def level(moved: float) -> int:
    """The shade of a token that was moved so far, from 0 for none to len(LEVELS)."""
    return bisect_right(LEVELS, abs(moved))


def spans(tokens: Sequence[TokenReport]) -> Iterator[tuple[str, list[int]]]:
    """Spans of the answer, and the tokens that each is made of: several where one character takes several."""
    members: list[int] = []
    for place, token in enumerate(tokens):
        members.append(place)
        if token.text:
            yield token.text, members
            members = []
    if members:
        yield "".join(tokens[place].label for place in members), members


def page(
    report: ReportValues,
    *,
    title: str,
    question: str | None = None,
    unaligned: str | None = None,
    model: str | None = None,
    date: datetime | None = None,
) -> str:
    """The page as text; `AlignmentReport.to_html` says what the arguments are.

    Raises:
        ConfigurationError: the report does not list its tokens.
    """
    tokens = report.explained_tokens()
    style, script = _asset("page.css"), _asset("page.js")
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"
    policy += "; form-action 'none'"
    shown = [*spans(tokens)]
    return Template(_asset("page.html")).substitute(
        policy=policy,
        title=escape(title),
        style=style,
        script=script,
        principles=_principles(report),
        question=_question(question),
        heading="With the preferences" if report.principles else "Answer",
        answer="".join(_span(number, text, members, tokens) for number, (text, members) in enumerate(shown)),
        unaligned=_unaligned(unaligned),
        most_moved=_most_moved(tokens),
        facts=_facts(report, model, date),
        data=_json(report, shown),
    )


def _question(question: str | None) -> str:
    return "" if question is None else f'<h2>Question</h2>\n<p class="text" dir="auto">{escape(question)}</p>\n'


def _unaligned(answer: str | None) -> str:
    if answer is None:
        return ""
    text = f'<p class="text answer" dir="auto">{escape(answer)}</p>'
    return f'<section class="without">\n<h2>Without the preferences</h2>\n{text}\n</section>\n'


def _span(number: int, text: str, members: Sequence[int], tokens: Sequence[TokenReport]) -> str:
    own = [tokens[place] for place in members]
    classes = [f"m{max(level(token.moved) for token in own)}"]
    classes += ["changed"] if any(token.id != token.reference_id for token in own) else []
    classes += ["break"] if "\n" in text else []
    return f'<span role="option" aria-selected="false" id="t{number}" class="{" ".join(classes)}">{escape(text)}</span>'


def _principles(report: ReportValues) -> str:
    if not report.principles:
        return "<h2>Preferences</h2>\n<p>None applied: this is the unaligned answer.</p>"
    rows = "".join(
        f'<li class="text" dir="auto">{escape(_named(each))}{_origin(each)}</li>' for each in report.principles
    )
    return f"<h2>Preferences</h2>\n<ol>{rows}</ol>"


def _named(principle: PrincipleReport) -> str:
    return principle.text or principle.id or "a preference"


def _origin(principle: PrincipleReport) -> str:
    facts = [] if principle.layer in ("user", "call") else [f"layer {principle.layer}"]
    facts += [] if principle.weight == 1 else [f"weight {principle.weight:g}"]
    facts += [] if principle.relevance is None else [f"relevance {principle.relevance:.2f}"]
    return f' <small dir="ltr">{escape(", ".join(facts))}</small>' if facts else ""


def percent(probability: float) -> str:
    """A probability in percent; what is not quite 0 or 1 does not look like it."""
    if 0 < probability < 0.001:
        return "<0.1%"
    if 0.999 < probability < 1:
        return ">99.9%"
    return f"{probability:.1%}" if 0 < probability < 0.1 or 0.99 < probability < 1 else f"{probability:.0%}"


def most_moved(tokens: Sequence[TokenReport], count: int) -> list[TokenReport]:
    """The tokens that alignment moved most, the furthest first."""
    return sorted(tokens, key=lambda token: -abs(token.moved))[:count]


def _most_moved(tokens: Sequence[TokenReport]) -> str:
    rows = "".join(
        f"<tr><th scope='row' dir='auto'><code>{escape(_visible(token.label))}</code></th>"
        f"<td>{escape(percent(token.chosen.reference))} → {escape(percent(token.chosen.aligned))}</td>"
        f"<td dir='auto'><code>{escape(_visible(token.reference))}</code></td></tr>"
        for token in most_moved(tokens, 5)
        if level(token.moved)
    )
    if not rows:
        return ""
    head = "<th scope='col'>Word</th><th scope='col'>Chance, without → with</th><th scope='col'>Without</th>"
    return f"<h2>Changed most</h2>\n<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _visible(text: str) -> str:
    return (text.strip(" ") or text).replace("\n", "↵").replace("\t", "⇥") or "∅"


def _facts(report: ReportValues, model: str | None, date: datetime | None) -> str:
    facts = {
        "Model": model,
        "Date": date and f"{date:%d %B %Y, %H:%M}",
        "Changed": f"{report.changed_tokens} of {report.num_tokens} tokens (words, or pieces of them)",
        "Method": f"{report.method}, strength {report.strength:g}",
        "Support and push": f"{report.support}, {report.push}",
        "Divergence": f"{report.mean_divergence:.2f} nats a token on average, {report.max_divergence:.2f} at most",
        "Divergence budget": None if report.divergence_budget is None else f"{report.divergence_budget:g} nats a token",
    }
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items() if value
    )


def _json(report: ReportValues, shown: Sequence[tuple[str, list[int]]]) -> str:
    branches = [" + ".join(_named(report.principles[i]) for i in branch.principles) for branch in report.branches]
    tokens = [
        {
            "label": token.label,
            "chosen": token.id,
            "reference": token.reference,
            "changed": token.id != token.reference_id,
            "moved": token.moved,
            "contributions": token.contributions,
            "candidates": [[each.id, each.text, each.reference, each.aligned] for each in token.candidates],
        }
        for token in report.explained_tokens()
    ]
    values = {"branches": branches, "tokens": tokens, "spans": [members for _, members in shown]}
    text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    # Nothing in it may end the element, or look like a comment to the browser.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
