"""The benchmark of a GPU runs; on a CPU, on tiny shapes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from benchmarks import gpu


def test_every_table_comes_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "runs.json"
    gpu.main(
        shapes="tiny",
        users="1,2",
        repetitions=1,
        tokens=4,
        device="cpu",
        only="unaligned;aligned, budget 0.5;others",
        json_path=written,
    )
    runs = json.loads(written.read_text())
    assert set(runs["2 users"]) == {"unaligned", "aligned, budget 0.5"}
    assert {"authors", "plain (transformers)", "cfg (transformers)"} < set(runs["others"])
    assert "Users together: 2" in capsys.readouterr().out


def test_unknown_shapes_are_refused() -> None:
    with pytest.raises(typer.BadParameter, match="8b"):
        gpu.main(shapes="9b")
