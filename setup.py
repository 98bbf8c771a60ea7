"""The README as PyPI shows it, outside the repository: with absolute links. All else is in pyproject.toml."""

import re
from pathlib import Path

from setuptools import setup

HOME = "https://github.com/la-agents/la-agents"


def absolute(link: re.Match[str]) -> str:
    """A link or picture of the README, from anywhere."""
    is_picture, text, place = link.groups()
    return f"{is_picture}[{text}]({HOME}/{'raw' if is_picture else 'blob'}/main/{place})"


readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
setup(
    long_description=re.sub(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)", absolute, readme),
    long_description_content_type="text/markdown",
)
