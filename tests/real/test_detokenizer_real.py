"""The bundled tokenizer, streamed: any text survives, no half character is shown."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from la_agents.models import LoadedModel
from tests.streamed_text import REPLACEMENT, TEXTS, decode, encode, stream

examples = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_join_to_the_text(bundled_model: LoadedModel, text: str) -> None:
    pieces = stream(bundled_model.tokenizer, encode(bundled_model.tokenizer, text))
    assert "".join(pieces) == decode(bundled_model.tokenizer, encode(bundled_model.tokenizer, text)) == text
    assert not any(REPLACEMENT in piece for piece in pieces)


@examples
@given(text=st.text(max_size=60))
def test_any_text_survives(bundled_model: LoadedModel, text: str) -> None:
    """As far as the tokenizer goes, that is: it has no token for a few bytes."""
    tokenizer = bundled_model.tokenizer
    ids = encode(tokenizer, text)
    assert "".join(stream(tokenizer, ids)) == decode(tokenizer, ids).rstrip(REPLACEMENT)


@examples
@given(ids=st.lists(st.integers(0, 49_151), max_size=40))
def test_any_ids_join_to_what_they_decode_to(bundled_model: LoadedModel, ids: list[int]) -> None:
    tokenizer = bundled_model.tokenizer
    assert "".join(stream(tokenizer, ids)) == decode(tokenizer, ids).rstrip(REPLACEMENT)
