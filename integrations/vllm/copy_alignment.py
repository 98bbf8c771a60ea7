"""Copy the method's pure functions into la_agents_vllm: no environment can hold both packages (see README.md).

    python integrations/vllm/copy_alignment.py

A test holds the copies equal to their sources.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["COPIES", "SOURCES", "copied"]

SOURCES = Path(__file__).parents[2] / "la_agents" / "alignment"
COPIES = Path(__file__).parent / "la_agents_vllm" / "alignment"


def copied(source: Path) -> str:
    """The text of a copy."""
    return source.read_text(encoding="utf-8").replace("la_agents.alignment", "la_agents_vllm.alignment")


if __name__ == "__main__":
    COPIES.mkdir(exist_ok=True)
    for source in SOURCES.glob("*.py"):
        (COPIES / source.name).write_text(copied(source), encoding="utf-8")
