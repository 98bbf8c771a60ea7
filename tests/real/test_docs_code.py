"""The Python in README and docs runs as it is printed, page by page, with the bundled model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
