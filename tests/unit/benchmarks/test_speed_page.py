"""The page on models says of speed and memory what was measured and written down, and what its own rule computes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
COMPARISON = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
MEASURED = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")


def row(text: str, heading: str, name: str) -> list[str]:
    """The cells of the row `name` in the first table after `heading`."""
    table = text[text.index(heading) :]
    (cells,) = re.search(rf"^\| {re.escape(name)} \|(.*)\|$", table, re.MULTILINE).groups()  # type: ignore[union-attr]
    return [cell.strip() for cell in cells.split("|")]


def numbers(cell: str) -> list[str]:
    return re.findall(r"\d[\d,]*(?:\.\d+)?", cell)


def says(shown: str, measured: str, unit: float = 1.0) -> bool:
    """Whether a figure is the measured one, rounded to the digits that it has."""
    digits = len(shown.partition(".")[2])
    wide = 0.5 * 10**-digits + 1e-9
    return abs(float(shown.replace(",", "")) - float(measured.replace(",", "")) * unit) <= wide


@pytest.mark.parametrize(
    ("line", "table", "column"),
    [
        ("one user, ms per token", "| one user | ms a token", 0),
        ("one user, tokens/s", "| one user | ms a token", 1),
        ("4 users together, tokens/s", "| all users together", 0),
        ("16 users together, tokens/s", "| all users together", 2),
    ],
)
def test_the_speed_on_a_cpu_is_the_measured_one(line: str, table: str, column: int) -> None:
    shown = row(PAGE, "**CPU**", line)
    for place, name in enumerate(("ours, unaligned", "ours, aligned")):
        assert says(shown[place], numbers(row(MEASURED, table, name)[column])[0])


def on_a_gpu(users: str) -> list[list[str]]:
    """The measured cells of so many users: unaligned, aligned, aligned with a budget."""
    table = MEASURED[MEASURED.index(f"| {users}, unaligned |") :]
    return [[cell.strip() for cell in line.split("|")[2:-1]] for line in table.splitlines()[:3]]


@pytest.mark.parametrize(
    ("line", "users"),
    [
        ("one user, ms per token", "1 user"),
        ("16 users together, ms per token", "16 users"),
        ("64 users together, ms per token", "64 users"),
    ],
)
def test_the_speed_on_a_gpu_is_the_measured_one(line: str, users: str) -> None:
    for cell, (_, time, _, rate) in zip(row(PAGE, "**GPU**", line), on_a_gpu(users), strict=True):
        for shown, measured in zip(numbers(cell), (numbers(time)[0], rate), strict=False):
            assert says(shown, measured)


def test_the_first_token_on_a_gpu_is_the_measured_one() -> None:
    unaligned, aligned, _ = row(PAGE, "**GPU**", "first token of a 6,000-token prompt, s")
    (sentence,) = re.findall(r"The first token of a prompt of 6,000 tokens[^;]*;", MEASURED)
    shown = [*numbers(unaligned), *numbers(aligned)]
    assert all(says(one, other, 1e-3) for one, other in zip(shown, re.findall(r"(\d+) ms", sentence), strict=True))


def test_the_comparison_names_the_measured_cost() -> None:
    cost = row(COMPARISON, "| works with hosted models", "cost per token")[2]
    one_on_gpu, one_on_cpu, many_on_gpu, many_on_cpu = re.findall(r"([\d.]+) \([GC]PU\)", cost)
    assert says(one_on_gpu, numbers(on_a_gpu("1 user")[1][2])[0])
    assert says(many_on_gpu, numbers(on_a_gpu("16 users")[1][2])[0])
    assert f"to {one_on_cpu} times as long as an unaligned one" in PAGE  # the most that was seen on any machine
    (measured,) = re.findall(r"and ([\d.]+) \([\d.-]+\) times for sixteen", " ".join(MEASURED.split()))
    assert says(many_on_cpu, measured)


@pytest.mark.parametrize(
    ("name", "billions"), [("135 million (bundled)", 0.135), ("1.5 billion", 1.5), ("8 billion", 8.0)]
)
def test_memory_is_what_the_rule_computes(name: str, billions: float) -> None:
    half, whole, _ = (numbers(cell)[0] for cell in row(PAGE, "## Memory", name))
    assert says(half, str(billions), 2)
    assert says(whole, str(billions), 4)
