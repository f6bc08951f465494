"""The route that asks both versions of the model about one image."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse

from gateway.activity import timed
from gateway.context import context_of
from gateway.model_server.shadow import Shadow, no_shadow_version
from gateway.schemas import ComparisonBody, PredictionBody
from gateway.services import services_of
from gateway.uploads import read_image, uploaded
from gateway.web.cancellation import until_disconnect
from gateway.web.includes import check_includes


async def compare(request: Request) -> JSONResponse:
    """Judge the image in the field `file` by the live version and by the shadow version, both at the same time."""
    services = services_of(request)
    check_includes(request)
    if services.shadow is None:
        raise no_shadow_version()
    async with uploaded(request, "file", 1) as (upload,):
        image = await read_image(upload, services.settings)
    body = await until_disconnect(request, _ask_both(request, image, services.shadow))
    verdict = body.primary.model_dump(include={"prediction", "probability", "confidence", "model_version"})
    context_of(request).note(**verdict, **body.model_dump(include={"agreement", "difference"}))
    return JSONResponse(body.model_dump())


async def _ask_both(request: Request, image: bytes, shadow: Shadow) -> ComparisonBody:
    services, request_id = services_of(request), context_of(request).request_id
    # The live verdict counts as any other; the shadow's is in no metric, for clients choose what they compare.
    try:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(timed(services.predictor.predict(image, request_id)))
            second = group.create_task(timed(shadow.backend.predict(image, request_id)))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None  # one answer has room for one
    (live, live_ms), (other, other_ms) = first.result(), second.result()
    return ComparisonBody(
        primary=PredictionBody(**live.model_dump(), inference_time_ms=live_ms),
        shadow=PredictionBody(**other.model_dump(), inference_time_ms=other_ms),
        agreement=live.agrees_with(other),
        difference=live.differs_by(other),
    )
