"""TorchServe's side of the detector: the only file that knows TorchServe.

Requests carry the picture as their whole body. A verdict is answered as JSON with `prediction`, `probability`,
`confidence`, `model_version` and, on TorchServe's explanations route, `heatmap_base64`; a picture that cannot be judged
fails alone with 422 and `{"code": ...}`.
"""

from __future__ import annotations

import base64
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from handler.detector import Detector, Item, Judged
from handler.images import BadImageError
from handler.spec import ModelSpec

Context = Any  # ts.context.Context, which exists only inside a worker
UNPROCESSABLE = 422


class ProductPhotoDetector:
    """The one class that TorchServe looks for; it keeps the loaded detector between batches."""

    def initialize(self, context: Context) -> None:
        """Load the archive's model and run it once, so that the first client does not pay for warming up."""
        config, properties = context.model_yaml_config, context.system_properties
        torch.set_num_threads(int(config["threads"]))
        weights = Path(properties["model_dir"]) / context.manifest["model"]["serializedFile"]
        self._detector = Detector.load(ModelSpec.from_mapping(config["spec"]), weights, _device(properties))
        self._detector.warm_up()

    def handle(self, requests: list[dict[str, Any]], context: Context) -> list[dict[str, Any]]:
        """Answer a mixed batch of predictions and explanations, index by index."""
        items = [
            Item(_picture(request), explain=_asks_for_explanation(context, index))
            for index, request in enumerate(requests)
        ]
        return [self._answer(judged, index, context) for index, judged in enumerate(self._detector.judge(items))]

    def _answer(self, judged: Judged | BadImageError, index: int, context: Context) -> dict[str, Any]:
        context.set_response_content_type(index, "application/json")
        if isinstance(judged, BadImageError):
            context.set_response_status(UNPROCESSABLE, "Unprocessable Content", index)
            return {"code": judged.code}
        answer = asdict(judged.verdict) | {"model_version": self._detector.spec.version}
        if judged.heatmap is not None:
            answer["heatmap_base64"] = base64.b64encode(judged.heatmap).decode()
        return answer


def _picture(request: dict[str, Any]) -> bytes | bytearray:
    body = request.get("body")
    return body if isinstance(body, bytes | bytearray) else b""  # TorchServe parses JSON and text bodies


def _asks_for_explanation(context: Context, index: int) -> bool:
    return bool(context.get_request_header(index, "explain") == "True")


def _device(properties: dict[str, Any]) -> torch.device:
    gpu = properties.get("gpu_id")
    return torch.device("cuda", int(gpu)) if torch.cuda.is_available() and gpu is not None else torch.device("cpu")
