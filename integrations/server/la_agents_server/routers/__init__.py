"""The routes: each reads a request, asks one of the rooms below, and writes the answer."""

from __future__ import annotations

from la_agents_server.routers import admin, chat, completions, embeddings, models, preferences, responses

__all__ = ["ROUTERS"]

ROUTERS = (
    chat.router,
    completions.router,
    responses.router,
    embeddings.router,
    models.router,
    preferences.router,
    admin.router,
)
