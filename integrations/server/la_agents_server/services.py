"""Services: what the routes of one application share."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from starlette.requests import Request

from la_agents import ChatLinearAlignment, LinearAlignmentLLM, PreferenceStore
from la_agents.learning import BackgroundLearner, FeedbackRecorder, PreferenceLearner
from la_agents_server.answer_log import AnswerLog
from la_agents_server.database import Database
from la_agents_server.errors import ApiError
from la_agents_server.keys import Keys
from la_agents_server.metrics import Metrics
from la_agents_server.oidc import Oidc
from la_agents_server.principal import Principal, user_of
from la_agents_server.rates import Rates
from la_agents_server.settings import Settings
from la_agents_server.sign_ins import SignIns
from la_agents_server.user_tokens import UserTokens

__all__ = ["Services", "principal_of", "require_admin", "services_of", "url_of", "user_for"]


@dataclass
class Services:
    """Made once by `create_app`.

    Attributes:
        settings: Of the server.
        store: The users' preferences.
        chat: Answers with the preferences of the call's user.
        plain_chat: The same model, which looks nothing up.
        completion: As `chat`, for plain text.
        plain_completion: As `plain_chat`, for plain text.
        database: Keys, sessions and uses.
        learning: The last conversation of each user that waits to be learned from.
        stopping: Whether no more requests are taken.
    """

    settings: Settings
    store: PreferenceStore
    chat: ChatLinearAlignment
    plain_chat: ChatLinearAlignment
    completion: LinearAlignmentLLM
    plain_completion: LinearAlignmentLLM
    database: Database
    version: str = ""
    learning: WeakValueDictionary[str, Future[Any]] = field(default_factory=WeakValueDictionary)
    stopping: bool = False
    ready: bool = False
    keys: Keys = field(init=False)
    sign_ins: SignIns = field(init=False)
    tokens: UserTokens = field(init=False)
    rates: Rates = field(init=False)
    metrics: Metrics = field(init=False)
    answers: AnswerLog = field(init=False)
    feedback: FeedbackRecorder = field(init=False)
    learner: BackgroundLearner = field(init=False)
    oidc: Oidc | None = field(init=False)

    def __post_init__(self) -> None:
        self.keys = Keys(self.database)
        self.sign_ins = SignIns(self.database, self.settings.session_days)
        self.tokens = UserTokens(self.settings)
        self.rates = Rates(self.settings)
        self.metrics = Metrics(self._engine_stats)
        self.answers = AnswerLog(self.database)
        self.feedback = FeedbackRecorder(self.store)
        self.oidc = None if self.settings.oidc_issuer is None else Oidc(self.settings)
        self.learner = BackgroundLearner(PreferenceLearner(self.store, require_approval=True))

    @property
    def model_name(self) -> str:
        """How clients call the model."""
        return self.settings.model_name or self.chat.model_name

    def check_model(self, name: str) -> None:
        """Raise ApiError, 404, unless this is the model that is served."""
        if name != self.model_name:
            msg = f"Expected the model {self.model_name!r}, got another; see /v1/models."
            raise ApiError(404, msg, code="model_not_found", param="model")

    def _engine_stats(self) -> Mapping[str, Any] | None:
        stats = getattr(self.chat.engine, "stats", None) if self.ready else None  # an engine may keep none
        return None if stats is None else stats().as_dict()


def services_of(request: Request) -> Services:
    """The services of the application that a request came to."""
    services: Services = request.app.state.services
    return services


def principal_of(request: Request) -> Principal:
    """Who asks; the guard has made sure that there is somebody."""
    principal: Principal = request.state.principal
    return principal


def user_for(request: Request, **fields: str | None) -> str:
    """The user whom a request speaks for; `fields` are those of its body that name one."""
    return user_of(principal_of(request), request.headers, services_of(request).tokens, fields)


def url_of(request: Request, path: str) -> str:
    """Where a browser finds a path of this server."""
    base = services_of(request).settings.public_url or str(request.base_url)
    return f"{base.rstrip('/')}{path}"


def require_admin(request: Request) -> None:
    """Raise ApiError, 403, unless an admin asks."""
    if principal_of(request).kind != "admin":
        raise ApiError(403, "Expected an admin's key, got another.", code="not_admin")
