"""Where the evaluation data lies, which is not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["data_folder"]


def data_folder(*parts: str) -> Path:
    """Return a path in `LA_AGENTS_DATA`, else in `../shared/data` beside the checkout; skip if absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("LA_AGENTS_DATA", beside)).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs the evaluation data at {path}; set LA_AGENTS_DATA to its folder")
    return path
