"""The README as PyPI shows it, outside the repository. All else is in pyproject.toml.

Its relative links become absolute, if pyproject.toml has the repository's address; without one they become plain text.
"""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
REPOSITORY = re.search(r'^Repository = "(.*)"$', (HERE / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)


def shown(link: re.Match[str]) -> str:
    """A link or picture of the README, as it is shown elsewhere."""
    is_picture, text, place = link.groups()
    if REPOSITORY is None:
        return "" if is_picture else text
    return f"{is_picture}[{text}]({REPOSITORY[1]}/{'raw' if is_picture else 'blob'}/main/{place})"


readme = (HERE / "README.md").read_text(encoding="utf-8")
setup(
    long_description=re.sub(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)", shown, readme),
    long_description_content_type="text/markdown",
)
