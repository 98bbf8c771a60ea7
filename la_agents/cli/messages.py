"""The library's error messages, which speak to programmers, in the words of the command line."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["in_words_of_the_command_line"]

_OPTIONS = {
    **{name: f"--{name}" for name in ("method", "model", "seed", "strength", "support", "temperature")},
    **{name: f"--{name.replace('_', '-')}" for name in ("max_divergence", "max_tokens", "min_relevance")},
    "path": "--store",
    "url": "--store",
    "num_shards": "--shards",
    "user_id": "--user",
    "expires_at": "--expires",
    "source_format": "--from",
    "layers": "--layer",
}
"""Option by the argument's name in Python."""
_OUTSIDE = r"(?<![\w`.(/'\"-])"
"""Not in a path, a command line, or something quoted."""
_PHRASES: dict[str, str | Callable[[re.Match[str]], str]] = {
    r"Expected (?:url|path) to": "Expected --store to",
    r"PreferenceStore\(url=(?:\.\.\.|[\"'](.+?)[\"'])\)": lambda found: f"--store {found[1] or 'URL'}",
    r"(?:proposals\.list|conflicts|list)\(user\)": lambda found: {
        "proposals.list(user)": "`la-agents prefs pending`",
        "conflicts(user)": "`la-agents prefs conflicts`",
    }.get(found[0], "`la-agents prefs list`"),
    r"shared\(name\)\.add\(text\), or ": "",
    r"see shared\(name\)": "see `la-agents layers`",
    r"with path= its folder": "with --store and its folder",
    r"pass the user's question as a HumanMessage": "ask a question",
    r"; for a path, [^;]*chromadb\.HttpClient[^;]*\.$": ".",
    r"(?:give|or give) (?:limits|client|embeddings|embeddings_name)=[^;.,]*, or ": "",
    r"(?:;|, or) give (?:limits|client|embeddings|embeddings_name)=[^;.]*\.": ".",
    rf"{_OUTSIDE}({'|'.join(_OPTIONS)})=(?=[\w\"'\[.]| )": lambda found: f"{_OPTIONS[found[1]]} ",
    rf"{_OUTSIDE}({'|'.join(name for name in _OPTIONS if '_' in name)})\b": lambda found: _OPTIONS[found[1]],
}


def in_words_of_the_command_line(message: str) -> str:
    """The message with options and commands in the place of arguments and methods.

    >>> in_words_of_the_command_line("Expected max_tokens to be at least 1, got 0; see list(user).")
    'Expected --max-tokens to be at least 1, got 0; see `la-agents prefs list`.'
    """
    for python, said in _PHRASES.items():
        message = re.sub(python, said, message)
    return message
