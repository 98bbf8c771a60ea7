"""Rendering: templates, the reader's language, and dates and numbers in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from babel.core import negotiate_locale
from babel.dates import format_date, format_timedelta
from babel.messages.pofile import read_po
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from la_agents_server.errors import ApiError
from la_agents_server.services import services_of

__all__ = ["STATIC", "problem_page", "render", "translation"]

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_LANGUAGES = ("en", "de")
_LANGUAGE_COOKIE = "la_agents_language"


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def translation(language: str) -> Mapping[str, str]:
    """The page's texts in this language, by the English ones."""
    if language == "en":
        return {}
    with (_HERE / "locale" / f"{language}.po").open("rb") as file:
        catalog = read_po(file, locale=language)
    return {str(message.id): str(message.string) for message in catalog if message.id and message.string}


def render(request: Request, name: str, status: int = 200, **values: Any) -> Response:
    """The page of this template, in the language that its reader chose or whose browser asks for."""
    chosen = request.query_params.get("lang") or request.cookies.get(_LANGUAGE_COOKIE)
    language = chosen if chosen in _LANGUAGES else _asked_for(request.headers.get("accept-language", ""))
    texts, now = translation(language), datetime.now(UTC)
    principal = getattr(request.state, "principal", None)

    def translate(text: str, **fills: Any) -> str:
        return texts.get(text, text).format(**fills) if fills else texts.get(text, text)

    def ago(time: datetime | str) -> str:
        at = datetime.fromisoformat(time) if isinstance(time, str) else time
        since = now - at
        recent = since.total_seconds() < 60
        return translate("just now") if recent else format_timedelta(-since, add_direction=True, locale=language)

    def problem(text: str) -> Markup:
        """What the library says of a mistake, which is in English, after words of the reader's own language."""
        if text in texts or language == "en":
            return escape(texts.get(text, text))
        return Markup('{} <span lang="en">{}</span>').format(translate("That did not work."), text)

    def day(time: datetime | date) -> str:
        return format_date(time, format="long", locale=language)

    page = (
        _environment()
        .get_template(name)
        .render(
            _=translate,
            ago=ago,
            day=day,
            problem=problem,
            language=language,
            other_language="de" if language == "en" else "en",
            path=request.url.path,
            principal=principal,
            version=services_of(request).version,
            **values,
        )
    )
    response = HTMLResponse(page, status)
    if request.query_params.get("lang") == language:
        response.set_cookie(_LANGUAGE_COOKIE, language, max_age=365 * 86_400, httponly=True, samesite="strict")
    return response


_PROBLEMS = {
    403: "This is not yours to do.",
    404: "There is no such page.",
    413: "That is too large for this server.",
    429: "That was a lot at once. Wait a moment, then try again.",
    503: "The server is busy. Try again in a moment.",
}


def problem_page(request: Request, error: ApiError) -> Response:
    """What a person is shown instead of an error's JSON."""
    text = _PROBLEMS.get(error.status, "That did not work.")
    response = render(request, "problem.html", error.status, text=text)
    response.headers.update(error.headers)
    return response


def _asked_for(header: str) -> str:
    """The language that a browser would like best."""
    wanted = [part.partition(";")[0].strip().replace("-", "_") for part in header.split(",")]
    return negotiate_locale([each for each in wanted if each], _LANGUAGES) or "en"
