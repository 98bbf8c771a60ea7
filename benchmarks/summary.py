"""What docs/results.md says, in a table and a few sentences: for the README and for "Choosing a method and strength".

python -m benchmarks.summary        writes the README's part anew; `make results` does so, too
"""

from __future__ import annotations

import re
from pathlib import Path

from la_agents.calibration import shipped_calibration

__all__ = ["main", "summary", "with_summary"]

ROOT = Path(__file__).parents[1]
RESULTS, README = ROOT / "docs" / "results.md", ROOT / "README.md"
BEGIN, END = "<!-- measured: python -m benchmarks.summary -->", "<!-- end -->"


def main() -> None:
    """Put the summary of the results page into the README."""
    README.write_text(with_summary(README.read_text(encoding="utf-8")), encoding="utf-8")


def with_summary(page: str) -> str:
    """The page with the summary between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{summary(RESULTS.read_text(encoding='utf-8'))}\n{END}{after}"


def summary(results: str) -> str:
    """A row and an item of a list for each model of the results page."""
    models = [_Model(*re.split(r"\n", part, maxsplit=1)) for part in re.split(r"^## ", results, flags=re.M)[1:]]
    head = ["| model | without the preference | best prompting | la_agents |", "|---|---|---|---|"]
    table = "\n".join([*head, *(model.row() for model in models)])
    sentences = "\n".join(model.sentence() for model in models)
    return "\n\n".join([table, "la_agents compared with the best prompting:", sentences])


class _Model:
    """One model's part of the page."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self._text = name, text
        self.best = self._found(r"Best way of prompting: `([\w-]+)`")

    def row(self) -> str:
        """How well answers follow."""
        base, best, default = (self._found(rf"^\| {name} \| ([^|]+) \|") for name in ("base", self.best, "calibrated"))
        return f"| {self.name} | {base} | {best} | **{default}** |"

    def sentence(self) -> str:
        """What is better, what is worse, and what it costs."""
        better = self._found(r"The default \(`calibrated`\) helps with: (.*)\.$", "no principle")
        worse = self._found(r"^More than 0.05 below the best prompting: (.*)\.$")
        costs = self._found(r"^From the best prompting to the default: (.*)\.$")
        note = "" if shipped_calibration(self.name).measured else " (no calibration comes with the library)"
        verdicts = f"Clearly better: {better}. Worse by more than 0.05: {worse}."
        return f"- **{self.name}**{note}. {verdicts} Cost: {costs}.".replace(": no principle.", ": none.")

    def _found(self, pattern: str, otherwise: str | None = None) -> str:
        found = re.search(pattern, self._text, re.M)
        if found is None and otherwise is None:
            msg = f"Expected the results page to say {pattern!r} of {self.name}; the page and this file have parted."
            raise ValueError(msg)
        return found[1].strip() if found else str(otherwise)


if __name__ == "__main__":
    main()
