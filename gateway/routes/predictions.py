"""The three prediction routes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse

from gateway.activity import elapsed_ms
from gateway.context import context_of
from gateway.model_server.backend import Verdict
from gateway.model_server.batch import judge_batch
from gateway.model_server.shadow import Sample
from gateway.schemas import BatchBody, ExplanationBody, PredictionBody
from gateway.services import services_of
from gateway.uploads import check_total, read_image, uploaded
from gateway.web.cancellation import until_disconnect
from gateway.web.includes import EVIDENCE, check_includes

Judge = Callable[[bytes, str], Coroutine[Any, Any, Verdict]]


async def predict(request: Request) -> JSONResponse:
    """Judge the image in the field `file`."""
    sample = _sample(request)
    return await _judge_one(request, services_of(request).backend.predict, PredictionBody, sample)


async def explain(request: Request) -> JSONResponse:
    """Judge the image in the field `file` and show which regions drove the verdict."""
    return await _judge_one(request, services_of(request).backend.explain, ExplanationBody)


async def predict_batch(request: Request) -> JSONResponse:
    """Judge the images in the field `files`."""
    settings, sample = services_of(request).settings, _sample(request)
    check_includes(request)
    async with uploaded(request, "files", settings.max_batch_files) as uploads:
        check_total(uploads, settings)
        with services_of(request).metrics.batch(len(uploads)):
            body = await until_disconnect(request, _judge_all(request, uploads, sample))
    context_of(request).note(**body.model_dump(include={"total", "failed", "model_version", "total_inference_time_ms"}))
    return JSONResponse(body.model_dump(), background=sample.task() if sample else None)


async def _judge_one(
    request: Request, judge: Judge, schema: type[PredictionBody | ExplanationBody], sample: Sample | None = None
) -> JSONResponse:
    wanted = check_includes(request, EVIDENCE)
    async with uploaded(request, "file", 1) as (upload,):
        image = await read_image(upload, services_of(request).settings)
    started = perf_counter()
    call = judge(image, context_of(request).request_id)
    verdict = await until_disconnect(request, services_of(request).observer.watch(image, call))
    body = schema(**verdict.model_dump(), inference_time_ms=elapsed_ms(started))
    services_of(request).activity.predicted()
    context_of(request).note(
        **body.model_dump(include={"prediction", "probability", "confidence", "model_version", "inference_time_ms"})
    )
    if sample:
        sample.consider(image, verdict)
    content = body.model_dump() | await _extras(request, image, wanted)
    return JSONResponse(content, background=sample.task() if sample else None)


def _sample(request: Request) -> Sample | None:
    shadow = services_of(request).shadow
    return Sample(shadow, context_of(request).request_id) if shadow else None


async def _extras(request: Request, image: bytes, wanted: set[str]) -> dict[str, Any]:
    if EVIDENCE not in wanted:
        return {}
    findings = await services_of(request).examiner.evidence(image)
    return {EVIDENCE: [finding.model_dump() for finding in findings]}


async def _judge_all(request: Request, uploads: list[UploadFile], sample: Sample | None) -> BatchBody:
    services = services_of(request)
    flow = object()  # one for the whole batch, so that it takes turns with other requests

    async def judge(upload: UploadFile) -> Verdict:
        with services.metrics.batch_item():
            image = await read_image(upload, services.settings)
            call = services.backend.predict(image, context_of(request).request_id, flow=flow)
            verdict = await services.observer.watch(image, call)
        services.activity.predicted()
        if sample:
            sample.consider(image, verdict)
        return verdict

    return await judge_batch(uploads, judge)
