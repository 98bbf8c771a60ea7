"""The results file: whatever interrupts a run, taken up again it leaves what an uninterrupted one leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from la_agents.errors import ConfigurationError
from la_agents.evaluation.provenance import checksum, code_version, provenance
from la_agents.evaluation.runs import Row, Run, read_run

KEYS = [f"case-{number}" for number in range(6)]


def header(**changes: object) -> Row:
    usual = provenance(suite="tiny", model="none", seed=0, data="00")
    return {"provenance": {**usual["provenance"], **changes}}


def work(keys: Sequence[str], *, backwards: bool = False) -> Iterator[tuple[str, Row]]:
    for key in reversed(keys) if backwards else keys:
        yield key, {"value": int(key[-1]) / 3, "text": f"line\nbreak\r\u2028{key} é"}


def whole_file(folder: Path) -> bytes:
    with Run(folder, header()) as run:
        run.complete(KEYS, work)
        return run.path.read_bytes()


class InterruptedRunError(Exception):
    pass


def interrupted_after(number: int) -> object:
    def some(keys: Sequence[str]) -> Iterator[tuple[str, Row]]:
        for done, pair in enumerate(work(keys, backwards=True)):
            if done == number:
                raise InterruptedRunError
            yield pair

    return some


@pytest.mark.parametrize("number", range(len(KEYS)))
def test_a_run_interrupted_at_any_row_is_taken_up_again(number: int, tmp_path: Path) -> None:
    expected = whole_file(tmp_path / "whole")
    with Run(tmp_path / "cut", header()) as run, pytest.raises(InterruptedRunError):
        run.complete(KEYS, interrupted_after(number))  # type: ignore[arg-type]
    asked: list[str] = []

    def watched(keys: Sequence[str]) -> Iterator[tuple[str, Row]]:
        asked.extend(keys)
        return work(keys)

    with Run(tmp_path / "cut", header()) as run:
        rows = run.complete(KEYS, watched)
    assert run.path.read_bytes() == expected
    assert [row["key"] for row in rows] == KEYS
    assert asked == KEYS[: len(KEYS) - number]  # what was finished is not done again


def test_a_file_cut_at_any_byte_is_taken_up_again(tmp_path: Path) -> None:
    expected = whole_file(tmp_path)
    path = tmp_path / "tiny.jsonl"
    for length in range(len(expected)):
        path.write_bytes(expected[:length])
        assert whole_file(tmp_path) == expected


def test_a_killed_process_leaves_what_it_finished(tmp_path: Path) -> None:
    code = (
        "import os\nfrom pathlib import Path\nfrom la_agents.evaluation.runs import Run\n"
        "from tests.unit.evaluation.test_runs import KEYS, header, work\n"
        f"run = Run(Path({str(tmp_path)!r}), header())\n"
        "for number, (key, row) in enumerate(work(KEYS)):\n    run.add(key, row)\n    number == 2 and os._exit(9)\n"
    )
    same = header()
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == 9
    with Run(tmp_path, same) as run:
        assert list(run.rows) == KEYS[:3]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"data": "11"}, "data"),
        ({"model": {"name": "other"}}, "model"),
        ({"settings": {"strengths": (1.0,)}}, "settings"),
        ({"code": "other"}, "code"),
        ({"libraries": {}}, "libraries"),
    ],
)
def test_other_provenance_is_refused_and_nothing_changes(
    changes: dict[str, object], named: str, tmp_path: Path
) -> None:
    expected = whole_file(tmp_path)
    with pytest.raises(ConfigurationError, match=rf"its {named} differ; choose another --out"):
        Run(tmp_path, header(**changes))
    assert (tmp_path / "tiny.jsonl").read_bytes() == expected


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with Run(tmp_path, header()), pytest.raises(ConfigurationError, match="one run at a time"):
        Run(tmp_path, header())
    Run(tmp_path, header()).close()


def test_damage_in_the_middle_is_not_papered_over(tmp_path: Path) -> None:
    lines = whole_file(tmp_path).splitlines(keepends=True)
    path = tmp_path / "tiny.jsonl"
    path.write_bytes(b"".join([lines[0], lines[1][:10] + b"\n", *lines[2:]]))
    with pytest.raises(ConfigurationError, match="line 2"):
        Run(tmp_path, header())
    path.write_text('{"some": "other file"}\n')
    with pytest.raises(ConfigurationError, match="provenance row"):
        Run(tmp_path, header())
    assert path.read_text() == '{"some": "other file"}\n'


def test_units_need_keys_of_their_own_and_a_row_each(tmp_path: Path) -> None:
    with Run(tmp_path, header()) as run:
        with pytest.raises(ConfigurationError, match="a key of its own"):
            run.complete(["a", "a"], work)
        with pytest.raises(ConfigurationError, match="1 are missing"):
            run.complete(["case-0", "case-1"], lambda keys: work(keys[:1]))
        with pytest.raises(ValueError, match="Out of range"):
            run.complete(["case-2"], lambda keys: [(keys[0], {"value": float("nan")})])
        assert list(run.rows) == ["case-0"]


def test_an_early_stage_leaves_the_rows_of_a_later_one(tmp_path: Path) -> None:
    with Run(tmp_path, header()) as run:
        run.complete(KEYS[:2], work)
        with pytest.raises(InterruptedRunError):
            run.complete(KEYS, interrupted_after(2))  # type: ignore[arg-type]
    with Run(tmp_path, header()) as run:
        run.complete(KEYS[:2], work)
    with Run(tmp_path, header()) as run:
        assert set(run.rows) == {*KEYS[:2], *KEYS[-2:]}


def test_progress_counts_what_was_there_already(tmp_path: Path) -> None:
    with Run(tmp_path, header()) as run:
        run.complete(KEYS[:2], work)
        told: list[tuple[int, int]] = []
        run.complete(KEYS[:4], work, lambda done, total: told.append((done, total)))
    assert told == [(2, 4), (3, 4), (4, 4)]


def test_a_finished_file_is_read_back(tmp_path: Path) -> None:
    whole_file(tmp_path)
    first, rows = read_run(tmp_path / "tiny.jsonl")
    assert first["provenance"]["suite"] == "tiny"
    assert set(first["provenance"]["libraries"]) >= {"python", "torch", "transformers"}
    assert [row["key"] for row in rows] == KEYS
    with pytest.raises(ConfigurationError, match="Expected results in"):
        read_run(tmp_path / "none.jsonl")


def test_the_checksum_is_of_names_and_contents(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "2")):
        (tmp_path / name).write_text(text)
    both = checksum(tmp_path)
    assert both == checksum(tmp_path / "b", tmp_path / "a") != checksum(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "c")
    assert checksum(tmp_path) != both
    with pytest.raises(ConfigurationError, match="readable data"):
        checksum(tmp_path / "none" / "file")


def test_the_code_is_named_by_version_and_by_commit_in_a_checkout() -> None:
    version, *commit = code_version().split()
    assert version == "0.1.0"
    root = Path(__file__).parents[3]
    assert bool(commit) == (root / ".git").exists()


def test_the_header_is_plain_json(tmp_path: Path) -> None:
    line = json.loads(whole_file(tmp_path).splitlines()[0])
    assert list(line["provenance"]) == ["suite", "model", "seed", "data", "settings", "code", "libraries"]
