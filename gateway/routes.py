"""What answers requests: the routes that predict, those for operators, and the API's description with Swagger UI."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final, TypeVar

from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from gateway import NAME, read_version, schemas, security
from gateway.context import Lines, context_of, elapsed_ms, timed
from gateway.drift.store import Sample
from gateway.errors import ApiError, NoShadowVersionError, UnavailableError, prefers
from gateway.images import CheckedImage
from gateway.metrics import CONTENT_TYPE
from gateway.middleware import until_disconnect
from gateway.openapi import SERVERS, build_document
from gateway.privacy import as_html, statement
from gateway.schemas import Verdict
from gateway.services import Predicted, Services, Shadow, services_of
from gateway.settings import Settings
from gateway.torchserve import unavailable
from gateway.uploads import EVIDENCE, HISTOGRAM, MODEL, batch_too_large, check_includes, read_image, uploaded

PREDICTED: Final = {"prediction", "probability", "confidence"}
LOGGED: Final = {*PREDICTED, "model_version", "inference_time_ms"}
Answer = TypeVar("Answer", bound=Verdict)
NEVER_SEEN: Final = "unknown"
STATIC: Final = Path(__file__).parent / "static"
SWAGGER_UI: Final = "mkdocs_swagger_ui_tag"


async def predict(request: Request) -> JSONResponse:
    """Predict an image."""
    sample: list[Predicted] = []
    return await _answer_one(request, partial(_predict, request, sample), schemas.PredictionBody, sample)


async def explain(request: Request) -> JSONResponse:
    """Predict an image and show which regions drove the prediction."""
    services, request_id = services_of(request), context_of(request).request_id

    def call(image: CheckedImage) -> Awaitable[Verdict]:
        return _counted(services, services.backend.explain(image, request_id))

    return await _answer_one(request, call, schemas.ExplanationBody, [])


async def predict_batch(request: Request) -> JSONResponse:
    """Predict several images."""
    services, sample = services_of(request), list[Predicted]()
    check_includes(request)
    async with uploaded(request, "files", services.settings.max_batch_files) as uploads:
        if sum(upload.size or 0 for upload in uploads) > services.settings.max_batch_bytes:
            raise batch_too_large(services.settings)
        with services.metrics.batch(len(uploads)):
            body = await until_disconnect(request, _predict_all(request, uploads, sample))
    context_of(request).note(**body.model_dump(include={"total", "failed", "model_version", "total_inference_time_ms"}))
    return JSONResponse(body.model_dump(), background=_afterwards(request, sample))


async def compare(request: Request) -> JSONResponse:
    """Predict an image with the live and the shadow version."""
    services = services_of(request)
    check_includes(request)
    if services.shadow is None:
        raise NoShadowVersionError
    async with uploaded(request, "file", 1) as (upload,):
        image = await read_image(upload, services.settings)
    body = await until_disconnect(request, _ask_both(request, image, services.shadow))
    verdict = body.primary.model_dump(include={*PREDICTED, "model_version"})
    context_of(request).note(**verdict, **body.model_dump(include={"agreement", "difference"}))
    return JSONResponse(body.model_dump(exclude_unset=True))


async def _predict(request: Request, sample: list[Predicted], image: CheckedImage, flow: Hashable = None) -> Verdict:
    """Ask the live version, and consider the image for the request's shadow sample."""
    services, request_id = services_of(request), context_of(request).request_id
    verdict = await _counted(services, services.backend.predict(image, request_id, flow=flow))
    if services.shadow and services.shadow.picks():
        sample.append((image, verdict))
    return verdict


async def _counted(services: Services, call: Awaitable[Answer]) -> Answer:
    started = perf_counter()
    try:
        verdict = await call
    except Exception as error:
        services.metrics.not_predicted(error)
        raise
    services.metrics.predicted(verdict, perf_counter() - started)
    services.drift.record(
        Sample(verdict.model_version, verdict.prediction, verdict.probability, verdict.confidence, verdict.inputs)
    )
    return verdict


def _afterwards(request: Request, sample: list[Predicted]) -> BackgroundTask | None:
    """What is to be done once the answer is out."""
    shadow = services_of(request).shadow
    return BackgroundTask(shadow.predict, sample, context_of(request).request_id) if shadow and sample else None


async def _answer_one(
    request: Request,
    call: Callable[[CheckedImage], Awaitable[Verdict]],
    schema: type[schemas.PredictionBody | schemas.ExplanationBody],
    sample: list[Predicted],
) -> JSONResponse:
    wanted = check_includes(request, EVIDENCE)
    async with uploaded(request, "file", 1) as (upload,):
        image = await read_image(upload, services_of(request).settings)
    verdict, milliseconds = await until_disconnect(request, timed(call(image)))
    extras: dict[str, Any] = {EVIDENCE: await services_of(request).examiner.evidence(image.data)} if wanted else {}
    body = schema(**verdict.model_dump(), inference_time_ms=milliseconds, **extras)
    context_of(request).note(**body.model_dump(include=LOGGED))
    return JSONResponse(body.model_dump(exclude_unset=True), background=_afterwards(request, sample))


async def _predict_all(request: Request, uploads: list[UploadFile], sample: list[Predicted]) -> schemas.BatchBody:
    """Predict all files concurrently; results keep the files' order, and a bad file fails alone.

    Raises:
        UnavailableError: No file was predicted, and the model server is to blame for at least one of them.
    """
    services, started = services_of(request), perf_counter()
    flow = object()  # one for the whole batch, so that it takes turns with other requests
    verdicts: list[Verdict] = []  # in the order of completion

    async def attempt(upload: UploadFile) -> Verdict | ApiError:
        try:
            image = await read_image(upload, services.settings)
            verdicts.append(verdict := await _predict(request, sample, image, flow))
        except ApiError as error:
            services.metrics.refused(error.code)
            return error
        return verdict

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(upload)) for upload in uploads]
    outcomes = [task.result() for task in tasks]
    down = [outcome for outcome in outcomes if isinstance(outcome, UnavailableError)]
    if down and not verdicts:
        raise down[0]
    return schemas.BatchBody(
        results=[_item(upload, outcome) for upload, outcome in zip(uploads, outcomes, strict=True)],
        total=len(outcomes),
        successful=len(verdicts),
        failed=len(outcomes) - len(verdicts),
        total_inference_time_ms=elapsed_ms(started),
        model_version=verdicts[-1].model_version if verdicts else None,
    )


def _item(upload: UploadFile, outcome: Verdict | ApiError) -> schemas.BatchItem:
    # A client may name a charset whose decoder yields what UTF-8 cannot carry.
    filename = (upload.filename or "").encode(errors="replace").decode()
    if isinstance(outcome, ApiError):
        found: dict[str, Any] = dict.fromkeys(PREDICTED)
        return schemas.BatchItem(filename=filename, **found, error=str(outcome))
    return schemas.BatchItem(filename=filename, **outcome.model_dump(include=PREDICTED), error=None)


async def _ask_both(request: Request, image: CheckedImage, shadow: Shadow) -> schemas.ComparisonBody:
    services, request_id = services_of(request), context_of(request).request_id
    # The live verdict counts as any other; the shadow's is in no metric, for clients choose what they compare.
    try:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(timed(_counted(services, services.backend.predict(image, request_id))))
            second = group.create_task(timed(shadow.backend.predict(image, request_id)))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None  # one answer has room for one
    (live, live_ms), (other, other_ms) = first.result(), second.result()
    return schemas.ComparisonBody(
        primary=schemas.PredictionBody(**live.model_dump(), inference_time_ms=live_ms),
        shadow=schemas.PredictionBody(**other.model_dump(), inference_time_ms=other_ms),
        agreement=live.prediction == other.prediction,
        difference=live.differs_by(other),
        message=None,
    )


async def health(request: Request) -> JSONResponse:
    """State of the service and of the model."""
    wanted = check_includes(request, MODEL)
    services = services_of(request)
    ready = await services.readiness.check()
    body = schemas.HealthBody(
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
    return JSONResponse({"name": NAME, "version": read_version(), "links": links})


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
    body = statement(services_of(request).settings)
    if prefers(request, "text/html", "application/json"):
        return HTMLResponse(as_html(body), headers={"Vary": "Accept", **security.PAGE_HEADERS})
    return JSONResponse(body.model_dump(), headers={"Vary": "Accept"})


def docs_routes(settings: Settings, described: Sequence[BaseRoute]) -> list[BaseRoute]:
    """The routes that describe others, all from files that are installed here; they are not in the description."""
    document, page = build_document(described, settings), (STATIC / "docs.html").read_text()

    async def docs(_: Request) -> HTMLResponse:  # the page's links are relative, so it works below any prefix
        return HTMLResponse(page, headers=security.SWAGGER_HEADERS)

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
        response.headers.update(security.SWAGGER_HEADERS)
        return response
