"""The Python in README and docs runs as it is printed, page by page, with the bundled model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from la_agents import ChatLinearAlignment

pytestmark = pytest.mark.usefixtures("bundled_model")

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text())


READMES = [ROOT / "README.md", *sorted(ROOT.glob("integrations/*/README.md"))]
PAGES = [page for page in (*READMES, *sorted((ROOT / "docs").rglob("*.md"))) if blocks(page)]


def test_there_are_pages_with_code() -> None:
    assert {"README.md", "index.md", "plug-into-a-chain.md", "manage-preferences.md"} <= {p.name for p in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_runs_as_printed(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, code in enumerate(blocks(page), start=1):
        exec(compile(code, f"{page.name}, block {number}", "exec"), namespace)


def test_the_readme_snippet_is_short() -> None:
    (first, *_) = blocks(ROOT / "README.md")
    assert len(first.splitlines()) <= 10


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_what_a_first_snippet_prints_is_what_the_page_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / page).read_text()
    (said, *_) = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks(ROOT / page)[0], page, "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert re.fullmatch(r"[A-Z][^.\n]{20,200}\.\n", said)  # one sentence that ends
    for answer in (said, printed):  # another processor may round otherwise: other words, in float32 a second sentence
        assert "accines" in answer
        assert "immun" in answer
        assert answer.endswith(".\n")
        assert len(re.findall(r"\.\s", answer)) <= 2


def test_without_the_preference_the_first_snippets_answer_does_not_end() -> None:
    unaligned = ChatLinearAlignment(max_tokens=64).invoke("How do vaccines work?")
    assert unaligned.response_metadata["finish_reason"] == "length"
