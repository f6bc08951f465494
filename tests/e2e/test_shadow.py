"""Two versions of the model in one TorchServe: the live one answers, the other is compared with it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageOps

from deploy.layout import HOST, ROOT
from deploy.local.stack import LocalStack
from deploy.torchserve.process import ARCHIVE
from handler.spec import ModelSpec, log_odds
from tests.e2e.processes import Gateway, running_gateway, until
from tests.gateway.test_metrics import parsed
from training.files import unpack
from training.package import build_archive

MODEL = "product-photo-detector"
VERSION = "9.9.9"
UNIT = 1.01e-4  # of the 4th decimal: a batch of another size may round the other way


@pytest.fixture(scope="module")
def images(coffee: Path) -> list[bytes]:
    """Two photographs that the model thinks differently of: the coffee cup, and the same in inverted colours."""
    with Image.open(coffee) as image:
        return [_jpeg(image.convert("RGB")), _jpeg(ImageOps.invert(image.convert("RGB")))]


@pytest.fixture(scope="module")
def gateway(
    stack: LocalStack, torchserve: dict[str, str], images: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway beside whose live version is the same as another one, which flags one more of both images, or less."""
    folder = tmp_path_factory.mktemp("shadow")
    fields, weights = unpack(ROOT / "model_store" / ARCHIVE, folder)
    spec = ModelSpec.from_mapping(fields)
    live = [_post(stack.gateway_url, "/predict", image).json() for image in images]
    low, high = sorted(log_odds(answer["probability"]) for answer in live)
    cut = (low + high) / 2 if live[0]["prediction"] == live[1]["prediction"] else low - 1
    other = replace(spec, version=VERSION, offset=spec.offset + cut * spec.temperature)
    archive = build_archive(other, weights, stack.layout.store / f"{MODEL}-{VERSION}.mar")
    settings = {**torchserve, "SHADOW_VERSION": VERSION, "GATEWAY_SHADOW_FRACTION": "1"}
    headers = {"Authorization": f"Bearer {stack.token('management')}"}
    url = f"http://{HOST}:{stack.ports.management}"
    query = {"url": archive.name, "model_name": MODEL, "initial_workers": "1", "synchronous": "true"}
    with httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False) as management:
        management.post("/models", params=query).raise_for_status()
        try:
            with running_gateway(folder / "gateway.log", **settings) as started:
                yield started
        finally:
            management.delete(f"/models/{MODEL}/{VERSION}").raise_for_status()


def test_both_versions_predict_what_clients_send_and_are_compared(
    gateway: Gateway, images: list[bytes], inference: httpx.Client
) -> None:
    paths = (f"/predictions/{MODEL}", f"/predictions/{MODEL}/{VERSION}")
    direct = [[inference.post(path, content=image).json() for path in paths] for image in images]
    agreements, differences = [], []
    for image, (live, shadow) in zip(images, direct, strict=True):
        body = _post(gateway.url, "/predict/compare", image).raise_for_status().json()
        assert list(body) == ["primary", "shadow", "agreement", "difference", "message"]
        assert list(body["primary"]) == list(body["shadow"])
        for said, expected in ((body["primary"], live), (body["shadow"], shadow)):
            assert said.pop("inference_time_ms") > 0
            assert said.pop("probability") == pytest.approx(expected["probability"], abs=UNIT)
            assert said.items() <= expected.items()
        assert body["shadow"]["model_version"] == VERSION != body["primary"]["model_version"]
        differences.append(abs(shadow["probability"] - live["probability"]))
        assert body["difference"] == pytest.approx(differences[-1], abs=2 * UNIT)
        assert body["message"] is None
        agreements.append(body["agreement"])
    assert sorted(agreements) == [False, True]

    predicted = "aidetect_prediction_latency_seconds_count"
    before = _metrics(gateway)
    answers = [_post(gateway.url, "/predict", image).json() for image in images]
    assert {answer["model_version"] for answer in answers} == {direct[0][0]["model_version"]}
    until(lambda: _metrics(gateway)["aidetect_shadow_latency_seconds_count", ()] == 2)
    found = _metrics(gateway)
    samples = {result[0]: value for (name, result), value in found.items() if name == "aidetect_shadow_samples_total"}
    assert samples == {"agreement": 1, "disagreement": 1, "error": 0, "dropped": 0}
    assert found["aidetect_shadow_difference_count", ()] == 2
    assert found["aidetect_shadow_difference_sum", ()] == pytest.approx(sum(differences), abs=4 * UNIT)
    assert found["aidetect_model_info", (direct[0][0]["model_version"],)] == 1
    assert found[predicted, ()] - before[predicted, ()] == 2  # the shadow's predictions count in nothing else


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _post(url: str, path: str, image: bytes) -> httpx.Response:
    return httpx.post(f"{url}{path}", files={"file": image}, timeout=60, trust_env=False)


def _metrics(gateway: Gateway) -> dict[tuple[str, tuple[str, ...]], float]:
    return parsed(httpx.get(f"{gateway.url}/metrics", timeout=60, trust_env=False).text)
