"""LangChain's own tests for tools, on each of the preference tools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from la_agents import tools
from la_agents.preferences.store import PreferenceStore


class _Tool:
    """One tool, with a store in which what the example names, exists."""

    constructor: type[BaseTool]
    example: dict[str, Any]

    @pytest.fixture(autouse=True)
    def filled_store(self, tmp_path: Path) -> Iterator[None]:
        with PreferenceStore(tmp_path) as self.store:
            self.store.add("alice", "I love hiking.")
            yield

    @property
    def tool_constructor(self) -> type[BaseTool]:
        return self.constructor

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"store": self.store, "user_id": "alice"}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return self.example


class _Remember(_Tool):
    constructor = tools.RememberPreference
    example: dict[str, Any] = {"text": "No nuts.", "scope": "always"}  # noqa: RUF012


class TestRememberUnit(_Remember, ToolsUnitTests):
    pass


class TestRemember(_Remember, ToolsIntegrationTests):
    pass


class _Recall(_Tool):
    constructor = tools.RecallPreferences
    example: dict[str, Any] = {"query": "Where shall I go?"}  # noqa: RUF012


class TestRecallUnit(_Recall, ToolsUnitTests):
    pass


class TestRecall(_Recall, ToolsIntegrationTests):
    pass


class _Update(_Tool):
    constructor = tools.UpdatePreference
    example: dict[str, Any] = {"preference": "I love hiking.", "scope": "always"}  # noqa: RUF012


class TestUpdateUnit(_Update, ToolsUnitTests):
    pass


class TestUpdate(_Update, ToolsIntegrationTests):
    pass


class _Forget(_Tool):
    constructor = tools.ForgetPreference
    example: dict[str, Any] = {"preference": "I love hiking."}  # noqa: RUF012


class TestForgetUnit(_Forget, ToolsUnitTests):
    pass


class TestForget(_Forget, ToolsIntegrationTests):
    pass


class _Pending(_Tool):
    constructor = tools.PendingPreferences
    example: dict[str, Any] = {}  # noqa: RUF012


class TestPendingUnit(_Pending, ToolsUnitTests):
    pass


class TestPending(_Pending, ToolsIntegrationTests):
    pass


class _Review(_Tool):
    constructor = tools.ReviewPreference
    example: dict[str, Any] = {"preference": "unknown", "decision": "reject"}  # noqa: RUF012


class TestReviewUnit(_Review, ToolsUnitTests):
    pass


class TestReview(_Review, ToolsIntegrationTests):
    pass
