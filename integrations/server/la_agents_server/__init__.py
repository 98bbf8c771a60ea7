"""la_agents over HTTP: OpenAI's wire with users, an API for their preferences, and a page for them.

Importing this package does nothing but make its names known.
"""

from __future__ import annotations

from la_agents_server.app import create_app
from la_agents_server.settings import Settings

__all__ = ["Settings", "create_app"]

__version__ = "0.1.0"
