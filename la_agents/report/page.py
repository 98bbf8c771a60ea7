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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from la_agents.report.values import PrincipleReport, ReportValues, TokenReport

__all__ = ["LEVELS", "level", "page", "spans"]

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


def page(report: ReportValues, question: str | None, title: str) -> str:
    """The page as text.

    Raises:
        ConfigurationError: the report does not list its tokens.
    """
    tokens = report.explained_tokens()
    style, script = _asset("page.css"), _asset("page.js")
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"
    policy += "; form-action 'none'"
    shown = [*spans(tokens)]
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{_question(question)}<h2 id="answer-title">Answer</h2>
<p id="help">Point at a word, tap it, or move with the arrow keys, to see what else was likely. Deeper shade: alignment
moved its probability further. Underlined: the unaligned model would have chosen another token.</p>
<div id="answer" role="listbox" tabindex="0" dir="auto" aria-labelledby="answer-title" aria-describedby="help">\
{"".join(_span(number, text, members, tokens) for number, (text, members) in enumerate(shown))}</div>
{_legend()}
{_principles(report)}
<h2>In numbers</h2>
<dl>{_figures(report)}</dl>
<noscript><p>Single tokens are shown by a script, which this browser does not run.</p></noscript>
</main>
<aside id="panel" aria-live="polite" aria-label="The chosen token" hidden></aside>
<script type="application/json" id="data">{_json(report, shown)}</script>
<script>{script}</script>
</body>
</html>
"""


def _question(question: str | None) -> str:
    return "" if question is None else f'<h2>Question</h2>\n<p class="text" dir="auto">{escape(question)}</p>\n'


def _span(number: int, text: str, members: Sequence[int], tokens: Sequence[TokenReport]) -> str:
    own = [tokens[place] for place in members]
    classes = [f"m{max(level(token.moved) for token in own)}"]
    classes += ["changed"] if any(token.id != token.reference_id for token in own) else []
    classes += ["break"] if "\n" in text else []
    return f'<span role="option" aria-selected="false" id="t{number}" class="{" ".join(classes)}">{escape(text)}</span>'


def _legend() -> str:
    steps = "".join(f'<span class="m{step + 1}">{bound:g}</span>' for step, bound in enumerate(LEVELS))
    return f'<p class="legend" aria-hidden="true">moved by at least, in nats: {steps}</p>'


def _principles(report: ReportValues) -> str:
    if not report.principles:
        return "<h2>Principles</h2>\n<p>None applied: the model as it is.</p>"
    rows = "".join(
        f'<li class="text" dir="auto">{escape(_named(each))}{_origin(each)}</li>' for each in report.principles
    )
    return f"<h2>Principles</h2>\n<ol>{rows}</ol>"


def _named(principle: PrincipleReport) -> str:
    return principle.text or principle.id or "a principle"


def _origin(principle: Any) -> str:
    facts = [] if principle.layer in ("user", "call") else [f"layer {principle.layer}"]
    facts += [] if principle.weight == 1 else [f"weight {principle.weight:g}"]
    facts += [] if principle.relevance is None else [f"relevance {principle.relevance:.2f}"]
    return f' <small dir="ltr">{escape(", ".join(facts))}</small>' if facts else ""


def _figures(report: ReportValues) -> str:
    budget = "none" if report.divergence_budget is None else f"{report.divergence_budget:g} nats a token"
    figures = {
        "method": report.method,
        "strength": f"{report.strength:g}",
        "divergence budget": budget,
        "tokens changed": f"{report.changed_tokens} of {report.num_tokens}",
        "mean divergence": f"{report.mean_divergence:.3f} nats",
        "largest divergence": f"{report.max_divergence:.3f} nats",
    }
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in figures.items())


def _json(report: ReportValues, shown: Sequence[tuple[str, list[int]]]) -> str:
    branches = [" + ".join(_named(report.principles[i]) for i in branch.principles) for branch in report.branches]
    tokens = [
        {
            "label": token.label,
            "chosen": token.id,
            "reference": token.reference,
            "changed": token.id != token.reference_id,
            "moved": token.moved,
            "divergence": token.divergence,
            "scale": token.scale,
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
