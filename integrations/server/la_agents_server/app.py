"""The application: services, routes, errors and the guard, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from la_agents import ChatLinearAlignment, LinearAlignmentLLM, PreferenceStore
from la_agents_server import page
from la_agents_server.database import Database
from la_agents_server.errors import ErrorBody, add_error_handlers
from la_agents_server.guard import Guard
from la_agents_server.page.rendering import STATIC, problem_page
from la_agents_server.routers import ROUTERS, health
from la_agents_server.services import Services
from la_agents_server.settings import Settings

__all__ = ["create_app"]

_THREADS = 64
"""Store operations and prompts of calls run in threads; they wait more than they compute."""


def create_app(
    store: PreferenceStore,
    settings: Settings,
    *,
    model: Mapping[str, Any] | None = None,
) -> FastAPI:
    """Return the ASGI application.

    Args:
        store: The users' preferences, and its shared layers; closed by whoever opened it.
        settings: Of the server.
        model: Arguments of `ChatLinearAlignment`, such as `model`, `engine` and `strength`; its `preferences` are the
            store.

    Raises:
        ConfigurationError: an argument is out of range.
    """
    arguments = dict(model or {})
    services = Services(
        settings=settings,
        store=store,
        chat=ChatLinearAlignment(preferences=store, **arguments),
        plain_chat=ChatLinearAlignment(**arguments),
        completion=LinearAlignmentLLM(preferences=store, **arguments),
        plain_completion=LinearAlignmentLLM(**arguments),
        database=Database(settings.database),
        version=version("la-agents-server"),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "la-agents-server"))
        await run_in_threadpool(store.check_layers)
        await run_in_threadpool(services.chat.load)
        services.ready = True
        yield
        services.ready = False
        await services.learner.aclose()
        services.database.close()

    app = FastAPI(
        title="la_agents server",
        version=services.version,
        description="An OpenAI-compatible server that knows its users, and their preferences over HTTP.",
        lifespan=lifespan,
        docs_url=None,  # it would load scripts from elsewhere
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}},
    )
    app.state.services = services
    add_error_handlers(app, problem_page)
    described = [Depends(HTTPBearer(auto_error=False))]  # the guard decides
    for router in ROUTERS:
        app.include_router(router, dependencies=described)
    for router in (health.router, *page.ROUTERS):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_middleware(Guard, services=services, problem_page=problem_page)
    return app
