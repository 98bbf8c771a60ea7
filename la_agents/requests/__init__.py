"""Requests: what any engine is asked, what it answers, and the protocol of an engine; without torch."""

from la_agents.requests.alignment import Alignment
from la_agents.requests.engine import Engine
from la_agents.requests.generation import Generation
from la_agents.requests.grammar import Grammar
from la_agents.requests.records import Candidate, Chunk, Completion, TokenRecord
from la_agents.requests.request import Request, common_prefix
from la_agents.requests.sampling import Sampling

__all__ = [
    "Alignment",
    "Candidate",
    "Chunk",
    "Completion",
    "Engine",
    "Generation",
    "Grammar",
    "Request",
    "Sampling",
    "TokenRecord",
    "common_prefix",
]
