"""The three prediction routes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

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

Judge = Callable[[bytes, str], Coroutine[Any, Any, Verdict]]


async def predict(request: Request) -> JSONResponse:
    """Judge the image in the field `file`."""
    return await _judge_one(request, services_of(request).backend.predict, PredictionBody)


async def explain(request: Request) -> JSONResponse:
    """Judge the image in the field `file` and show which regions drove the verdict."""
    return await _judge_one(request, services_of(request).backend.explain, ExplanationBody)


async def predict_batch(request: Request) -> JSONResponse:
    """Judge the images in the field `files`."""
    settings = services_of(request).settings
    async with uploaded(request, "files", settings.max_batch_files) as uploads:
        check_total(uploads, settings)
        body = await until_disconnect(request, _judge_all(request, uploads))
    context_of(request).note(total=body.total, failed=body.failed, model_version=body.model_version)
    return JSONResponse(body.model_dump())


async def _judge_one(request: Request, judge: Judge, schema: type[PredictionBody | ExplanationBody]) -> JSONResponse:
    async with uploaded(request, "file", 1) as (upload,):
        image = await read_image(upload, services_of(request).settings)
    started = perf_counter()
    verdict = await until_disconnect(request, judge(image, context_of(request).request_id))
    body = schema(**verdict.model_dump(), inference_time_ms=elapsed_ms(started))
    services_of(request).activity.predicted()
    context_of(request).note(**verdict.model_dump(include={"prediction", "probability", "model_version"}))
    return JSONResponse(body.model_dump())


async def _judge_all(request: Request, uploads: list[UploadFile]) -> BatchBody:
    services = services_of(request)

    async def judge(upload: UploadFile) -> Verdict:
        image = await read_image(upload, services.settings)
        verdict = await services.backend.predict(image, context_of(request).request_id)
        services.activity.predicted()
        return verdict

    return await judge_batch(uploads, judge)
