"""What this service is and where its routes are."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.services import NAME, services_of


async def index(request: Request) -> JSONResponse:
    """Name, version and links; the links are the unversioned ones."""
    root = request.scope.get("app_root_path", request.scope.get("root_path", ""))
    routes = (route for route in request.app.routes if isinstance(route, Route) and route.endpoint is not index)
    links = {route.name: root + route.path for route in routes}
    return JSONResponse({"name": NAME, "version": services_of(request).version, "links": links})
