"""A plain service as such models are often served: one process, the network in eager float32, in the event loop.

`python -m benchmarks.baseline --port 8000 --sides 224`. It says nothing about images, its weights are random; it does
the work of decoding, scaling and predicting one view of each side.
"""

import argparse
import io
from collections.abc import Sequence

import timm
import torch
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from torchvision import transforms

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def create_app(sides: Sequence[int]) -> Starlette:
    """Return the service: the mean logit of a view of each side in pixels, taken one after the other."""
    model = timm.create_model("efficientnet_b0", num_classes=1).eval()
    rest = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    views = [transforms.Compose([transforms.Resize((side, side)), *rest]) for side in sides]

    async def predict(request: Request) -> JSONResponse:
        async with request.form() as form:
            upload = form["file"]
            data = await upload.read() if isinstance(upload, UploadFile) else b""
        with Image.open(io.BytesIO(data)) as opened:
            image = opened.convert("RGB")
        with torch.inference_mode():
            logits = [model(view(image).unsqueeze(0)) for view in views]
            probability = float(torch.stack(logits).mean().sigmoid())
        return JSONResponse({"probability": round(probability, 4)})

    async def healthz(_request: Request) -> JSONResponse:
        return JSONResponse({"alive": True})

    return Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/healthz", healthz)])


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.baseline", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--sides", type=int, nargs="+", default=[224], help="side of every view in pixels")
    arguments = parser.parse_args()
    uvicorn.run(create_app(arguments.sides), port=arguments.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
