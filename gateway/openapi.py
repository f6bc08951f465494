"""The OpenAPI 3.1 document, put together from the routes, their entries, the schemas and the errors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from gateway import examples
from gateway.errors import PROBLEM_JSON, ApiError, InvalidParameterError, as_api_error, error_body, problem_body
from gateway.privacy import as_html, statement
from gateway.schemas import AliveBody, ErrorBody, IndexBody, ProblemBody, ReadyBody, StartedBody
from gateway.services import NAME, read_version
from gateway.settings import Settings
from gateway.uploads import EVIDENCE, HISTOGRAM, MODEL, PARAMETER, batch_too_large, file_too_large

JSON: Final = "application/json"
SERVERS: Final = ({"url": "/", "description": "Unversioned."}, {"url": "/v1", "description": "The same, versioned."})
TAGS: Final = {
    "predictions": "Real photograph or AI-generated?",
    "probes": "For load balancers and orchestrators; open to everyone.",
    "monitoring": "For operators; open to everyone.",
    "service": "About the service; open to everyone.",
}
DESCRIPTION: Final = """Tells whether a product photo is a real photograph or AI-generated.

Every route exists at `/` and at `/v1`. Every error, whatever its status, is `{"error": ..., "detail": ...}`, or RFC
9457 for a client that accepts `application/problem+json`; an unknown path is 404, a method that a path does not take
is 405 with `Allow`. Every answer carries `X-Request-ID`. `probability` is meant for a pile of which the model's base
rate (`/health?include=model`) is AI-generated; `prediction` is `ai_generated` where it is 0.5 or more, else `real`.
`confidence` is `high` where the probability is more than 0.3 from 0.5, `low` where it is less than 0.2 from it, else
`medium`."""
HEADERS: Final[Mapping[str, tuple[str, str]]] = {
    "X-Request-ID": ("The request's id: the client's, if it is 1 to 128 printable characters, else a new one.", "8f14"),
    "Retry-After": ("Seconds to wait before another attempt.", "5"),
    "RateLimit": ("The remaining quota, and the seconds until it grows.", '"predict";r=29;t=60'),
    "RateLimit-Policy": ("The quota and its window in seconds.", '"predict";q=30;w=60'),
    "WWW-Authenticate": ("How to authenticate.", 'ApiKey realm="predictions"'),
    "Allow": ("The path's methods.", "GET, HEAD, OPTIONS"),
}
RATE_HEADERS: Final = ("RateLimit", "RateLimit-Policy")


@dataclass(frozen=True)
class Answer:
    """What a status means, with an example of its body for each media type."""

    meaning: str
    bodies: Mapping[str, BaseModel | str]
    on_request: Mapping[str, BaseModel] = field(default_factory=dict)
    """JSON bodies for a client that asks for more, by the value of `include`."""


@dataclass(frozen=True)
class Upload:
    """The multipart field that carries images; with `most` above 1 it may be repeated."""

    field: str
    most: int = 1


@dataclass(frozen=True)
class Operation:
    """One route: its text, its answers, and the errors that it gives beside those of every route."""

    tag: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    upload: Upload | None = None
    errors: list[ApiError] = field(default_factory=list)


def build_operations(settings: Settings) -> dict[str, Operation]:
    """The operations by their unversioned path."""
    return {**_predictions(settings), **_probes(), **_others(settings)}


def _predictions(settings: Settings) -> dict[str, Operation]:
    size = f"JPEG, PNG or WebP. {file_too_large(settings).detail}."
    several = f"1 to {settings.max_batch_files} files. {batch_too_large(settings).detail}."
    a_minute = {bucket: f"At most {rate} requests a minute." for bucket, rate in settings.rates().items()}
    return {
        "/predict": Operation(
            tag="predictions",
            summary="Judge one image",
            description=f"{size} {a_minute['predict']}",
            upload=Upload("file"),
            answers={
                200: Answer("The verdict.", {JSON: examples.PREDICTION}, {EVIDENCE: examples.PREDICTION_WITH_EVIDENCE})
            },
            errors=examples.image_errors(settings, "predict"),
        ),
        "/predict/batch": Operation(
            tag="predictions",
            summary="Judge several images",
            description=f"{several} Each file: {size} A bad file fails alone, with its `error`. {a_minute['batch']}",
            upload=Upload("files", settings.max_batch_files),
            answers={200: Answer("A prediction or an error per file, in order.", {JSON: examples.BATCH})},
            errors=examples.batch_errors(settings),
        ),
        "/predict/explain": Operation(
            tag="predictions",
            summary="Predict one image and show which regions drove the prediction",
            description=f"{size} {a_minute['explain']}",
            upload=Upload("file"),
            answers={
                200: Answer(
                    "The prediction with its Grad-CAM heat map.",
                    {JSON: examples.EXPLANATION},
                    {EVIDENCE: examples.EXPLANATION_WITH_EVIDENCE},
                )
            },
            errors=examples.image_errors(settings, "explain"),
        ),
        "/predict/compare": Operation(
            tag="predictions",
            summary="Predict one image with the live and the shadow version",
            description=f"{size} Counts as a prediction: at most {settings.predict_rate} requests a minute.",
            upload=Upload("file"),
            answers={200: Answer("Both predictions and their difference.", {JSON: examples.COMPARISON})},
            errors=examples.comparison_errors(settings),
        ),
    }


def _probes() -> dict[str, Operation]:
    return {
        "/health": Operation(
            tag="probes",
            summary="State of the service and of the model",
            answers={
                200: Answer(
                    "An inference can be served.", {JSON: examples.HEALTHY}, {MODEL: examples.HEALTHY_WITH_MODEL}
                ),
                503: Answer(
                    "No inference can be served right now.",
                    {JSON: examples.UNHEALTHY},
                    {MODEL: examples.UNHEALTHY_WITH_MODEL},
                ),
            },
            errors=[InvalidParameterError("Values of `include`: model.")],
        ),
        "/healthz": Operation(
            tag="probes",
            summary="Whether the process is alive",
            answers={200: Answer("It is; the model was not asked.", {JSON: AliveBody()})},
        ),
        "/readyz": Operation(
            tag="probes",
            summary="Whether an inference can be served now",
            answers={
                200: Answer("The model server answered a real inference.", {JSON: ReadyBody(ready=True)}),
                503: Answer("It did not.", {JSON: ReadyBody(ready=False)}),
            },
        ),
        "/startup": Operation(
            tag="probes",
            summary="Whether the model has come up since the start",
            answers={
                200: Answer("It has.", {JSON: StartedBody(started=True)}),
                503: Answer("Not yet.", {JSON: StartedBody(started=False)}),
            },
        ),
    }


def _others(settings: Settings) -> dict[str, Operation]:
    version = read_version()
    index = IndexBody(name=NAME, version=version, links={"predict": "/predict", "health": "/health"})
    privacy = statement(settings, version)
    counted = 'http_requests_total{method="GET",endpoint="/health",status="200"} 12.0'
    return {
        "/": Operation(
            tag="service",
            summary="Name, version and links",
            answers={200: Answer("What this service is.", {JSON: index})},
        ),
        "/metrics": Operation(
            tag="monitoring",
            summary="Metrics for Prometheus",
            answers={200: Answer("Prometheus's text format.", {"text/plain": counted})},
        ),
        "/drift": Operation(
            tag="monitoring",
            summary="Whether predictions and images still resemble the reference",
            answers={
                200: Answer(
                    "The drift window compared with the reference.",
                    {JSON: examples.DRIFT},
                    {HISTOGRAM: examples.DRIFT_WITH_HISTOGRAM},
                )
            },
            errors=[InvalidParameterError("Values of `include`: histogram.")],
        ),
        "/privacy": Operation(
            tag="service",
            summary="How data are handled",
            description="A page for a client that prefers `text/html`.",
            answers={200: Answer("The statement.", {JSON: privacy, "text/html": as_html(privacy)})},
        ),
    }


def build_document(routes: Iterable[BaseRoute], settings: Settings, version: str) -> dict[str, Any]:
    """The document of those routes that are meant to be in it."""
    entries = build_operations(settings)
    described = [route for route in routes if isinstance(route, Route) and route.include_in_schema]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AI Product Photo Detector",
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": list(SERVERS),
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": {route.path: _path_item(route, entries[route.path], settings) for route in described},
        "components": {
            "schemas": _schemas(entries.values()),
            "responses": {"NotFound": _error(404), "MethodNotAllowed": _error(405)},
            "headers": {name: _header(*entry) for name, entry in HEADERS.items()},
            "parameters": {"RequestId": _request_id()},
            "securitySchemes": {"ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
        },
    }


def _path_item(route: Route, entry: Operation, settings: Settings) -> dict[str, Any]:
    (method,) = (route.methods or set()) & {"GET", "POST"}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [entry.tag],
        "summary": entry.summary,
        "description": entry.description,
        "parameters": [{"$ref": "#/components/parameters/RequestId"}, *_includes(entry)],
        "responses": _responses(entry),
    }
    if entry.upload:
        operation["requestBody"] = _form(entry.upload)
        operation["security"] = [{"ApiKey": []}] if settings.needs_key() else [{}, {"ApiKey": []}]
    return {method.lower(): operation}


def _includes(entry: Operation) -> list[dict[str, Any]]:
    values = sorted({value for answer in entry.answers.values() for value in answer.on_request})
    schema = {"type": "array", "items": {"enum": values}, "minItems": 1}
    text = "Additional fields of the response."
    each = {"in": "query", "style": "form", "explode": False, "schema": schema, "description": text}
    return [{"name": PARAMETER, **each}] if values else []


def _form(upload: Upload) -> dict[str, Any]:
    image = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
    several = {"type": "array", "items": image, "minItems": 1, "maxItems": upload.most}
    schema = {
        "type": "object",
        "required": [upload.field],
        "properties": {upload.field: image if upload.most == 1 else several},
    }
    encoding = {upload.field: {"contentType": "image/jpeg, image/png, image/webp"}}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "encoding": encoding}}}


def _responses(entry: Operation) -> dict[str, Any]:
    rated = RATE_HEADERS if entry.upload else ()
    responses = {str(status): _answer(status, answer, rated) for status, answer in entry.answers.items()}
    errors = [*entry.errors, ApiError()]
    for status in sorted({error.status for error in errors}):
        responses[str(status)] = _errors(status, [error for error in errors if error.status == status], rated)
    return responses


def _answer(status: int, answer: Answer, rated: Sequence[str]) -> dict[str, Any]:
    content = {kind: {"schema": _schema(body), "example": _plain(body)} for kind, body in answer.bodies.items()}
    if answer.on_request:
        forms = {"documented": answer.bodies[JSON], **answer.on_request}
        schema = {"oneOf": [_schema(body) for body in forms.values()]}
        content[JSON] = {"schema": schema, "examples": {name: {"value": _plain(body)} for name, body in forms.items()}}
    return {"description": answer.meaning, "headers": _headers(status, rated), "content": content}


def _error(status: int) -> dict[str, Any]:
    return _errors(status, [as_api_error(HTTPException(status))], ())


def _errors(status: int, errors: Sequence[ApiError], rated: Sequence[str]) -> dict[str, Any]:
    plain = {error.code: {"summary": error.title, "value": error_body(error).model_dump()} for error in errors}
    problems = {error.code: {"summary": error.title, "value": problem_body(error).model_dump()} for error in errors}
    return {
        "description": f"{HTTPStatus(status).phrase}.",
        "headers": _headers(status, rated),
        "content": {
            JSON: {"schema": _ref(ErrorBody), "examples": plain},
            PROBLEM_JSON: {"schema": _ref(ProblemBody), "examples": problems},
        },
    }


def _headers(status: int, rated: Sequence[str]) -> dict[str, Any]:
    own = {401: ("WWW-Authenticate",), 405: ("Allow",), 429: ("Retry-After",), 503: ("Retry-After",)}
    names = ["X-Request-ID", *own.get(status, ()), *(rated if status != HTTPStatus.UNAUTHORIZED else ())]
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header(text: str, example: str) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"}, "example": example}


def _request_id() -> dict[str, Any]:
    text = (
        "An id for the request: 1 to 128 printable ASCII characters. Without one, or with another, it gets a new one."
    )
    return {"name": "X-Request-ID", "in": "header", "description": text, "schema": {"type": "string"}}


class _Untitled(GenerateJsonSchema):
    """Without the title that pydantic would repeat from every field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's own signature
        return False


def _schemas(entries: Iterable[Operation]) -> dict[str, Any]:
    answers = [answer for entry in entries for answer in entry.answers.values()]
    bodies = [body for answer in answers for body in (*answer.bodies.values(), *answer.on_request.values())]
    models: set[type[BaseModel]] = {type(body) for body in bodies if isinstance(body, BaseModel)}
    models |= {ErrorBody, ProblemBody}
    _, schemas = models_json_schema(
        [(model, "serialization") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Untitled,
    )
    return dict(schemas["$defs"])


def _schema(body: BaseModel | str) -> dict[str, str]:
    return {"type": "string"} if isinstance(body, str) else _ref(type(body))


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _plain(body: BaseModel | str) -> Any:  # noqa: ANN401 - JSON is anything
    return body if isinstance(body, str) else body.model_dump()
