"""The page's last part: take one's data along, bring it, erase it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, UploadFile
from starlette.responses import Response

from la_agents.errors import LaAgentsError
from la_agents_server import memory
from la_agents_server.page.rendering import render
from la_agents_server.services import services_of, user_for

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.get("/data")
async def show(request: Request) -> Response:
    """What is stored where."""
    return await _page(request)


@router.post("/data/import")
async def bring(request: Request, file: Annotated[UploadFile, File()]) -> Response:
    """Import a file."""
    try:
        number = await memory.import_lines(services_of(request), user_for(request), await file.read())
    except LaAgentsError as error:
        return await _page(request, error=str(error))
    return await _page(request, imported=number)


@router.post("/data/erase")
async def erase(request: Request, sure: Annotated[str, Form()] = "") -> Response:
    """Erase everything; the one thing that cannot be undone, and so has to be meant."""
    if sure != "yes":
        return await _page(request, error="Tick the box first: this cannot be undone.")
    return await _page(request, erased=await memory.erase(services_of(request), user_for(request)))


async def _page(
    request: Request, *, error: str = "", imported: int | None = None, erased: int | None = None
) -> Response:
    services, user = services_of(request), user_for(request)
    number = len(await memory.listed(services, user, "all"))
    return render(
        request,
        "data.html",
        400 if error else 200,
        number=number,
        error=error,
        imported=imported,
        erased=erased,
    )
