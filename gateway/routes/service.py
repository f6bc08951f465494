"""The routes for operators: index, health, metrics, drift, privacy."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from gateway.context import Lines
from gateway.errors import prefers
from gateway.metrics import CONTENT_TYPE, Snapshot
from gateway.privacy import as_html, statement
from gateway.schemas import HealthBody
from gateway.security import PAGE_HEADERS
from gateway.services import NAME, services_of
from gateway.torchserve import unavailable
from gateway.uploads import HISTOGRAM, MODEL, check_includes

NEVER_SEEN: Final = "unknown"


async def health(request: Request) -> JSONResponse:
    """State of the service and of the model."""
    wanted = check_includes(request, MODEL)
    services = services_of(request)
    ready = await services.readiness.check()
    body = HealthBody(
        status="healthy" if ready else "unhealthy",
        model_loaded=ready,
        model_version=services.backend.model_version or NEVER_SEEN,
        uptime_seconds=services.activity.uptime_s,
        active_requests=services.activity.active_requests,
        drift_detected=services.drift.report().drift_detected,
        predictions_total=services.activity.predictions_total,
    )
    model = services.backend.model
    extras = {MODEL: model.model_dump() if model else None} if wanted else {}
    return _probe_answer(ok=ready, body=body.model_dump() | extras)


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
    root = request.scope.get("app_root_path", request.scope.get("root_path", ""))
    routes = (route for route in request.app.routes if isinstance(route, Route) and route.endpoint is not index)
    links = {route.name: root + route.path for route in routes}
    return JSONResponse({"name": NAME, "version": services_of(request).version, "links": links})


async def drift(request: Request) -> JSONResponse:
    """Whether predictions and images still resemble the reference."""
    wanted = check_includes(request, HISTOGRAM)
    services = services_of(request)
    extras = {HISTOGRAM: services.drift.histogram().model_dump()} if wanted else {}
    return JSONResponse(services.drift.report().model_dump() | extras)


async def metrics(request: Request) -> Response:
    """Metrics for Prometheus."""
    services = services_of(request)
    report = services.drift.report()
    snapshot = Snapshot(
        model_loaded=await services.readiness.check(),
        model_version=services.backend.model_version,
        active_requests=services.activity.active_requests,
        queued_images=services.backend.queue.waiting,
        drift_detected=report.drift_detected,
        drift_score=report.drift_score,
        drift_window=report.window_size,
        log_lines_dropped=Lines.dropped,
    )
    return Response(services.metrics.render(snapshot), media_type=CONTENT_TYPE)


async def privacy(request: Request) -> Response:
    """How data are handled; a page for a client that prefers `text/html`."""
    services = services_of(request)
    body = statement(services.settings, services.version)
    if prefers(request, "text/html", "application/json"):
        return HTMLResponse(as_html(body), headers={"Vary": "Accept", **PAGE_HEADERS})
    return JSONResponse(body.model_dump(), headers={"Vary": "Accept"})
