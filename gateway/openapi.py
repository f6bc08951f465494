"""The OpenAPI 3.1 document, put together from the routes, their handlers' docstrings, the schemas and the errors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from inspect import isclass
from io import BytesIO
from typing import Any, Final, get_args, get_origin

from PIL import Image
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from gateway import errors, privacy, read_version, schemas, security, torchserve, uploads
from gateway.errors import PROBLEM_JSON, ApiError, as_api_error, error_body, problem_body
from gateway.images import check_image
from gateway.settings import Settings

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
REQUEST_ID: Final = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "An id for the request: 1 to 128 printable ASCII characters. Without one, or with another, it gets "
    "a new one.",
    "schema": {"type": "string"},
}


@dataclass(frozen=True)
class Operation:
    """One route: what it answers, and the errors that it gives beside those of every route."""

    tag: str
    body: type[BaseModel] | None
    """Its JSON; `example` stands in for the examples of its fields."""
    example: Mapping[str, Any] = field(default_factory=dict)
    extra: str = ""
    """The field that `include` can add to its JSON."""
    down: Mapping[str, Any] | None = None
    """How the fields differ while no inference can be served, which is a 503."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Examples of its other media types."""
    description: str = ""
    upload: tuple[str, int] | None = None
    """The multipart field of its images, and how many it may have."""
    errors: Sequence[ApiError] = ()


def build_operations(settings: Settings) -> dict[str, Operation]:
    """The operations by their unversioned path."""
    file = f"JPEG, PNG or WebP. {uploads.file_too_large(settings).detail}."
    files = f"1 to {settings.max_batch_files} files. {uploads.batch_too_large(settings).detail}. Each file: {file}"
    rates = {bucket: f"At most {rate} requests a minute." for bucket, rate in settings.rates().items()}
    images, batch, data = ("file", 1), ("files", settings.max_batch_files), privacy.statement(settings)
    return {
        "/predict": Operation(
            "predictions",
            schemas.PredictionBody,
            extra=uploads.EVIDENCE,
            description=f"{file} {rates['predict']}",
            upload=images,
            errors=_image_errors(settings, rates["predict"]),
        ),
        "/predict/batch": Operation(
            "predictions",
            schemas.BatchBody,
            description=f"{files} A bad file fails alone, with its `error`. {rates['batch']}",
            upload=batch,
            errors=[uploads.batch_too_large(settings), *_form_errors(*batch, rates["batch"])],
        ),
        "/predict/explain": Operation(
            "predictions",
            schemas.ExplanationBody,
            extra=uploads.EVIDENCE,
            description=f"{file} {rates['explain']}",
            upload=images,
            errors=_image_errors(settings, rates["explain"]),
        ),
        "/predict/compare": Operation(
            "predictions",
            schemas.ComparisonBody,
            description=f"{file} Counts as a prediction: {rates['predict'].lower()}",
            upload=images,
            errors=[*_image_errors(settings, rates["predict"]), errors.NoShadowVersionError()],
        ),
        "/health": Operation(
            "probes",
            schemas.HealthBody,
            extra=uploads.MODEL,
            down={"status": "unhealthy", "model_loaded": False, "model": None},
        ),
        "/healthz": Operation("probes", schemas.AliveBody),
        "/readyz": Operation("probes", schemas.ReadyBody, down={"ready": False}),
        "/startup": Operation("probes", schemas.StartedBody, down={"started": False}),
        "/metrics": Operation("monitoring", None, others={"text/plain": "aidetect_model_loaded 1.0"}),
        "/drift": Operation("monitoring", schemas.DriftBody, extra=uploads.HISTOGRAM),
        "/privacy": Operation(
            "service", schemas.PrivacyBody, data.model_dump(), others={"text/html": privacy.as_html(data)}
        ),
        "/": Operation("service", schemas.IndexBody),
    }


def _image_errors(settings: Settings, rate: str) -> list[ApiError]:
    Image.new("1", (8, 600)).save(narrow := BytesIO(), "PNG")
    refused = [_refusal(data, settings) for data in (b"", b"GIF89a", b"\xff\xd8\xff", narrow.getvalue())]
    return [*refused, uploads.file_too_large(settings), *_form_errors("file", 1, rate)]


def _refusal(data: bytes, settings: Settings) -> ApiError:
    try:
        check_image(data, settings)
    except ApiError as error:
        return error
    raise AssertionError


def _form_errors(name: str, most: int, rate: str) -> list[ApiError]:
    other = "picture" if most == 1 else "file"
    return [
        uploads.not_a_form(name, most),
        uploads.missing_file(name, most, [other]),
        errors.TooManyFilesError(uploads.missing_file(name, most, []).detail),
        errors.UnauthorizedError(security.MISSING, security.CHALLENGE),
        errors.SlowRequestError(),
        errors.RateLimitedError(f"{rate} Please retry in 42 s."),
        torchserve.unavailable(),
    ]


def build_document(routes: Iterable[BaseRoute], settings: Settings) -> dict[str, Any]:
    """The document of those routes that are meant to be in it."""
    entries = build_operations(settings)
    described = [route for route in routes if isinstance(route, Route) and route.include_in_schema]
    security: list[dict[str, list[str]]] = [{"ApiKey": []}] if settings.needs_key() else [{}, {"ApiKey": []}]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AI Product Photo Detector",
            "version": read_version(),
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": list(SERVERS),
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": {route.path: _path_item(route, entries[route.path], security) for route in described},
        "components": {
            "schemas": _schemas(entries.values()),
            "responses": {
                name: _errors(status, [as_api_error(HTTPException(status))], rated=False)
                for name, status in (("NotFound", 404), ("MethodNotAllowed", 405))
            },
            "headers": {
                name: {"description": text, "schema": {"type": "string"}, "example": example}
                for name, (text, example) in HEADERS.items()
            },
            "parameters": {"RequestId": REQUEST_ID},
            "securitySchemes": {"ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
        },
    }


def _path_item(route: Route, entry: Operation, security: list[Any]) -> dict[str, Any]:
    (method,) = (route.methods or set()) & {"GET", "POST"}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [entry.tag],
        "summary": (route.endpoint.__doc__ or "").removesuffix("."),
        "description": entry.description,
        "parameters": [{"$ref": "#/components/parameters/RequestId"}, *_includes(entry)],
        "responses": _responses(entry),
    }
    if entry.upload:
        operation |= {"requestBody": _form(*entry.upload), "security": security}
    return {method.lower(): operation}


def _includes(entry: Operation) -> list[dict[str, Any]]:
    schema = {"type": "array", "items": {"enum": [entry.extra]}, "minItems": 1}
    text = "Additional fields of the response."
    each = {"in": "query", "style": "form", "explode": False, "schema": schema, "description": text}
    return [{"name": uploads.PARAMETER, **each}] if entry.extra else []


def _form(name: str, most: int) -> dict[str, Any]:
    image = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
    several = {"type": "array", "items": image, "minItems": 1, "maxItems": most}
    schema = {"type": "object", "required": [name], "properties": {name: image if most == 1 else several}}
    encoding = {name: {"contentType": "image/jpeg, image/png, image/webp"}}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "encoding": encoding}}}


def _responses(entry: Operation) -> dict[str, Any]:
    responses = {"200": _answer(200, entry, entry.example)}
    if entry.down:
        responses["503"] = _answer(503, entry, entry.down)
    found = [*entry.errors, ApiError()]
    if entry.upload or entry.extra:
        found.append(uploads.unknown_include(entry.extra))
    for status in sorted({error.status for error in found}):
        same = [error for error in found if error.status == status]
        responses[str(status)] = _errors(status, same, rated=entry.upload is not None)
    return responses


def _answer(status: int, entry: Operation, changes: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {
        kind: {"schema": {"type": "string"}, "example": text} for kind, text in entry.others.items()
    }
    if entry.body:
        whole = example(entry.body, entry.extra)
        whole |= {name: value for name, value in changes.items() if name in whole}
        plain = {name: value for name, value in whole.items() if name != entry.extra}
        several = {"documented": {"value": plain}, entry.extra: {"value": whole}}
        content[JSON] = {"schema": _ref(entry.body)} | ({"examples": several} if entry.extra else {"example": plain})
    meaning = entry.body.__doc__ if entry.body else "Prometheus's text format."
    headers = _headers(status, rated=entry.upload is not None)
    return {"description": meaning, "headers": headers, "content": content}


def _errors(status: int, found: Sequence[ApiError], *, rated: bool) -> dict[str, Any]:
    def examples(body: Callable[[ApiError], BaseModel]) -> dict[str, Any]:
        return {error.code: {"summary": error.title, "value": body(error).model_dump()} for error in found}

    return {
        "description": f"{HTTPStatus(status).phrase}.",
        "headers": _headers(status, rated=rated),
        "content": {
            JSON: {"schema": _ref(schemas.ErrorBody), "examples": examples(error_body)},
            PROBLEM_JSON: {"schema": _ref(schemas.ProblemBody), "examples": examples(problem_body)},
        },
    }


def _headers(status: int, *, rated: bool) -> dict[str, Any]:
    own = {401: ("WWW-Authenticate",), 405: ("Allow",), 429: ("Retry-After",), 503: ("Retry-After",)}
    rates = ("RateLimit", "RateLimit-Policy") if rated and status != HTTPStatus.UNAUTHORIZED else ()
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *own.get(status, ()), *rates)}


class _Untitled(GenerateJsonSchema):
    """Without the title that pydantic would repeat from every field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's own signature
        return False


def _schemas(entries: Iterable[Operation]) -> dict[str, Any]:
    bodies: list[type[BaseModel]] = [schemas.ErrorBody, schemas.ProblemBody]
    bodies += [entry.body for entry in entries if entry.body]
    _, found = models_json_schema(
        [(body, "serialization") for body in bodies],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Untitled,
    )
    return dict(found["$defs"])


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def example(body: type[BaseModel], extra: str = "") -> dict[str, Any]:
    """A body of the examples of its fields, and of those that `include` can add the one that is named."""
    fields = body.model_fields.items()
    return {name: _example(field) for name, field in fields if field.is_required() or name == extra}


def _example(field: FieldInfo) -> Any:  # noqa: ANN401 - JSON is anything
    if field.examples:
        return field.examples[0]
    kinds = (field.annotation, *get_args(field.annotation))
    for kind in kinds:
        several = get_args(kind) if get_origin(kind) is list else ()
        for one in several or (kind,):
            if isclass(one) and issubclass(one, BaseModel):
                return [example(one)] if several else example(one)
    return None
