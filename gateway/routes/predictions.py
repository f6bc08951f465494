"""The three prediction routes."""

from __future__ import annotations

from time import perf_counter

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse

from gateway.activity import elapsed_ms
from gateway.backend import Verdict
from gateway.batch import judge_batch
from gateway.cancellation import until_disconnect
from gateway.context import context_of
from gateway.schemas import BatchBody, ExplanationBody, PredictionBody
from gateway.services import services_of
from gateway.uploads import check_total, read_image, uploaded


async def predict(request: Request) -> JSONResponse:
    """Judge the image in the field `file`."""
    image = await _one_image(request)
    started = perf_counter()
    work = services_of(request).backend.predict(image, context_of(request).request_id)
    verdict = await until_disconnect(request, work)
    body = PredictionBody(**verdict.model_dump(), inference_time_ms=elapsed_ms(started))
    _count(request, verdict)
    return JSONResponse(body.model_dump())


async def explain(request: Request) -> JSONResponse:
    """Judge the image in the field `file` and show which regions drove the verdict."""
    image = await _one_image(request)
    started = perf_counter()
    work = services_of(request).backend.explain(image, context_of(request).request_id)
    explanation = await until_disconnect(request, work)
    body = ExplanationBody(**explanation.model_dump(), inference_time_ms=elapsed_ms(started))
    _count(request, explanation)
    return JSONResponse(body.model_dump())


async def predict_batch(request: Request) -> JSONResponse:
    """Judge the images in the field `files`."""
    settings = services_of(request).settings
    async with uploaded(request, "files", settings.max_batch_files) as uploads:
        check_total(uploads, settings)
        body = await until_disconnect(request, _judge_all(request, uploads))
    context_of(request).note(total=body.total, failed=body.failed, model_version=body.model_version)
    return JSONResponse(body.model_dump())


async def _one_image(request: Request) -> bytes:
    async with uploaded(request, "file", 1) as (upload,):
        return await read_image(upload, services_of(request).settings)


async def _judge_all(request: Request, uploads: list[UploadFile]) -> BatchBody:
    services = services_of(request)

    async def judge(upload: UploadFile) -> Verdict:
        image = await read_image(upload, services.settings)
        verdict = await services.backend.predict(image, context_of(request).request_id)
        services.activity.predicted()
        return verdict

    return await judge_batch(uploads, judge)


def _count(request: Request, verdict: Verdict) -> None:
    services_of(request).activity.predicted()
    context_of(request).note(
        prediction=verdict.prediction, probability=verdict.probability, model_version=verdict.model_version
    )
