"""The privacy statement, for programs and for people."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from gateway.documentation.privacy import as_html, statement
from gateway.services import services_of
from gateway.web.negotiation import preferred
from gateway.web.security import PAGE_HEADERS

OFFERS: Final = ("application/json", "text/html")


async def privacy(request: Request) -> Response:
    """JSON, or a page for a client that prefers one."""
    services = services_of(request)
    body = statement(services.settings, services.version)
    accept = ", ".join(request.headers.getlist("accept"))
    if preferred(accept, OFFERS) == "text/html":
        return HTMLResponse(as_html(body), headers={"Vary": "Accept", **PAGE_HEADERS})
    return JSONResponse(body.model_dump(), headers={"Vary": "Accept"})
