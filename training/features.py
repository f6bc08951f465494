"""Stage `features`: the class tokens that a frozen transformer gives of every training and dev image.

Each training image comes clean and in seeded degradations, each dev image clean, by the views that serving takes. What
was computed is kept by the hash of image and settings, so that a stopped run goes on and a changed manifest costs
only what is new. An architecture that trains whole has none.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm  # type: ignore[import-untyped]

from handler import engines, transforms
from handler.spec import ModelSpec
from training.data import datamodule, manifest
from training.files import Paths, refusals
from training.model.module import starting_network
from training.params import Params, parse_command_line

Tokens = NDArray[np.float16]
CACHE = Path(".cache/features")
BATCH = 64
"""Variants that are kept at a time."""


def run(params: Params, paths: Paths) -> int:
    """Write the features, safetensors; return the number of images.

    `train` has the shape (N, 1 + copies, V, blocks, C) for V views of each image, the clean ones first; `dev` has
    (M, 1, V, blocks, C); both are float16 and in the manifest's order.

    Raises:
        StageError: The data folder breaks a rule, or the weights that `model.weights` asks for are not to be had.
    """
    paths.run.mkdir(parents=True, exist_ok=True)
    if not params.model.blocks:
        save_file({}, paths.features)
        return 0
    photos = manifest.read_manifest(params.data.root, params.data.manifest)
    pl.seed_everything(params.train.seed, verbose=False)  # random weights are those that the head is trained for
    extractor = _Extractor(params, starting_network(params.model.spec(), params.model.weights).eval())
    train = extractor.run(manifest.of_split(photos, "train"), 1 + params.augment.degraded_copies, "train")
    dev = extractor.run(manifest.of_split(photos, "dev"), 1, "dev")
    save_file({"train": train, "dev": dev}, paths.features)
    return len(train) + len(dev)


class _Extractor:
    """Runs the frozen network over images, in bfloat16 where the CPU has it."""

    def __init__(self, params: Params, network: torch.nn.Module) -> None:
        self.params, self.spec = params, params.model.spec()
        size, streams = self.spec.input_size, engines.cpus()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of tracing
            graph = openvino.convert_model(
                _ClassTokens(network, self.spec).eval(), example_input=torch.zeros(1, size, size, 3, dtype=torch.uint8)
            )
        graph.reshape([1, size, size, 3])
        core = openvino.Core()
        bfloat16 = "BF16" in core.get_property("CPU", openvino.properties.device.capabilities)
        options = {
            openvino.properties.hint.inference_precision: openvino.Type.bf16 if bfloat16 else openvino.Type.f32,
            openvino.properties.inference_num_threads: streams,
            openvino.properties.num_streams: streams,
            openvino.properties.hint.enable_cpu_pinning: False,
        }
        self.queue = openvino.AsyncInferQueue(core.compile_model(graph, "CPU", options), streams)
        self.cache = CACHE / _fingerprint(params, network)

    def run(self, photos: Sequence[manifest.Photo], variants: int, name: str) -> Tokens:
        """Return the tokens of images, shape (N, variants, V, blocks, C)."""
        dataset = _Variants(self.params, photos, variants, self.cache)
        workers = self.params.data.num_workers
        loader = DataLoader(dataset, batch_size=None, num_workers=workers, prefetch_factor=8 if workers else None)
        found: dict[tuple[int, int], Tokens] = {}
        files = []
        self.queue.set_callback(
            lambda request, place: found.update({place: request.get_output_tensor(0).data[0].astype(np.float16)})
        )
        waiting: list[tuple[Path, int, int]] = []
        for index, (file, pixels) in enumerate(tqdm(loader, f"features of {name}", unit="image", mininterval=5)):
            files.append(Path(file))
            for view in range(len(pixels)):
                self.queue.start_async([pixels[view : view + 1].numpy()], (index, view))
            if len(pixels):
                waiting.append((Path(file), index, len(pixels)))
            if len(waiting) == BATCH:
                self._keep(waiting, found)
        self._keep(waiting, found)
        tokens = np.stack([np.load(file) for file in files])
        return tokens.reshape(len(photos), variants, *tokens.shape[1:])

    def _keep(self, waiting: list[tuple[Path, int, int]], found: dict[tuple[int, int], Tokens]) -> None:
        self.queue.wait_all()
        for file, index, views in waiting:
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".partial.npy")
            np.save(partial, np.stack([found.pop((index, view)) for view in range(views)]))
            partial.replace(file)
        waiting.clear()


class _ClassTokens(torch.nn.Module):
    """From pixels to the class tokens after every block."""

    network: Any  # FrozenTransformer, which has more than an nn.Module

    def __init__(self, network: torch.nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.network, self.spec = network, spec

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return shape (N, blocks, C) of uint8 pixels of shape (N, H, W, 3)."""
        tokens: torch.Tensor = self.network.class_tokens(transforms.normalise(pixels, self.spec))
        return tokens


class _Variants(Dataset[tuple[str, torch.Tensor]]):
    """Pairs of the file where a variant's tokens are kept, and its views' pixels; none of these if the file exists."""

    def __init__(self, params: Params, photos: Sequence[manifest.Photo], variants: int, cache: Path) -> None:
        self.root, self.spec = params.data.root, params.model.spec()
        self.degrade = datamodule.degradations(params.augment)
        self.photos, self.variants, self.cache = photos, variants, cache
        kept = asdict(params.augment) | {"degraded_copies": None, "degraded_weight": None}
        self.degradation = hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:8]

    def __len__(self) -> int:
        return len(self.photos) * self.variants

    def __getitem__(self, index: int) -> tuple[str, torch.Tensor]:
        photo, variant = self.photos[index // self.variants], index % self.variants
        digest = hashlib.sha256((self.root / photo.path).read_bytes()).hexdigest()
        name = f"{digest}-{self.degradation}-{variant}.npy" if variant else f"{digest}.npy"
        file = self.cache / digest[:2] / name
        if file.exists():
            return str(file), torch.empty(0)
        picture = manifest.read_photo(self.root, photo)
        with torch.random.fork_rng([]):
            torch.manual_seed(int(digest[:8], 16) + variant)
            picture = self.degrade(picture) if variant else picture
        return str(file), torch.cat(list(transforms.to_pixels(picture, self.spec)))


def _fingerprint(params: Params, network: torch.nn.Module) -> str:
    """Return what tells these views and weights from others."""
    model = params.model
    views = [model.input_size, model.trim_canvas, model.crop_pct, model.details, model.detail_size]
    digest = hashlib.sha256(json.dumps([model.architecture, model.blocks, *views]).encode())
    for name, tensor in sorted(network.state_dict().items()):
        if not name.startswith("head.classifier"):
            digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def main() -> None:
    """Run the stage from the command line."""
    params, paths, _ = parse_command_line("features")
    with refusals("features"):  # no run in MLflow: the training that follows starts one
        count = run(params, paths)
    print(f"features of {count} images in {paths.features}" if count else "no features: the architecture trains whole")


if __name__ == "__main__":
    main()
