"""From the settings of a command to an answer: build the chat model, ask it, print what came back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from la_agents.cli.options import Decoding, Settings
from la_agents.cli.terminal import WordWrap, answer, console, conversion_bar, note, print_json, spinner

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import RunnableConfig

    from la_agents import PreferenceStore
    from la_agents.chat_models import ChatLinearAlignment
    from la_agents.models import LoadedModel

__all__ = ["as_object", "as_user", "ask", "chat_model", "effect", "load", "stream", "summary", "with_texts"]

_PRINCIPLE_KEYS = ("id", "text", "weight", "relevance", "layer")


def load(settings: Settings, decoding: Decoding | None = None) -> LoadedModel:
    """Load the model, with a progress bar if it has to be converted first; before that, refuse what is out of range."""
    with conversion_bar() as progress:
        from la_agents.chat_models import ChatLinearAlignment
        from la_agents.models import DEFAULT_MODEL, load_model

        model = settings.model or DEFAULT_MODEL
        if decoding:
            ChatLinearAlignment(model=model, **decoding.given())
        return load_model(model, progress=progress)


def chat_model(loaded: LoadedModel, store: PreferenceStore | None, decoding: Decoding) -> ChatLinearAlignment:
    """The chat model over a loaded model and a store."""
    from la_agents.chat_models import ChatLinearAlignment

    return ChatLinearAlignment(model=loaded, preferences=store, **decoding.given())


def as_user(user: str) -> RunnableConfig:
    """The LangChain config of a call on behalf of `user`."""
    return {"configurable": {"user_id": user}}


def ask(settings: Settings, decoding: Decoding, question: str, user: str, *, as_json: bool) -> None:
    """Answer a question: streamed, with the report as a note; or as one JSON object."""
    with settings.open_store(reading=True) as store:
        llm = chat_model(load(settings, decoding), store, decoding)
        settings.note_missing()
        if as_json:
            with spinner("Answering"):
                message = with_texts(llm.invoke(question, config=as_user(user)), llm, question, user)
            print_json(as_object(message, user))
        else:
            note(summary(stream(llm, question, user).response_metadata["alignment"]))


def stream(llm: ChatLinearAlignment, prompt: LanguageModelInput, user: str) -> AIMessage:
    """Print the answer as it is written, and return it whole; on a terminal its words are wrapped."""
    whole: Any = None
    wrap = WordWrap(console().width) if sys.stdout.isatty() else None
    with spinner("Answering") as stop:
        for chunk in llm.stream(prompt, config=as_user(user)):
            if chunk.text:
                stop()
            answer(wrap.push(chunk.text) if wrap else chunk.text, end="")
            whole = chunk if whole is None else whole + chunk
    answer(wrap.end() if wrap else "")
    return with_texts(whole, llm, prompt, user)


def with_texts(message: AIMessage, llm: ChatLinearAlignment, prompt: LanguageModelInput, user: str) -> AIMessage:
    """The answer with its principles' texts in the report, looked up again: answers name them by id alone."""
    from la_agents.calls.builder import CallBuilder, last_human_text

    messages = llm._convert_input(prompt).to_messages()
    builder = CallBuilder.of(llm, {"user_id": user}, query=last_human_text(messages))
    texts = {principle.id: principle.text for principle in builder.principles}
    report = message.response_metadata["alignment"]
    principles = [{**each, "text": texts.get(each["id"], each["id"])} for each in report["principles"]]
    metadata = {**message.response_metadata, "alignment": {**report, "principles": principles}}
    return message.model_copy(update={"response_metadata": metadata})


def as_object(message: AIMessage, user: str) -> dict[str, Any]:
    """An answer as the object that `--json` prints."""
    report = dict(message.response_metadata["alignment"])
    principles = [{key: p[key] for key in _PRINCIPLE_KEYS} for p in report.pop("principles")]
    report["finish_reason"] = message.response_metadata["finish_reason"]
    return {
        "answer": message.text,
        "user": user,
        "principles": principles,
        "alignment": report,
        "usage": dict(message.usage_metadata or {}),
    }


def summary(report: Mapping[str, Any]) -> str:
    """The alignment report in one line: principles, strength, divergence, tokens changed."""
    if not report["principles"]:
        return "No preference applied: this is the unaligned answer."
    texts = "; ".join(principle["text"] for principle in report["principles"])
    return f"Aligned with: {texts}\n{effect(report)}"


def effect(report: Mapping[str, Any]) -> str:
    """How far alignment went: strength, divergence, tokens changed."""
    changed = f"{report['changed_tokens']} of {report['num_tokens']} tokens changed"
    divergence = f"divergence {report['mean_divergence']:.2f} mean, {report['max_divergence']:.2f} max nats"
    return f"strength {report['strength']:g}, {changed}, {divergence}"
