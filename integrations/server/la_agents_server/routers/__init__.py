"""The routes: each reads a request, asks one of the rooms below, and writes the answer."""

from __future__ import annotations

from la_agents_server.routers import chat, completions, embeddings, health, models, responses

__all__ = ["ROUTERS"]

ROUTERS = (
    chat.router,
    completions.router,
    responses.router,
    embeddings.router,
    models.router,
    health.router,
)
