"""What operators read: metrics for Prometheus, and drift."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.metrics import CONTENT_TYPE, Snapshot
from gateway.services import services_of
from gateway.web.includes import HISTOGRAM, check_includes
from gateway.web.logs import Lines


async def drift(request: Request) -> JSONResponse:
    """The window of the newest predictions beside the model's reference, and what is wrong with it."""
    wanted = check_includes(request, HISTOGRAM)
    services = services_of(request)
    extras = {HISTOGRAM: services.drift.histogram().model_dump()} if wanted else {}
    return JSONResponse(services.drift.report().model_dump() | extras)


async def metrics(request: Request) -> Response:
    """All metrics in Prometheus's text format."""
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
