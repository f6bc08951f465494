"""TorchServe's side of the detector: the only file that knows TorchServe.

Requests carry the image as their whole body. A verdict is answered as JSON with `prediction`, `probability`,
`confidence`, `model_version`, `model` (base rate and operating point, which tell what the verdict means), `inputs` (the
image's statistics, for drift) and, on TorchServe's explanations route, `heatmap_base64`; an image that cannot be
predicted fails alone with 422 and `{"code": ...}`.
"""

import base64
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from handler import heads
from handler.detector import Detector, Item, Prediction
from handler.engines import Engine, OpenVinoEngine, cpus
from handler.images import DEFAULT_LIMITS, BadImageError, Limits
from handler.spec import ModelSpec

Context = Any  # ts.context.Context, which exists only inside a worker
UNPROCESSABLE = 422
DECISION = ("base_rate", "operating_point", "true_positive_rate", "false_positive_rate")
"""The spec's fields that tell what a verdict means."""
LIMITS = "X-Image-Limits"
"""The header by which the gateway sets its limits: least side, greatest side and most pixels, with commas between."""
GRAPH = "network.xml"
"""The network as OpenVINO reads it, beside its weights in the archive."""


class ProductPhotoDetector:
    """The one class that TorchServe looks for; it keeps the loaded detector between batches."""

    def initialize(self, context: Context) -> None:
        """Load the archive's model and run it once, so that the first client does not pay for warming up."""
        config, properties = context.model_yaml_config, context.system_properties
        folder, spec = Path(properties["model_dir"]), ModelSpec.from_mapping(config["spec"])
        weights, gpu = folder / context.manifest["model"]["serializedFile"], _gpu(properties)
        threads = int(config["threads"]) or cpus()
        torch.set_num_threads(1)  # of Grad-CAM's small sums; the engine has threads of its own
        engine: Engine
        if gpu is None:
            engine = OpenVinoEngine(folder / GRAPH, weights, spec, streams=threads, precision=config["precision"])
        else:
            from handler.network import TorchEngine  # noqa: PLC0415 - timm costs a CPU's worker seconds and memory

            engine = TorchEngine.load(weights, spec, gpu)
        self._detector = Detector(spec, engine, heads.load(weights, spec), threads)
        self._detector.warm_up(int(config["batchSize"]))

    def handle(self, requests: list[dict[str, Any]], context: Context) -> list[dict[str, Any]]:
        """Answer a mixed batch of predictions and explanations, index by index."""
        items = [
            Item(_image(request), explain=_asks_for_explanation(context, index), limits=_limits(context, index))
            for index, request in enumerate(requests)
        ]
        answers = self._detector.predict(items)
        return [self._answer(answer, index, context) for index, answer in enumerate(answers)]

    def _answer(self, found: Prediction | BadImageError, index: int, context: Context) -> dict[str, Any]:
        context.set_response_content_type(index, "application/json")
        if isinstance(found, BadImageError):
            context.set_response_status(UNPROCESSABLE, "Unprocessable Content", index)
            return {"code": found.code}
        spec = self._detector.spec
        model = {name: getattr(spec, name) for name in DECISION}
        answer = asdict(found.verdict) | {"model_version": spec.version, "model": model, "inputs": found.inputs}
        if found.heatmap is not None:
            answer["heatmap_base64"] = base64.b64encode(found.heatmap).decode()
        return answer


def _image(request: dict[str, Any]) -> bytes | bytearray:
    body = request.get("body")
    return body if isinstance(body, bytes | bytearray) else b""  # TorchServe parses JSON and text bodies


def _asks_for_explanation(context: Context, index: int) -> bool:
    return bool(context.get_request_header(index, "explain") == "True")


def _limits(context: Context, index: int) -> Limits:
    """Return the gateway's limits, or the defaults for a caller that sets none."""
    found = re.fullmatch(r"([0-9]{1,9}),([0-9]{1,9}),([0-9]{1,9})", context.get_request_header(index, LIMITS) or "")
    return Limits(*map(int, found.groups())) if found else DEFAULT_LIMITS


def _gpu(properties: dict[str, Any]) -> torch.device | None:
    number = properties.get("gpu_id")
    return torch.device("cuda", int(number)) if torch.cuda.is_available() and number is not None else None
