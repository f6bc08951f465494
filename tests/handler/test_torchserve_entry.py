import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from handler.detector import Detector, Item, Prediction
from handler.images import decode
from handler.spec import ModelSpec
from handler.statistics import measure
from handler.torchserve_entry import ProductPhotoDetector
from tests.handler.pictures import encode, photo

PHOTO = encode(photo(96, 64), "JPEG")
OTHER = encode(Image.new("RGB", (40, 60), "teal"), "PNG")


@dataclass
class Context:
    """What a worker hands over: `ts.context.Context`, as far as a handler may know it."""

    model_yaml_config: dict[str, Any]
    manifest: dict[str, Any]
    system_properties: dict[str, Any]
    headers: list[dict[str, str]] = field(default_factory=list)
    statuses: dict[int, tuple[int, str]] = field(default_factory=dict)
    content_types: dict[int, str] = field(default_factory=dict)

    def get_request_header(self, idx: int, key: str) -> str | None:
        return self.headers[idx].get(key)

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        self.statuses[idx] = (code, phrase)

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.content_types[idx] = value


def new_context(spec: ModelSpec, folder: Path) -> Context:
    return Context(
        model_yaml_config={"batchSize": 4, "threads": 2, "precision": "f32", "spec": spec.to_mapping()},
        manifest={"model": {"serializedFile": "model.safetensors", "modelVersion": "9.9.9"}},
        system_properties={"model_dir": str(folder), "gpu_id": None, "batch_size": 4},
    )


@pytest.fixture(scope="module", autouse=True)
def _threads() -> Iterator[None]:
    """A worker takes one thread for PyTorch; the tests after these get theirs back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def context(spec: ModelSpec, model_folder: Path) -> Context:
    return new_context(spec, model_folder)


@pytest.fixture(scope="module")
def service(spec: ModelSpec, model_folder: Path) -> ProductPhotoDetector:
    service = ProductPhotoDetector()
    service.initialize(new_context(spec, model_folder))
    return service


def test_a_prediction_has_the_documented_fields(
    service: ProductPhotoDetector, context: Context, detector: Detector
) -> None:
    context.headers = [{}]
    predicted = detector.predict([Item(PHOTO)])[0]
    assert isinstance(predicted, Prediction)
    assert service.handle([{"body": bytearray(PHOTO)}], context) == [
        {
            "prediction": predicted.verdict.prediction,
            "probability": predicted.verdict.probability,
            "confidence": predicted.verdict.confidence,
            "model_version": "9.9.9",
            "model": {
                "base_rate": 0.5,
                "operating_point": "",
                "true_positive_rate": None,
                "false_positive_rate": None,
            },
            "inputs": measure(decode(PHOTO), len(PHOTO)),
        }
    ]
    assert (context.content_types, context.statuses) == ({0: "application/json"}, {})


def test_an_explanation_carries_a_jpeg_besides(service: ProductPhotoDetector, context: Context) -> None:
    context.headers = [{"explain": "True"}]
    answer = service.handle([{"body": PHOTO}], context)[0]
    assert set(answer) == {
        "prediction",
        "probability",
        "confidence",
        "model_version",
        "model",
        "inputs",
        "heatmap_base64",
    }
    heatmap = Image.open(BytesIO(base64.b64decode(answer["heatmap_base64"], validate=True)))
    assert (heatmap.format, heatmap.size) == ("JPEG", (96, 64))


def test_a_mixed_batch_is_answered_index_by_index(service: ProductPhotoDetector, context: Context) -> None:
    context.headers = [{}, {"explain": "True"}, {"explain": "True"}, {"explain": "False"}]
    requests = [{"body": PHOTO}, {"body": PHOTO[:300]}, {"body": OTHER}, {"body": b"text"}]
    answers = service.handle(requests, context)
    assert [
        sorted(set(answer) - {"confidence", "inputs", "model_version", "model", "probability"}) for answer in answers
    ] == [
        ["prediction"],
        ["code"],
        ["heatmap_base64", "prediction"],
        ["code"],
    ]
    assert (answers[1], answers[3]) == ({"code": "corrupt_image"}, {"code": "unsupported_format"})
    assert context.statuses == {1: (422, "Unprocessable Content"), 3: (422, "Unprocessable Content")}
    assert context.content_types == dict.fromkeys(range(4), "application/json")


@pytest.mark.parametrize("request_", [{}, {"body": {"a": 1}}, {"body": "text"}, {"data": PHOTO}, {"body": None}])
def test_a_request_without_a_picture_as_its_body_fails_alone(
    service: ProductPhotoDetector, context: Context, request_: dict[str, Any]
) -> None:
    context.headers = [{}, {}]
    answers = service.handle([request_, {"body": PHOTO}], context)
    assert answers[0] == {"code": "unsupported_format"}
    assert "prediction" in answers[1]
    assert context.statuses == {0: (422, "Unprocessable Content")}


@pytest.mark.parametrize(
    ("said", "status"),
    [("10,60,50000", None), ("10,50,50000", 422), ("10,60,2000", 422), ("10,50", None), ("a,b,c", None), ("", None)],
)
def test_the_gateways_limits_hold_and_none_or_nonsense_is_the_defaults(
    service: ProductPhotoDetector, context: Context, said: str, status: int | None
) -> None:
    context.headers = [{"X-Image-Limits": said}]
    service.handle([{"body": OTHER}], context)
    assert context.statuses.get(0, (None,))[0] == status


def test_an_unknown_precision_is_refused_at_the_start(context: Context) -> None:
    context.model_yaml_config["precision"] = "int3"
    with pytest.raises(ValueError, match="precision must be one of auto, f32, bf16, int8, not 'int3'"):
        ProductPhotoDetector().initialize(context)


@pytest.mark.slow
def test_a_worker_on_a_cpu_does_without_the_training_library(spec: ModelSpec, model_folder: Path) -> None:
    """Importing timm would cost each worker 0.2 GB and four seconds."""
    script = """
import json, sys
from types import SimpleNamespace
from handler.torchserve_entry import ProductPhotoDetector
config, folder = json.loads(sys.argv[1]), sys.argv[2]
ProductPhotoDetector().initialize(SimpleNamespace(
    model_yaml_config=config,
    manifest={"model": {"serializedFile": "model.safetensors"}},
    system_properties={"model_dir": folder, "gpu_id": None},
))
print([name for name in ("timm", "torchvision") if name in sys.modules])
"""
    config = json.dumps(new_context(spec, model_folder).model_yaml_config)
    command = [sys.executable, "-c", script, config, str(model_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
