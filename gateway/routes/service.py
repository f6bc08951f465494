"""The routes for operators: index, health, metrics, drift, privacy; and the API's description with Swagger UI."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from gateway import NAME, read_version
from gateway.context import Lines
from gateway.errors import prefers
from gateway.metrics import CONTENT_TYPE
from gateway.openapi import SERVERS, build_document
from gateway.privacy import as_html, statement
from gateway.schemas import HealthBody
from gateway.security import PAGE_HEADERS, SWAGGER_HEADERS
from gateway.services import services_of
from gateway.settings import Settings
from gateway.torchserve import unavailable
from gateway.uploads import HISTOGRAM, MODEL, check_includes

NEVER_SEEN: Final = "unknown"
STATIC: Final = Path(__file__).parents[1] / "static"
SWAGGER_UI: Final = "mkdocs_swagger_ui_tag"


async def health(request: Request) -> JSONResponse:
    """State of the service and of the model."""
    wanted = check_includes(request, MODEL)
    services = services_of(request)
    ready = await services.readiness.check()
    body = HealthBody(
        status="healthy" if ready else "unhealthy",
        model_loaded=ready,
        model_version=services.backend.model_version or NEVER_SEEN,
        uptime_seconds=services.metrics.uptime_s,
        active_requests=services.metrics.active_requests,
        drift_detected=services.drift.report().drift_detected,
        predictions_total=services.metrics.predictions_total,
        **({MODEL: services.backend.model} if wanted else {}),
    )
    return _probe_answer(ok=ready, body=body.model_dump(exclude_unset=True))


async def healthz(_: Request) -> JSONResponse:
    """Whether the process is alive."""
    return JSONResponse({"alive": True})


async def readyz(request: Request) -> JSONResponse:
    """Whether an inference can be served now."""
    services = services_of(request)
    ready = await services.readiness.check()
    return _probe_answer(ok=ready, body={"ready": ready})


async def startup(request: Request) -> JSONResponse:
    """Whether the model has come up since the start."""
    services = services_of(request)
    started = services.backend.model_version is not None or await services.readiness.check()
    return _probe_answer(ok=started, body={"started": started})


def _probe_answer(*, ok: bool, body: dict[str, Any]) -> JSONResponse:
    if ok:
        return JSONResponse(body)
    refusal = unavailable()
    return JSONResponse(body, refusal.status, refusal.headers)


async def index(request: Request) -> JSONResponse:
    """Name, version and links."""
    routes = (route for route in request.app.routes if isinstance(route, Route) and route.endpoint is not index)
    links = {route.name: _root(request) + route.path for route in routes}
    return JSONResponse({"name": NAME, "version": services_of(request).version, "links": links})


async def drift(request: Request) -> JSONResponse:
    """Whether predictions and images still resemble the reference."""
    wanted = check_includes(request, HISTOGRAM)
    services = services_of(request)
    extras = {HISTOGRAM: services.drift.histogram()} if wanted else {}
    return JSONResponse(services.drift.report().model_copy(update=extras).model_dump(exclude_unset=True))


async def metrics(request: Request) -> Response:
    """Metrics for Prometheus."""
    services = services_of(request)
    report, ready = services.drift.report(), await services.readiness.check()
    text = services.metrics.render(
        services.backend.model_version,
        Lines.dropped,
        model_loaded=ready,
        queued_images=services.backend.queue.waiting,
        drift_detected=report.drift_detected,
        drift_score=report.drift_score,
        drift_window=report.window_size,
    )
    return Response(text, media_type=CONTENT_TYPE)


async def privacy(request: Request) -> Response:
    """How data are handled; a page for a client that prefers `text/html`."""
    services = services_of(request)
    body = statement(services.settings, services.version)
    if prefers(request, "text/html", "application/json"):
        return HTMLResponse(as_html(body), headers={"Vary": "Accept", **PAGE_HEADERS})
    return JSONResponse(body.model_dump(), headers={"Vary": "Accept"})


def docs_routes(settings: Settings, described: Sequence[BaseRoute]) -> list[BaseRoute]:
    """The routes that describe others, all from files that are installed here; they are not in the description."""
    document, page = build_document(described, settings, read_version()), (STATIC / "docs.html").read_text()

    async def docs(_: Request) -> HTMLResponse:  # the page's links are relative, so it works below any prefix
        return HTMLResponse(page, headers=SWAGGER_HEADERS)

    async def openapi(request: Request) -> JSONResponse:
        servers = [server | {"url": _root(request) + server["url"]} for server in SERVERS]
        return JSONResponse(document | {"servers": servers})

    folders = [(SWAGGER_UI, f"swagger-ui/{kind}") for kind in ("javascripts", "stylesheets")]
    files = _WholeFiles(directory=STATIC, packages=[*folders])
    # A route around the files, so that a wrong method gets the same answer as anywhere else.
    assets = Route("/{path:path}", files, methods=["GET"])
    return [
        Route("/openapi.json", openapi, include_in_schema=False),
        Route("/docs", docs, include_in_schema=False),
        Mount("/docs", Router([assets], redirect_slashes=False)),
    ]


def _root(request: Request) -> str:
    """The prefix under which a proxy serves the application, or nothing."""
    return str(request.scope.get("app_root_path", request.scope.get("root_path", "")))


class _WholeFiles(StaticFiles):
    """Swagger UI's files, without ranges, which are optional: Starlette's refusal of a bad one is no JSON."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(SWAGGER_HEADERS)
        return response
