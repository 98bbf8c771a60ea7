"""The bundled model as an extractor: too small to be of use, but its form parses and nothing unsaid comes out."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage

from la_agents import ChatLinearAlignment
from la_agents.learning import ChatModelExtractor
from la_agents.learning.proposal import is_said
from la_agents.models import LoadedModel


@pytest.mark.parametrize(
    "said",
    ["I'm dyslexic. Could you summarise this contract for me?", 'Say "}]}". Ich mag Tee 😀.', "My wife loves jazz."],
)
def test_what_it_proposes_was_said(bundled_model: LoadedModel, said: str) -> None:
    extractor = ChatModelExtractor(ChatLinearAlignment(model=bundled_model, max_tokens=96))
    messages = [HumanMessage(said)]
    for proposal in extractor.extract(messages):
        assert is_said(proposal.evidence, messages)
        assert proposal.draft().source == "inferred"
