"""An agent for LangGraph Studio: `langgraph dev` in this folder serves it, with its users' preferences in `memory`.

Needs la-agents-langgraph and langgraph-cli[inmem]. `MODEL=openai:gpt-5`, say, puts a hosted model in the place of the
aligned one that runs here.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model

from la_agents import ChatLinearAlignment, PreferenceStore
from la_agents.learning import PreferenceLearner, RuleExtractor
from la_agents_langgraph import PreferenceMiddleware


@dataclass
class Context:
    """What a run is told beside its messages; Studio shows a field for it."""

    user_id: str


store = PreferenceStore(path=os.environ.get("LA_AGENTS_STORE") or Path(__file__).parent / "memory")
model = init_chat_model(os.environ["MODEL"]) if "MODEL" in os.environ else ChatLinearAlignment(max_tokens=64)
agent = create_agent(
    model,
    middleware=[PreferenceMiddleware(store, learner=PreferenceLearner(store, RuleExtractor(), require_approval=False))],
    context_schema=Context,
)
