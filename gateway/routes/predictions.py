"""The routes that predict: one image, an explanation, a batch, a comparison of two model versions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse

from gateway.context import context_of, timed
from gateway.errors import NoShadowVersionError
from gateway.images import CheckedImage
from gateway.middleware import until_disconnect
from gateway.predictions import Shadow, ShadowSample, predict_all
from gateway.schemas import BatchBody, ComparisonBody, ExplanationBody, PredictionBody, Verdict
from gateway.services import services_of
from gateway.uploads import EVIDENCE, batch_too_large, check_includes, read_image, uploaded

LOGGED: Final = {"prediction", "probability", "confidence", "model_version", "inference_time_ms"}


async def predict(request: Request) -> JSONResponse:
    """Predict an image."""
    sample = _sample(request)

    def call(image: CheckedImage) -> Awaitable[Verdict]:
        return services_of(request).predictor.predict(image, context_of(request).request_id, sample)

    return await _predict_one(request, call, PredictionBody, sample)


async def explain(request: Request) -> JSONResponse:
    """Predict an image and show which regions drove the prediction."""

    def call(image: CheckedImage) -> Awaitable[Verdict]:
        return services_of(request).predictor.explain(image, context_of(request).request_id)

    return await _predict_one(request, call, ExplanationBody)


async def predict_batch(request: Request) -> JSONResponse:
    """Predict several images."""
    settings, sample = services_of(request).settings, _sample(request)
    check_includes(request)
    async with uploaded(request, "files", settings.max_batch_files) as uploads:
        if sum(upload.size or 0 for upload in uploads) > settings.max_batch_bytes:
            raise batch_too_large(settings)
        with services_of(request).metrics.batch(len(uploads)):
            body = await until_disconnect(request, _predict_each(request, uploads, sample))
    context_of(request).note(**body.model_dump(include={"total", "failed", "model_version", "total_inference_time_ms"}))
    return JSONResponse(body.model_dump(), background=sample.task() if sample else None)


async def _predict_one(
    request: Request,
    call: Callable[[CheckedImage], Awaitable[Verdict]],
    schema: type[PredictionBody | ExplanationBody],
    sample: ShadowSample | None = None,
) -> JSONResponse:
    wanted = check_includes(request, EVIDENCE)
    async with uploaded(request, "file", 1) as (upload,):
        image = await read_image(upload, services_of(request).settings)
    verdict, milliseconds = await until_disconnect(request, timed(call(image)))
    body = schema(**verdict.model_dump(), inference_time_ms=milliseconds)
    context_of(request).note(**body.model_dump(include=LOGGED))
    content = body.model_dump() | await _extras(request, image, wanted)
    return JSONResponse(content, background=sample.task() if sample else None)


def _sample(request: Request) -> ShadowSample | None:
    shadow = services_of(request).shadow
    return ShadowSample(shadow, context_of(request).request_id) if shadow else None


async def _extras(request: Request, image: CheckedImage, wanted: set[str]) -> dict[str, Any]:
    if EVIDENCE not in wanted:
        return {}
    findings = await services_of(request).examiner.evidence(image.data)
    return {EVIDENCE: [finding.model_dump() for finding in findings]}


async def _predict_each(request: Request, uploads: list[UploadFile], sample: ShadowSample | None) -> BatchBody:
    services = services_of(request)
    flow = object()  # one for the whole batch, so that it takes turns with other requests

    async def item(upload: UploadFile) -> Verdict:
        with services.metrics.batch_item():
            image = await read_image(upload, services.settings)
            return await services.predictor.predict(image, context_of(request).request_id, sample, flow)

    return await predict_all(uploads, item)


async def compare(request: Request) -> JSONResponse:
    """Predict an image with the live and the shadow version."""
    services = services_of(request)
    check_includes(request)
    if services.shadow is None:
        raise NoShadowVersionError
    async with uploaded(request, "file", 1) as (upload,):
        image = await read_image(upload, services.settings)
    body = await until_disconnect(request, _ask_both(request, image, services.shadow))
    verdict = body.primary.model_dump(include={"prediction", "probability", "confidence", "model_version"})
    context_of(request).note(**verdict, **body.model_dump(include={"agreement", "difference"}))
    return JSONResponse(body.model_dump())


async def _ask_both(request: Request, image: CheckedImage, shadow: Shadow) -> ComparisonBody:
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
        agreement=live.prediction == other.prediction,
        difference=live.differs_by(other),
    )
