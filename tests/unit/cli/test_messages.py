"""The library's messages in the words of the command line: options for arguments, commands for methods."""

from __future__ import annotations

import doctest

import pytest

from la_agents.cli import messages
from la_agents.cli.messages import in_words_of_the_command_line


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "Expected url to be like http://host:8000, got 'x'.",
            "Expected --store to be like http://host:8000, got 'x'.",
        ),
        (
            "Expected path to name a folder, got blank text; name one, such as path='prefs'.",
            "Expected --store to name a folder, got blank text; name one, such as --store 'prefs'.",
        ),
        (
            'or let both use a server: `chroma run --path /x`, then PreferenceStore(url="http://localhost:8000").',
            "or let both use a server: `chroma run --path /x`, then --store http://localhost:8000.",
        ),
        ("let several use a server: PreferenceStore(url=...).", "let several use a server: --store URL."),
        ("got an unknown one; see list(user).", "got an unknown one; see `la-agents prefs list`."),
        ("got another; see proposals.list(user).", "got another; see `la-agents prefs pending`."),
        ("got 'a' twice; see conflicts(user).", "got 'a' twice; see `la-agents prefs conflicts`."),
        ("got 9; give limits= to allow more.", "got 9."),
        ("give limits= to allow more, or erase the user.", "erase the user."),
        ("purge with path= its folder.", "purge with --store and its folder."),
        ("Expected max_divergence to be at least 0.", "Expected --max-divergence to be at least 0."),
        ("Expected num_shards to be within [1, 4096].", "Expected --shards to be within [1, 4096]."),
        ("expires_at: Expected a date.", "--expires: Expected a date."),
        ("; temperature=0 is greedy decoding.", "; --temperature 0 is greedy decoding."),
    ],
)
def test_arguments_become_options_and_methods_commands(message: str, said: str) -> None:
    assert in_words_of_the_command_line(message) == said


@pytest.mark.parametrize(
    "message",
    [
        "Expected strengths above 0 to calibrate, got [0.0].",
        "Expected the store at /tmp/max_tokens_test/a=b to answer, got OSError: no.",
        "Expected one of always, relevant, got 'x=1'.",
        "Expected `chroma run --path x`, got none.",
    ],
)
def test_what_is_no_argument_stays(message: str) -> None:
    assert in_words_of_the_command_line(message) == message


def test_the_example_is_true() -> None:
    assert doctest.testmod(messages).failed == 0
