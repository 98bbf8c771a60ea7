"""`la-agents demo`: two users who want opposite things, one question, three answers each, side by side."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from la_agents.cli import answering, comparison
from la_agents.cli.options import Decoding, ModelSettings, Settings, StrengthOption, command
from la_agents.cli.terminal import answer, spinner

if TYPE_CHECKING:
    from la_agents.models import LoadedModel

__all__ = ["demo"]

QUESTION = "How do vaccines work?"
PREFERENCES = {
    "alice": "One sentence is enough for me.",
    "bob": "Explain it step by step.",
}

_CLOSING = """\
unaligned: without the preference. prompted: the preference is in the prompt. aligned: it is in the prompt, and
strengthened token by token.

Try it yourself:
  {program} prefs add "One sentence is enough for me." --user alice --scope always
  {program} ask "How do vaccines work?" --user alice --compare
  {program} explain "How do vaccines work?" --user alice --out page.html"""


TokensOption = Annotated[int, typer.Option("--max-tokens", help="Longest answer, in tokens.")]


@command
def demo(settings: ModelSettings, strength: StrengthOption = None, max_tokens: TokensOption = 56) -> None:
    """Ask one question for two users with opposite preferences."""
    decoding = Decoding(strength=strength, max_tokens=max_tokens)
    loaded = answering.load(settings, decoding)
    answer(f"{_introduce(loaded)}\n\nEverybody asks: {QUESTION}\n")
    with spinner("Answering two users in three ways each"):
        compared = _compare(loaded, decoding)
    for one in compared:
        comparison.show(one)
    answer(_CLOSING.format(program=_program()))


def _program() -> str:
    """How to run this command again; in a checkout it is in an environment that need not be activated."""
    if shutil.which("la-agents"):
        return "la-agents"
    return "python -m la_agents.cli" if sys.argv[0].endswith("__main__.py") else sys.argv[0]


def _introduce(loaded: LoadedModel) -> str:
    size = re.search(r"\d+(\.\d+)?[mb](?![a-z])", loaded.name, re.IGNORECASE)
    kind = f"a {size[0].upper()} model" if size else "a model"
    return f"This is {loaded.name}, {kind}: judge its style rather than its facts. Use another with --model."


def _compare(loaded: LoadedModel, decoding: Decoding) -> list[comparison.Comparison]:
    """All six answers in one batch of the engine, from a store that is gone afterwards."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Settings(folder).open_store() as store,
        ThreadPoolExecutor() as pool,
    ):
        for user, text in PREFERENCES.items():
            store.add(user, text, scope="always")
        return list(pool.map(partial(comparison.compare, loaded, store, decoding, QUESTION), PREFERENCES))
