"""langchain-tests' chat model suites against the real bundled model."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from la_agents import ChatLinearAlignment
from la_agents.models import LoadedModel

# No `max_retries`: nothing here is retried, and what is not honoured is refused.
STANDARD_PARAMS = {"temperature": 0, "max_tokens": 80, "timeout": 240, "stop": []}


class TestUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatLinearAlignment

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return STANDARD_PARAMS


class TestIntegration(ChatModelIntegrationTests):
    """With a static principle, so that every standard behaviour is seen aligned."""

    @pytest.fixture(autouse=True)
    def _shared_model(self, bundled_model: LoadedModel) -> None:
        self.bundled = bundled_model

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatLinearAlignment

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": self.bundled, "principles": ["Be brief."]}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return STANDARD_PARAMS
