"""Progress of slow work, reported to a callback; other libraries' progress bars stay off the terminal meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Progress", "no_bars", "silent"]

Progress = Callable[[str, float], None]
"""Called with a stage ("waiting", "reading", "dequantizing", "writing") and the fraction of all that is done."""


def silent(stage: str, fraction: float) -> None:
    """The callback of a caller who gave none."""


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars, and leave its setting as it was."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging  # untyped
    was_enabled = logging.is_progress_bar_enabled()
    if was_enabled:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()
