from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from running import served
from starlette.requests import Request
from starlette.responses import Response

from la_agents import errors as library
from la_agents_server.errors import ApiError, as_api_error, error_response
from tests.tiny import tiny_model

SECRET = "my secret"


def no_page(request: Request, error: ApiError) -> Response:
    raise AssertionError


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
    request = Request({"type": "http", "method": "GET", "path": "/x", "query_string": b"", "headers": []})
    body = json.loads(error_response(request, error, no_page).body)["error"]
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


def test_no_trace_of_a_request_goes_to_opentelemetry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spans: list[str] = []

    class Exporter(SpanExporter):
        def export(self, batch: Sequence[ReadableSpan]) -> SpanExportResult:
            spans.extend(span.name for span in batch)
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Exporter()))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    trace.get_tracer("test").start_span("the exporter works").end()
    with served(tmp_path, {"model": tiny_model("llama")}) as server, server.http(server.key("a")) as http:
        assert http.get("/v1/models").status_code == 200
    assert spans == ["the exporter works"]
