"""The page: for the person whose memory it is. HTML forms that work without JavaScript; the chat needs it."""

from __future__ import annotations

from la_agents_server.page import admin, data, memory, sign_in

__all__ = ["ROUTERS"]

ROUTERS = (sign_in.router, memory.router, data.router, admin.router)
