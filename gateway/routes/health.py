"""Probes: is the process alive, has the model come up, can an inference be served."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse

from gateway.model_server.backend import unavailable
from gateway.schemas import HealthBody
from gateway.services import Services, services_of
from gateway.web.includes import MODEL, check_includes

NEVER_SEEN: Final = "unknown"


async def health(request: Request) -> JSONResponse:
    """The documented health body; 503 with the same fields while no inference can be served."""
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
    return _probe_answer(services, ok=ready, body=body.model_dump() | extras)


async def healthz(_: Request) -> JSONResponse:
    """Alive as long as it answers; never looks at the model."""
    return JSONResponse({"alive": True})


async def readyz(request: Request) -> JSONResponse:
    """Ready while the model server answers a real inference."""
    services = services_of(request)
    ready = await services.readiness.check()
    return _probe_answer(services, ok=ready, body={"ready": ready})


async def startup(request: Request) -> JSONResponse:
    """Started once the model server has answered a real inference, and from then on."""
    services = services_of(request)
    started = services.backend.model_version is not None or await services.readiness.check()
    return _probe_answer(services, ok=started, body={"started": started})


def _probe_answer(services: Services, *, ok: bool, body: dict[str, Any]) -> JSONResponse:
    if ok:
        return JSONResponse(body)
    refusal = unavailable(services.settings)
    return JSONResponse(body, refusal.status, refusal.headers)
