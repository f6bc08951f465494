"""Every answer that takes the model that ships; tests/gateway has the other routes and refusals."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
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
JSON = "application/json"
ORIENTATION, TURN_RIGHT = 0x0112, 6
SETTINGS = {
    "raised": {
        "GATEWAY_MAX_FILE_BYTES": str(2 * 5 * MIB),
        "GATEWAY_MAX_BATCH_FILES": "5",
        "GATEWAY_MAX_PIXELS": "100000000",
    },
    "down": {"GATEWAY_TORCHSERVE_URL": "http://127.0.0.1:1"},
}
"""The gateways beside the stack's own."""
Gateways = Mapping[str, httpx.Client]


@pytest.fixture(scope="module")
def gateways(
    stack: LocalStack, torchserve: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateways]:
    folder = tmp_path_factory.mktemp("gateways")
    with ExitStack() as closing, ThreadPoolExecutor() as pool:
        starting = [running_gateway(folder / f"{name}.log", **torchserve | own) for name, own in SETTINGS.items()]
        urls = [stack.gateway_url, *(gateway.url for gateway in pool.map(closing.enter_context, starting))]
        yield {
            name: closing.enter_context(httpx.Client(base_url=url, timeout=60, trust_env=False))
            for name, url in zip(("stack", *SETTINGS), urls, strict=True)
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
DOWN = {"error": "Service unavailable", "detail": "The model is not available right now. Please retry."}
CORRUPT = {"error": "Invalid image", "detail": "The image is truncated or corrupt."}


@dataclass(frozen=True)
class Claim:
    """A request to one of the gateways, and the answer that makes the documentation true."""

    says: str
    request: str
    status: int
    body: object
    files: list[tuple[str, Any]] | None = None
    gateway: str = "stack"

    def __str__(self) -> str:
        return self.says


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
    Claim("pixels that end too soon", "POST /predict/explain", 400, CORRUPT, one(JPEG[:-200])),
    Claim("no model server", "POST /predict", 503, DOWN, one(JPEG), "down"),
    Claim("health while an inference can be served", "GET /health", 200, HEALTHY),
    Claim("what a verdict means", "GET /health?include=model", 200, HEALTHY | {"model": MODEL}),
    Claim("health without one", "GET /health", 503, UNHEALTHY, gateway="down"),
    Claim("readyz after a real inference", "GET /readyz", 200, {"ready": True}),
    Claim("startup once the model has come up", "GET /startup", 200, {"started": True}),
    Claim("a file of 5 MB", "POST /predict", 200, PREDICTION, one(padded(5 * MIB))),
    Claim("50 megapixels", "POST /predict", 200, PREDICTION, one(as_kind("PNG", (10_000, 5000), "L"))),
    Claim("50 MB in all", "POST /predict/batch", 200, ANYTHING, [("files", padded(5 * MIB))] * 10),
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
def test_an_answer_is_as_documented(claim: Claim, gateways: Gateways) -> None:
    method, path = claim.request.split()
    sent = {"X-Request-ID": "a row of the contract"}
    answer = gateways[claim.gateway].request(method, path, headers=sent, files=claim.files)
    assert (answer.status_code, answer.headers["content-type"]) == (claim.status, JSON), answer.text
    assert answer.headers["x-request-id"] == "a row of the contract"
    assert answer.headers.get("retry-after") == ("5" if claim.status == 503 else None)
    assert in_order(answer.json()) == in_order(claim.body)


def test_all_three_routes_give_an_image_the_same_probability_and_count_it(gateways: Gateways, coffee: Path) -> None:
    client, image = gateways["stack"], coffee.read_bytes()
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
    answer = gateways["stack"].post("/predict/explain", files={"file": buffer.getvalue()}).json()
    with Image.open(io.BytesIO(base64.b64decode(answer["heatmap_base64"], validate=True))) as heatmap:
        assert (heatmap.format, heatmap.size) == ("JPEG", shown)
        grey, half = np.asarray(heatmap.convert("L")), shown[1] // 2
    assert grey[:half].mean() > grey[-half:].mean()
