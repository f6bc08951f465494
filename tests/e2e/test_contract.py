"""One claim for each route and each class of error, with the model that ships."""

from __future__ import annotations

import base64
import io
import struct
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from PIL import Image

from deploy.layout import ROOT
from deploy.local.stack import LocalStack
from deploy.torchserve.process import ARCHIVE
from tests.e2e.processes import running_gateway

MIB = 1024 * 1024
JSON, PROBLEM = "application/json", "application/problem+json"
ORIENTATION, TURN_RIGHT = 0x0112, 6
KEY = "row-key-1"
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "open": {"RATE_LIMIT_ENABLED": "false"},
    "keyed": {"API_KEYS": KEY},
    "raised": {
        "RATE_LIMIT_ENABLED": "false",
        "GATEWAY_MAX_FILE_BYTES": str(2 * 5 * MIB),
        "GATEWAY_MAX_BATCH_FILES": "5",
        "GATEWAY_MAX_SIDE_PIXELS": "20000",
        "GATEWAY_MAX_PIXELS": "100000000",
    },
    "down": {
        "RATE_LIMIT_ENABLED": "false",
        "GATEWAY_TORCHSERVE_URL": "http://127.0.0.1:1",
    },
}
"""The gateways in front of the one TorchServe."""
Gateways = Mapping[str, httpx.Client]


@pytest.fixture(scope="module")
def gateways(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    folder, key_file = tmp_path_factory.mktemp("gateways"), str(stack.layout.key_file)
    torchserve = {"GATEWAY_TORCHSERVE_URL": stack.inference_url, "GATEWAY_TORCHSERVE_KEY_FILE": key_file}
    with ExitStack() as closing, ThreadPoolExecutor() as pool:
        starting = [running_gateway(folder / f"{name}.log", **{**torchserve, **own}) for name, own in SETTINGS.items()]
        started = dict(zip(SETTINGS, pool.map(closing.enter_context, starting), strict=True))
        yield {
            name: closing.enter_context(httpx.Client(base_url=each.url, timeout=60, trust_env=False))
            for name, each in started.items()
        }


@dataclass(frozen=True, eq=False)
class Like:
    """Equal to every value that passes the test; where a claim fails, pytest shows its words."""

    words: str
    test: Callable[[Any], object]

    def __eq__(self, other: object) -> bool:
        return bool(self.test(other))

    def __hash__(self) -> int:
        return hash(self.words)

    def __repr__(self) -> str:
        return f"<{self.words}>"


def number(decimals: int, low: float = 0.0, high: float = 1e9) -> Like:
    """A float within bounds and with at most so many decimals."""
    return Like(
        f"{low} to {high}, {decimals} decimals",
        lambda found: isinstance(found, float) and low <= found <= high and round(found, decimals) == found,
    )


def as_kind(kind: str, size: tuple[int, int] = (120, 80), mode: str = "RGB") -> bytes:
    """A plain image in one of Pillow's formats."""
    buffer = io.BytesIO()
    Image.new(mode, size, "white").save(buffer, kind)
    return buffer.getvalue()


def padded(size: int) -> bytes:
    """A JPEG of exactly so many bytes; what lies behind its end marker is not part of the image."""
    return JPEG.ljust(size, b"\0")


def header_alone(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with no pixels behind it."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


JPEG = as_kind("JPEG")
with zipfile.ZipFile(ROOT / "model_store" / ARCHIVE) as archive:
    SPEC: dict[str, Any] = yaml.safe_load(archive.read("model-config.yaml"))["spec"]
VERSION = str(SPEC["version"])
ANYTHING = Like("anything", lambda _: True)
MILLISECONDS = number(1, low=0.1)
VERDICT = {
    "prediction": Like("a class", {"real", "ai_generated"}.__contains__),
    "probability": number(4, high=1.0),
    "confidence": Like("a confidence", {"low", "medium", "high"}.__contains__),
}
PREDICTION: dict[str, object] = {**VERDICT, "inference_time_ms": MILLISECONDS, "model_version": VERSION}
HEATMAP = Like("base64 of a JPEG", lambda found: base64.b64decode(found, validate=True).startswith(b"\xff\xd8\xff"))
EXPLANATION = {**VERDICT, "heatmap_base64": HEATMAP, "inference_time_ms": MILLISECONDS, "model_version": VERSION}
SUPPORTED = "Supported formats: JPEG, PNG, WebP. Got: "
BATCH = {
    "results": [
        {"filename": "photo1.jpg", **VERDICT, "error": None},
        {"filename": "notes.txt", **dict.fromkeys(VERDICT), "error": f"Invalid image format: {SUPPORTED}unknown"},
    ],
    "total": 2,
    "successful": 1,
    "failed": 1,
    "total_inference_time_ms": MILLISECONDS,
    "model_version": VERSION,
}
HEALTHY = {
    "status": "healthy",
    "model_loaded": True,
    "model_version": VERSION,
    "uptime_seconds": number(1),
    "active_requests": 0,
    "drift_detected": ANYTHING,
    "predictions_total": Like("a count", lambda found: type(found) is int),
}
UNHEALTHY = HEALTHY | {"status": "unhealthy", "model_loaded": False, "model_version": "unknown"}
MODEL = {name: SPEC[name] for name in ("base_rate", "operating_point", "true_positive_rate", "false_positive_rate")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INDEX = {"name": PROJECT["name"], "version": PROJECT["version"], "links": ANYTHING}
SAMPLES = Like("Prometheus's text", lambda found: "# TYPE http_requests_total counter\n" in found)
PAGE = Like("a page", lambda found: found.startswith("<!DOCTYPE html>"))


@dataclass(frozen=True)
class Claim:
    """A request to one of the gateways, and the answer that makes the documentation true."""

    says: str
    request: str
    status: int
    body: object = ANYTHING
    files: list[tuple[str, Any]] | None = None
    gateway: str = "open"
    sent: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.says

    def send(self, gateways: Gateways, mount: str = "", **headers: str) -> httpx.Response:
        method, path = self.request.split()
        sent = {"X-Request-ID": "a row of the contract", **self.sent, **headers}
        return gateways[self.gateway].request(method, mount + path, headers=sent, files=self.files)


def in_order(value: object) -> object:
    """JSON with each object as a list of pairs, so that the order of fields counts."""
    if isinstance(value, dict):
        return [(name, in_order(each)) for name, each in value.items()]
    return [in_order(each) for each in value] if isinstance(value, list) else value


def one(image: bytes, name: str = "a.jpg") -> list[tuple[str, Any]]:
    return [("file", (name, image))]


TWO = [("files", ("photo1.jpg", JPEG)), ("files", ("notes.txt", b"not an image"))]
CLAIMS = [
    Claim("predict has exactly these fields, in order", "POST /predict", 200, PREDICTION, one(JPEG)),
    Claim("explain has the heat map before the times", "POST /predict/explain", 200, EXPLANATION, one(JPEG)),
    Claim("in a batch a broken file fails alone", "POST /predict/batch", 200, BATCH, TWO),
    Claim("evidence", "POST /predict?include=evidence", 200, PREDICTION | {"evidence": []}, one(JPEG)),
    Claim("health while an inference can be served", "GET /health", 200, HEALTHY),
    Claim("what a verdict means", "GET /health?include=model", 200, HEALTHY | {"model": MODEL}),
    Claim("health without one", "GET /health", 503, UNHEALTHY, gateway="down"),
    Claim("healthz never looks at the model", "GET /healthz", 200, {"alive": True}, gateway="down"),
    Claim("readyz after a real inference", "GET /readyz", 200, {"ready": True}),
    Claim("readyz without the model server", "GET /readyz", 503, {"ready": False}, gateway="down"),
    Claim("startup once the model has come up", "GET /startup", 200, {"started": True}),
    Claim("the index", "GET /", 200, INDEX),
    Claim("metrics", "GET /metrics", 200, SAMPLES),
    Claim("drift", "GET /drift", 200),
    Claim("privacy", "GET /privacy", 200),
    Claim("the description", "GET /openapi.json", 200),
    Claim("the page of the API", "GET /docs", 200, PAGE),
    Claim("HEAD is GET without the body", "HEAD /health", 200, ""),
    Claim("a file of 5 MB", "POST /predict", 200, PREDICTION, one(padded(5 * MIB))),
    Claim("50 megapixels", "POST /predict", 200, PREDICTION, one(as_kind("PNG", (10_000, 5000), "L"))),
    Claim("50 MB in all", "POST /predict/batch", 200, ANYTHING, [("files", padded(5 * MIB))] * 10),
    Claim("a key opens", "POST /predict", 200, PREDICTION, one(JPEG), "keyed", {"X-API-Key": KEY}),
    *(
        Claim(
            f"a {what} twice over its default, where that is allowed",
            "POST /predict",
            200,
            PREDICTION,
            one(image),
            "raised",
        )
        for what, image in {
            "file": padded(2 * 5 * MIB),
            "long side": as_kind("PNG", (20_000, 30)),
            "number of pixels": as_kind("PNG", (10_000, 10_000), "L"),
        }.items()
    ),
]


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_a_route_answers_as_documented(claim: Claim, gateways: Gateways) -> None:
    answer = claim.send(gateways)
    assert answer.status_code == claim.status, answer.text
    assert answer.headers["x-request-id"] == "a row of the contract"
    assert answer.headers.get("retry-after") == ("5" if claim.status == 503 else None)
    is_json = answer.content and answer.headers["content-type"] == JSON
    assert in_order(answer.json() if is_json else answer.text) == in_order(claim.body)


def test_both_mounts_answer_alike(gateways: Gateways) -> None:
    for claim in CLAIMS[:12]:
        here, there = (claim.send(gateways, mount) for mount in ("", "/v1"))
        assert (there.status_code, there.headers["content-type"]) == (here.status_code, here.headers["content-type"])
        assert list(there.json()) == list(here.json())


TITLES = {
    "not_found": "Not Found",
    "method_not_allowed": "Method Not Allowed",
    "file_too_large": "File too large",
    "unauthorized": "Unauthorized",
    "rate_limited": "Rate limit exceeded",
    "invalid_form": "Invalid form data",
    "missing_file": "Missing file",
    "invalid_image_format": "Invalid image format",
    "invalid_image_dimensions": "Invalid image dimensions",
    "corrupt_image": "Invalid image",
    "service_unavailable": "Service unavailable",
}
FORM = Like("the form", lambda found: found.startswith("The request must be multipart/form-data. Send 1 to 10 "))
RETRY = Like("the rate and the wait", lambda found: found.startswith("At most 5 requests a minute. Please retry in "))
SIDES = "Each side must have 10 to 10000 pixels. Got: 10001x10"
FIELD = "Send exactly one image in the multipart field `file`. Got: `files`"
NO_KEY = "No API key was sent. Send yours in the header X-API-Key."
DOWN = "The model is not available right now. Please retry."
REFUSALS = [
    Claim("not_found", "GET /no", 404, "There is nothing at this path."),
    Claim("method_not_allowed", "GET /predict", 405, "This path does not support this method."),
    Claim("file_too_large", "POST /predict", 413, "Maximum file size: 5 MB", one(padded(5 * MIB + 1))),
    Claim("unauthorized", "POST /predict", 401, NO_KEY, gateway="keyed"),
    Claim("rate_limited", "POST /predict/batch", 429, RETRY, None, "keyed", {"X-API-Key": KEY}),
    Claim("invalid_form", "POST /predict/batch", 400, FORM),
    Claim("missing_file", "POST /predict", 400, FIELD, [("files", JPEG)]),
    Claim("invalid_image_format", "POST /predict", 400, f"{SUPPORTED}image/gif", one(as_kind("GIF"))),
    Claim("invalid_image_dimensions", "POST /predict", 400, SIDES, one(header_alone(10_001, 10))),
    Claim("corrupt_image", "POST /predict/explain", 400, "The image is truncated or corrupt.", one(JPEG[:-200])),
    Claim("service_unavailable", "POST /predict", 503, DOWN, one(JPEG), "down"),
]
"""Each by its code, with its detail as the body."""


@pytest.mark.parametrize("claim", REFUSALS, ids=str)
def test_an_error_says_the_same_in_both_forms(claim: Claim, gateways: Gateways) -> None:
    for _ in range(6 if claim.says == "rate_limited" else 1):
        answer = claim.send(gateways)
    said = {"error": TITLES[claim.says], "detail": claim.body}
    assert (answer.status_code, answer.headers["content-type"]) == (claim.status, JSON)
    assert list(answer.json().items()) == list(said.items())
    answer = claim.send(gateways, Accept=f"{PROBLEM}, */*;q=0.1")
    assert (answer.status_code, answer.headers["content-type"]) == (claim.status, PROBLEM)
    assert answer.headers["x-request-id"] == "a row of the contract"
    assert answer.json() == {
        "type": f"urn:ai-product-photo-detector:error:{claim.says}",
        "title": TITLES[claim.says],
        "status": claim.status,
        "detail": claim.body,
    }


def test_all_three_routes_give_an_image_the_same_probability_and_count_it(gateways: Gateways, coffee: Path) -> None:
    client, image = gateways["open"], coffee.read_bytes()
    before = client.get("/health").json()["predictions_total"]
    batch = client.post("/predict/batch", files=[("files", image), ("files", JPEG)]).json()["results"]
    for path in ("/predict", "/predict/explain"):
        answer = client.post(path, files={"file": image}).json()
        assert answer["probability"] == pytest.approx(batch[0]["probability"], abs=1.01e-4)
    for result in batch:
        distance = round(abs(result["probability"] - 0.5), 4)
        confidence = "high" if distance > 0.3 else "low" if distance < 0.2 else "medium"
        label = "ai_generated" if result["probability"] >= 0.5 else "real"
        assert (result["prediction"], result["confidence"]) == (label, confidence)
    assert client.get("/health").json()["predictions_total"] == before + 4


@pytest.mark.parametrize(("size", "shown"), [((600, 400), (512, 341)), ((120, 80), (120, 80))], ids=str)
def test_the_heat_map_is_upright_and_in_the_images_shape_with_512_pixels_at_most(
    gateways: Gateways, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    width, height = size
    upright, exif, buffer = Image.new("RGB", size, "black"), Image.Exif(), io.BytesIO()
    upright.paste("white", (0, 0, width, height // 2))
    exif[ORIENTATION] = TURN_RIGHT
    upright.transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", exif=exif, quality=95)
    answer = gateways["open"].post("/predict/explain", files={"file": buffer.getvalue()}).json()
    with Image.open(io.BytesIO(base64.b64decode(answer["heatmap_base64"], validate=True))) as heatmap:
        assert (heatmap.format, heatmap.size) == ("JPEG", shown)
        grey, half = np.asarray(heatmap.convert("L")), shown[1] // 2
    assert grey[:half].mean() > grey[-half:].mean()
