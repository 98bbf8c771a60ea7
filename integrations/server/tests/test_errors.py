from __future__ import annotations

import json
import logging

import pytest

from la_agents import errors as library
from la_agents_server.errors import as_api_error, error_response

SECRET = "my secret"

STATUSES = {
    "ConfigurationError": 400,
    "DeadlineExceededError": 504,
    "EngineBusyError": 503,
    "EngineClosedError": 503,
    "GenerationError": 400,
    "IncompleteAnswerError": 400,
    "InvalidPreferenceError": 400,
    "LaAgentsError": 500,
    "ModelNotFoundError": 500,
    "PreferenceNotFoundError": 404,
    "PromptError": 400,
    "RequestTooLargeError": 400,
    "StoreMismatchError": 500,
    "StoreUnavailableError": 503,
    "UnsupportedModelError": 500,
    "UserNotSpecifiedError": 400,
}


@pytest.mark.parametrize("name", library.__all__)
def test_every_error_of_the_library_has_its_status(name: str) -> None:
    error = as_api_error(getattr(library, name)("Expected this, got that \ud800; do so."))
    assert error.status == STATUSES[name]
    assert ("Retry-After" in error.headers) == (error.status == 503)
    body = json.loads(error_response(error).body)["error"]
    assert set(body) == {"message", "type", "param", "code"}
    assert ("got that" in body["message"]) == (error.status != 500)


def test_what_nobody_foresaw_says_nothing_and_is_logged_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise RuntimeError(SECRET)
    except RuntimeError as failure:
        with caplog.at_level(logging.ERROR):
            error = as_api_error(failure)
    assert error.status == 500
    assert "secret" not in json.dumps(error.body)
    assert "RuntimeError at" in caplog.text
    assert "my secret" not in caplog.text
