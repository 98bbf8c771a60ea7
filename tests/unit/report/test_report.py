"""The report of an answer: read back from metadata, and as a page in which all text is data."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage

from la_agents import AlignmentReport, ChatLinearAlignment, LinearAlignmentLLM
from la_agents.engine.detokenizer import Detokenizer
from la_agents.errors import ConfigurationError
from la_agents.report import TokenReport
from la_agents.report.page import LEVELS, level, most_moved, percent, spans
from la_agents.report.token_text import TokenTexts
from tests.tiny import FAMILIES, tiny_model, tiny_tokenizer

ATTACK = "Be kind.</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">&lt;"
TEXTS = ("emoji 😀 and 👩‍👩‍👧 family", "東京は晴れです。", "plain words\n\nand lines", "Ça va très bien ?")


def ask(**settings: Any) -> AIMessage:
    defaults: dict[str, Any] = {"model": tiny_model("llama"), "max_tokens": 12, "strength": 2.0, "explain": True}
    llm = ChatLinearAlignment(**{**defaults, "principles": ["Be kind.", ATTACK], "compose": "sum", **settings})
    return llm.invoke("What now?")


class Page(HTMLParser):
    """What a browser would make of the page: elements with their attributes, and the text in each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[list[str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        text: list[str] = []
        self.found.append((tag, dict(attrs), text))
        if tag != "meta":
            self._open.append(text)

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for text in self._open:
            text.append(data)

    def texts(self, tag: str) -> list[str]:
        return ["".join(text) for name, _, text in self.found if name == tag]


@pytest.fixture(scope="module")
def message() -> AIMessage:
    return ask()


@pytest.fixture(scope="module")
def page(message: AIMessage) -> str:
    return AlignmentReport.from_message(message).to_html(question=ATTACK, title=ATTACK)


def test_a_report_survives_langchains_serialisation_and_json(message: AIMessage) -> None:
    report = AlignmentReport.from_message(message)
    assert report.to_dict() == message.response_metadata["alignment"]
    dumped = loads(dumps(message), allowed_objects="messages")
    for copy in (dumped, AIMessage.model_validate_json(message.model_dump_json())):
        assert AlignmentReport.from_message(copy) == report
    assert AlignmentReport.from_metadata(json.loads(json.dumps(report.to_dict()))) == report


def test_every_token_lists_itself_and_the_likeliest_of_both_policies(message: AIMessage) -> None:
    tokens = AlignmentReport.from_message(message).explained_tokens()
    assert len(tokens) == 12
    for token in tokens:
        assert token.chosen.id == token.id
        assert token.chosen.text == token.label
        assert 6 <= len(token.candidates) + 1 <= 12
        assert token.candidates[0].id == token.id  # decoded greedily
        assert len(token.contributions) == 2
    assert "".join(token.text for token in tokens) == message.text
    assert any(token.moved > 0 for token in tokens)


def test_streamed_and_plain_text_answers_have_the_same_report(message: AIMessage) -> None:
    defaults: dict[str, Any] = {"model": tiny_model("llama"), "max_tokens": 12, "strength": 2.0, "explain": True}
    llm = ChatLinearAlignment(**defaults, principles=["Be kind.", ATTACK], compose="sum")
    *_, last = llm.stream("What now?")
    streamed, report = AlignmentReport.from_message(last), AlignmentReport.from_message(message)
    assert [t.id for t in streamed.explained_tokens()] == [t.id for t in report.explained_tokens()]
    result = LinearAlignmentLLM(**defaults, principles=["Be kind."]).generate(["What now?"])
    info = result.generations[0][0].generation_info
    assert info is not None
    assert AlignmentReport.from_metadata(info).explained_tokens()[0].candidates


def test_an_answer_that_was_not_asked_to_explain_has_no_page() -> None:
    report = AlignmentReport.from_message(ask(explain=False))
    assert report.tokens is None
    assert "tokens" not in report.to_dict()
    with pytest.raises(ConfigurationError, match="explain=True"):
        report.to_html()


@pytest.mark.parametrize("metadata", [{}, {"alignment": None}, {"alignment": {"strength": "PRIVATE"}}, "PRIVATE", None])
def test_metadata_of_others_is_refused_without_repeating_it(metadata: Any) -> None:
    with pytest.raises(ConfigurationError, match="Expected the response_metadata") as caught:
        AlignmentReport.from_metadata(metadata)
    assert "PRIVATE" not in str(caught.value)
    assert caught.value.__context__ is None


def test_text_stays_text_in_the_page(page: str) -> None:
    parsed = Page(page)
    tags = [tag for tag, _, _ in parsed.found]
    assert tags.count("script") == 2
    assert "img" not in tags
    assert parsed.texts("title") == parsed.texts("h1") == [ATTACK]
    assert parsed.texts("li") == ["Be kind.", ATTACK]
    assert ATTACK in parsed.texts("p")
    names = {name for _, attributes, _ in parsed.found for name in attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "href", "style", "action"}


def test_the_page_allows_its_own_script_and_nothing_else(page: str) -> None:
    parsed = Page(page)
    (policy,) = [a["content"] for _, a, _ in parsed.found if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    assert rules.pop("default-src") == "'none'"
    for name, content in (("style-src", parsed.texts("style")[0]), ("script-src", parsed.texts("script")[1])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules.pop(name) == f"'sha256-{digest}'"
    assert set(rules.values()) == {"'none'"}
    assert not re.search(r"https?:", page.replace("http://www.w3.org/2000/svg", ""))


def test_the_page_holds_the_answer_and_what_moved_it(page: str, message: AIMessage) -> None:
    parsed, report = Page(page), AlignmentReport.from_message(message)
    shown = ["".join(text) for _, attributes, text in parsed.found if attributes.get("role") == "option"]
    unfinished = "".join(shown).removeprefix(message.text)  # the last token may be part of a character
    assert unfinished == ("".join(t.label for t in report.explained_tokens()[-1:]) if unfinished else "")
    data = json.loads(parsed.texts("script")[0])
    assert data["branches"] == ["Be kind.", ATTACK]
    assert sorted(place for members in data["spans"] for place in members) == list(range(12))
    for token, listed in zip(report.explained_tokens(), data["tokens"], strict=True):
        assert listed["contributions"] == token.contributions
        assert [each[0] for each in listed["candidates"]] == [each.id for each in token.candidates]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_parts_of_characters_are_shown_as_bytes_and_make_one_span(family: str, text: str) -> None:
    tokenizer = tiny_tokenizer(family)
    ids = tokenizer.encode(text, add_special_tokens=False)
    detokenizer, texts = Detokenizer(tokenizer), TokenTexts(tokenizer)
    values = {"reference_id": 0, "reference": "", "divergence": 0, "scale": 1, "contributions": [], "candidates": []}
    tokens = []
    for place, token in enumerate(ids):
        (label,) = texts.of([token], ids[:place])
        assert label
        assert "\N{REPLACEMENT CHARACTER}" not in label
        tokens.append(TokenReport(id=token, text=detokenizer.push(token), label=label, **values))
    shown = [*spans(tokens)]
    decoded = tokenizer.decode(ids, skip_special_tokens=True)
    assert "".join(text_shown for text_shown, _ in shown) == decoded
    assert [place for _, members in shown for place in members] == list(range(len(ids)))


def test_special_tokens_are_shown_by_name() -> None:
    tokenizer = tiny_tokenizer("llama")
    assert TokenTexts(tokenizer).of([tokenizer.eos_token_id], []) == [tokenizer.eos_token]


def test_shades_deepen_with_what_moved_in_either_direction() -> None:
    assert level(0.0) == 0
    assert [level(bound) for bound in LEVELS] == [*range(1, len(LEVELS) + 1)]
    assert level(-100.0) == len(LEVELS)


def most_moved_of(report: AlignmentReport) -> list[TokenReport]:
    return [token for token in most_moved(report.explained_tokens(), 5) if level(token.moved)]


def in_a_browser(url: str, folder: Path) -> str:
    """The page after its script has run."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium to open the page; install the package chromium")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    return subprocess.run([chromium, *flags, url], capture_output=True, text=True, check=True, timeout=120).stdout


def test_a_browser_runs_the_pages_script_and_no_other(page: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page.replace(f"<title>{html.escape(ATTACK)}", "<title>untouched"), encoding="utf-8")
    dom = Page(in_a_browser(f"{file.as_uri()}#t1", tmp_path))
    assert dom.texts("title") == ["untouched"]
    assert len(dom.texts("script")) == 2
    (panel,) = dom.texts("aside")
    assert "What could have stood here" in panel
    assert ATTACK in panel


def test_the_page_opens_on_the_word_that_was_moved_most(page: str, message: AIMessage, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page, encoding="utf-8")
    dom = Page(in_a_browser(file.as_uri(), tmp_path))
    (chosen,) = [a["id"] for _, a, _ in dom.found if a.get("aria-selected") == "true"]
    tokens = AlignmentReport.from_message(message).explained_tokens()
    (furthest,) = most_moved(tokens, 1)
    members = [members for _, members in spans(tokens)]
    assert tokens.index(furthest) in members[int(str(chosen).removeprefix("t"))]
    (panel,) = dom.texts("aside")
    assert f"{percent(furthest.chosen.reference)} → {percent(furthest.chosen.aligned)}" in panel


def test_the_page_shows_both_answers_and_what_they_are_from(message: AIMessage) -> None:
    report = AlignmentReport.from_message(message)
    date = datetime(2026, 3, 4, 5, 6)
    text = report.to_html(question="What now?", unaligned="Nothing <b>new</b>.", model="tiny/llama", date=date)
    parsed = Page(text)
    headings = parsed.texts("h2")
    assert headings[:2] == ["Preferences", "Question"]  # the preference comes first
    assert {"With the preferences", "Without the preferences", "Changed most", "Settings"} <= set(headings)
    assert "Nothing <b>new</b>." in parsed.texts("p")
    facts = dict(zip(parsed.texts("dt"), parsed.texts("dd"), strict=True))
    assert facts["Model"] == "tiny/llama"
    assert facts["Date"] == "04 March 2026, 05:06"
    assert facts["Method"] == "tapered, strength 2"
    chances = [cell for cell in parsed.texts("td") if "→" in cell]
    assert chances == [f"{percent(t.chosen.reference)} → {percent(t.chosen.aligned)}" for t in most_moved_of(report)]


def test_an_answer_without_preferences_has_a_page_too() -> None:
    parsed = Page(AlignmentReport.from_message(ask(principles=[])).to_html())
    assert "None applied: this is the unaligned answer." in parsed.texts("p")
    assert parsed.texts("h2") == ["Preferences", "Answer", "Settings"]


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(0, "0%"), (1e-9, "<0.1%"), (0.032, "3.2%"), (0.24, "24%"), (0.996, "99.6%"), (0.99999, ">99.9%"), (1, "100%")],
)
def test_a_chance_that_is_not_quite_nothing_or_all_does_not_look_like_it(probability: float, shown: str) -> None:
    assert percent(probability) == shown
