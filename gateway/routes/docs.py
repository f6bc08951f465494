"""The API's description and Swagger UI on top of it, all from files that are installed here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from gateway.openapi import SERVERS, build_document
from gateway.security import SWAGGER_HEADERS
from gateway.services import read_version
from gateway.settings import Settings

STATIC: Final = Path(__file__).parents[1] / "static"
SWAGGER_UI: Final = "mkdocs_swagger_ui_tag"


def docs_routes(settings: Settings, described: Sequence[BaseRoute]) -> list[BaseRoute]:
    """The routes that describe others; they are not in the description themselves."""
    pages = _Pages(build_document(described, settings, read_version()), (STATIC / "docs.html").read_text())
    folders = [(SWAGGER_UI, f"swagger-ui/{kind}") for kind in ("javascripts", "stylesheets")]
    files = _WholeFiles(directory=STATIC, packages=[*folders])
    # A route around the files, so that a wrong method gets the same answer as anywhere else.
    assets = Route("/{path:path}", files, methods=["GET"])
    return [
        Route("/openapi.json", pages.openapi, include_in_schema=False),
        Route("/docs", pages.docs, include_in_schema=False),
        Mount("/docs", Router([assets], redirect_slashes=False)),
    ]


class _WholeFiles(StaticFiles):
    """Swagger UI's files, without ranges, which are optional: Starlette's refusal of a bad one is no JSON."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(SWAGGER_HEADERS)
        return response


class _Pages:
    """The document and its page, both made once at start-up."""

    def __init__(self, document: dict[str, Any], page: str) -> None:
        self._document, self._page = document, page

    async def docs(self, _: Request) -> HTMLResponse:
        """Swagger UI; the page's links are relative, so it works below `/v1` and below a proxy's prefix."""
        return HTMLResponse(self._page, headers=SWAGGER_HEADERS)

    async def openapi(self, request: Request) -> JSONResponse:
        """The OpenAPI document, with the servers' addresses below a proxy's prefix where there is one."""
        root = request.scope.get("app_root_path", request.scope.get("root_path", ""))
        servers = [server | {"url": root + server["url"]} for server in SERVERS]
        return JSONResponse(self._document | {"servers": servers})
