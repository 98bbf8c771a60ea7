"""PreferenceMiddleware: an agent of `create_agent` that follows its user's preferences, and learns them if asked to.

Nothing about a run is kept on the middleware but which model it used: what was retrieved lies in the run's state, in a
channel that no checkpointer writes down, so that what a user erases is not left in a thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Optional, cast

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.runnables import RunnableConfig, run_in_executor
from langgraph.channels.untracked_value import UntrackedValue
from langgraph.runtime import Runtime
from typing_extensions import NotRequired

from la_agents.calls import Personalized, last_human_text
from la_agents.learning import BackgroundLearner, PreferenceLearner
from la_agents.preferences import DEFAULT_MIN_RELEVANCE, PreferenceStore
from la_agents.principles import as_principles
from la_agents.report import principle_values
from la_agents.system_prompt import principles_prompt
from la_agents.tools import preference_tools
from la_agents.users import find_user, resolve_user
from la_agents_langgraph.held_principles import HeldPrinciples
from la_agents_langgraph.own_model import OwnModelExtractor, writes_structure

__all__ = ["PreferenceMiddleware", "PreferenceState"]

_PAUSE = 10.0
"""Seconds whose turns are learned from together."""

Response = ModelResponse[Any]


class PreferenceState(AgentState[Any]):
    """An agent's state with the principles of the running turn; neither input nor output, nor checkpointed."""

    la_agents_principles: NotRequired[Annotated[HeldPrinciples, UntrackedValue, PrivateStateAttr]]


class PreferenceMiddleware(AgentMiddleware[PreferenceState, Any, Any]):
    """Looks up the user's preferences once per turn and passes them to each of its model calls.

    A `ChatLinearAlignment` is aligned with them, beside its own `principles`; one that has a preference store of its
    own looks them up itself and is left alone. Any other chat model finds them at the end of the system prompt; its
    answers name them by id in `response_metadata["alignment"]["principles"]`, so that a `FeedbackRecorder` can be told.

    The user is `user_id` of the run's context or `config["configurable"]["user_id"]`, else the constructor's `user_id`;
    UserNotSpecifiedError if there is none, or if context and config name two.

    Args:
        store: Where the preferences are.
        tools: Whether the agent gets the preference tools.
        require_approval: Whether what the model remembers with the tools waits for its user's approval.
        learner: Learns from the user's last message when the turn is over. A learner without an extractor asks the
            agent's own chat model in the background, if that supports structured output; otherwise, or if the model
            finds nothing, it uses the rules. The turns of ten seconds are read together. A `BackgroundLearner` always
            learns in the background; close it to wait until it is done.
        user_id: The user of runs that name none.
        allow_anonymous: Whether runs without a user are answered without preferences, instead of raising.
        k: Largest number of relevant preferences; those of scope "always" are not counted.
        min_relevance: Lowest relevance that they need; None for any.
        max_tokens: Largest number of tokens of all preferences together; None for no limit.
    """

    state_schema = PreferenceState

    def __init__(
        self,
        store: PreferenceStore,
        *,
        tools: bool = False,
        require_approval: bool = False,
        learner: PreferenceLearner | BackgroundLearner | None = None,
        user_id: object = None,
        allow_anonymous: bool = False,
        k: int = 5,
        min_relevance: float | None = DEFAULT_MIN_RELEVANCE,
        max_tokens: int | None = None,
    ) -> None:
        super().__init__()
        self.tools = preference_tools(store, user_id=user_id, require_approval=require_approval) if tools else []
        self._store = store
        self._learner = learner
        self._background = (
            BackgroundLearner(learner, pause=_PAUSE) if isinstance(learner, PreferenceLearner) else learner
        )
        self._model: BaseChatModel | None = None
        self._user_id = user_id
        self._allow_anonymous = allow_anonymous
        self._limits: dict[str, Any] = {"k": k, "min_relevance": min_relevance, "max_tokens": max_tokens}

    # `config` is LangGraph's to inject, which it does by this very spelling of the annotation.
    def before_agent(
        self,
        state: PreferenceState,
        runtime: Runtime[Any],
        config: Optional[RunnableConfig] = None,  # noqa: UP045
    ) -> dict[str, Any] | None:
        """Look up what the turn's question calls for."""
        return {"la_agents_principles": self._principles(state["messages"], self._user(config))}

    async def abefore_agent(
        self,
        state: PreferenceState,
        runtime: Runtime[Any],
        config: Optional[RunnableConfig] = None,  # noqa: UP045
    ) -> dict[str, Any] | None:
        """Look up what the turn's question calls for."""
        user = self._user(config)
        return {"la_agents_principles": await run_in_executor(None, self._principles, state["messages"], user)}

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Response]) -> Response:
        """Give the principles to the model, each in its way."""
        self._model = request.model
        principles = self._of_turn(request)
        return _reported(handler(_with(request, principles)), request, principles)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Response]]
    ) -> Response:
        """Give the principles to the model, each in its way."""
        self._model = request.model
        principles = await run_in_executor(None, self._of_turn, request)
        return _reported(await handler(_with(request, principles)), request, principles)

    def after_agent(
        self,
        state: PreferenceState,
        runtime: Runtime[Any],
        config: Optional[RunnableConfig] = None,  # noqa: UP045
    ) -> dict[str, Any] | None:
        """Learn from what the user said last."""
        self._learn(state["messages"], self._user(config))
        return None

    async def aafter_agent(
        self,
        state: PreferenceState,
        runtime: Runtime[Any],
        config: Optional[RunnableConfig] = None,  # noqa: UP045
    ) -> dict[str, Any] | None:
        """Learn from what the user said last."""
        await run_in_executor(None, self._learn, state["messages"], self._user(config))
        return None

    def close(self) -> None:
        """Learn what still waits to be learned, and take no more."""
        if self._background is not None:
            self._background.close()

    def _user(self, config: RunnableConfig | None) -> str | None:
        found = find_user(None, config, self._user_id)
        return found if self._allow_anonymous else resolve_user(found)

    def _of_turn(self, request: ModelRequest[Any]) -> HeldPrinciples:
        """What the turn began with; a run that was interrupted and resumed has lost it and looks again."""
        kept = cast("HeldPrinciples | None", request.state.get("la_agents_principles"))
        return self._principles(request.messages, self._user(None)) if kept is None else kept

    def _principles(self, messages: Sequence[BaseMessage], user: str | None) -> HeldPrinciples:
        if user is None:
            return HeldPrinciples()
        found = self._store.retrieve(user, last_human_text(messages), **self._limits)
        return HeldPrinciples(scored.principle for scored in found)

    def _learn(self, messages: Sequence[BaseMessage], user: str | None) -> None:
        if self._learner is None or self._background is None or user is None:
            return
        latest, extractor = _latest_turn(messages), None
        if self._background.learner.extractor is None and self._model is not None and writes_structure(self._model):
            extractor = OwnModelExtractor(self._model)
        if isinstance(self._learner, PreferenceLearner) and extractor is None:
            self._learner.learn(latest, user_id=user)
        else:
            self._background.submit(latest, user_id=user, extractor=extractor)


def _with(request: ModelRequest[Any], principles: HeldPrinciples) -> ModelRequest[Any]:
    if not principles:
        return request
    if not isinstance(request.model, Personalized):
        return request.override(system_message=_told(request.system_message, principles))
    if request.model.preferences is not None:
        return request
    given = request.model_settings.get("principles")
    own = as_principles(request.model.principles if given is None else given)
    both = HeldPrinciples((*own, *principles))
    return request.override(model_settings={**request.model_settings, "principles": both})


def _told(system: SystemMessage | None, principles: HeldPrinciples) -> SystemMessage:
    """The system message with a line for each principle."""
    text = principles_prompt(principles)
    if system is None:
        return SystemMessage(text)
    if isinstance(system.content, str):
        return system.model_copy(update={"content": f"{system.content}\n\n{text}" if system.content else text})
    return system.model_copy(update={"content": [*system.content, {"type": "text", "text": text}]})


def _reported(response: Response, request: ModelRequest[Any], principles: HeldPrinciples) -> Response:
    """The answer with its principles named, where the model has not done so itself."""
    if not principles or isinstance(request.model, Personalized):
        return response
    report = {"principles": [principle_values(principle, with_text=False) for principle in principles]}
    result = [_reporting(m, report) if isinstance(m, AIMessage) else m for m in response.result]
    return ModelResponse(result=result, structured_response=response.structured_response)


def _reporting(message: AIMessage, report: dict[str, Any]) -> AIMessage:
    return message.model_copy(update={"response_metadata": {**message.response_metadata, "alignment": report}})


def _latest_turn(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """From the message before the user's last one, which that may answer; agents that speak as humans have a name."""
    human = [index for index, message in enumerate(messages) if message.type == "human"]
    own = [index for index in human if messages[index].name is None] or human or [len(messages)]
    return messages[max(0, own[-1] - 1) :]
