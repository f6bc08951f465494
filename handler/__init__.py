"""What runs inside TorchServe: bytes to image, image to tensor, tensor to verdict and heat map."""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO would report its use on the web
