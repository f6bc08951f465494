"""What an engine is, the one that serves on CPUs (OpenVINO, from the archive's graph), and how many CPUs there are."""

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import openvino
import torch
from openvino import passes, properties

from handler.spec import ModelSpec
from handler.transforms import Pixels

CONSTANTS: Final = ".bin"
"""Suffix of the file beside the graph with the few numbers that are not in the weights."""
PRECISIONS: Final = {"f32": openvino.Type.f32, "bf16": openvino.Type.bf16, "int8": openvino.Type.f32}
"""What is computed in; in int8, whatever is not a product with int8 weights."""
INT8_GROUP: Final = 128
"""Channels of an input that share a scale when they are rounded to int8: more are faster, fewer nearer to float32."""
AUTO: Final = "auto"
CPUINFO: Final = Path("/proc/cpuinfo")
CGROUP: Final = Path("/sys/fs/cgroup/cpu.max")
"""A container's share of CPU time: microseconds, or `max`, of a period in microseconds."""


@dataclass(frozen=True)
class Forward:
    """What the network makes of an image: the mean logit of its views, and their last feature maps if wanted.

    Attributes:
        logit: Before calibration.
        features: For each size of view float32 of shape (V, C, h, w).
    """

    logit: float
    features: Sequence[torch.Tensor] = ()


class Engine(Protocol):
    """Runs the network; not to be shared between threads."""

    def run(self, images: Sequence[Pixels], keep_features: Sequence[bool]) -> list[Forward]:
        """Return a forward for each image; features are kept of those that want them."""


@dataclass
class _Views:
    """The logits and features of an image's views of one size, by the view's place."""

    keep_features: bool
    logits: dict[int, float] = field(default_factory=dict)
    features: dict[int, torch.Tensor] = field(default_factory=dict)


class OpenVinoEngine:
    """Runs one view after the other, and as many at a time as it has streams of one thread each.

    A view alone keeps a core's caches warm and needs no barrier between threads, so this is as fast as a batch, its
    shape is always the same, and a core that another process takes holds up nobody else.
    """

    def __init__(
        self, graph: Path, weights: Path, spec: ModelSpec, *, streams: int = 1, precision: str = "f32"
    ) -> None:
        """Compile the graph with its weights, a safetensors file, for each size of view.

        `auto` takes the fastest precision that the graph and this CPU have.

        Raises:
            ValueError: The precision is none of these, or int8 and the network has no int8 weights.
        """
        int8 = 'element_type="i8"' in graph.read_text(encoding="utf-8")
        if precision == AUTO:
            precision = fastest(int8=int8)
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join([AUTO, *PRECISIONS])}, not {precision!r}")
        if precision == "int8" and not int8:
            raise ValueError("precision int8 needs a network with int8 weights, and this one has none")
        self.precision = precision
        sides = [spec.input_size, spec.detail_size] if spec.details else [spec.input_size]
        numbers = openvino.Tensor(
            np.frombuffer(weights.read_bytes() + graph.with_suffix(CONSTANTS).read_bytes(), np.uint8)
        )
        queues = {side: _compile(graph, numbers, side, streams, precision) for side in set(sides)}
        self._queues = [queues[side] for side in sides]

    def run(self, images: Sequence[Pixels], keep_features: Sequence[bool]) -> list[Forward]:
        """Return a forward for each image; see `Engine`."""
        found = [[_Views(keep) for _ in self._queues] for keep in keep_features]
        for image, sizes in zip(images, found, strict=True):
            for pixels, views, queue in zip(image, sizes, self._queues, strict=True):
                for place in range(len(pixels)):
                    queue.start_async([pixels[place : place + 1].numpy()], (views, place), share_inputs=True)
        for queue in self._queues:
            queue.wait_all()
        return [_forward(sizes) for sizes in found]


def fastest(*, int8: bool, cpuinfo: Path = CPUINFO) -> str:
    """Return the fastest precision that the CPU has, of int8 if there are weights for it, bf16 and f32."""
    flags: set[str] = set()
    with suppress(OSError):  # not Linux
        flags.update(*(line.split() for line in cpuinfo.read_text(encoding="utf-8").splitlines() if "flags" in line))
    if int8 and flags & {"avx512_vnni", "avx_vnni", "amx_int8"}:
        return "int8"
    return "bf16" if flags & {"avx512_bf16", "amx_bf16"} else "f32"


def _compile(
    graph: Path, numbers: openvino.Tensor, side: int, streams: int, precision: str
) -> openvino.AsyncInferQueue:
    core = _core()
    model = core.read_model(graph.read_text(encoding="utf-8"), numbers)
    model.reshape([1, side, side, 3])
    if precision != "int8":  # int8 weights become floats once, or OpenVINO would unpack them in every forward
        folding = passes.Manager()
        folding.register_pass(passes.ConstantFolding())
        folding.run_passes(model)
    options = {
        properties.hint.inference_precision: PRECISIONS[precision],
        properties.inference_num_threads: streams,
        properties.num_streams: streams,
        properties.hint.enable_cpu_pinning: False,  # else all workers share the first cores
        properties.hint.dynamic_quantization_group_size: INT8_GROUP if precision == "int8" else 0,
    }
    queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", options), streams)
    queue.set_callback(_collect)
    return queue


@cache
def _core() -> openvino.Core:
    """Return the process's one core: each sets a stack for signals, which goes with it though still in use."""
    return openvino.Core()


def _collect(request: openvino.InferRequest, view: tuple[_Views, int]) -> None:
    views, place = view
    views.logits[place] = float(request.get_output_tensor(0).data.item())
    if views.keep_features:
        views.features[place] = torch.from_numpy(request.get_output_tensor(1).data.copy())


def _forward(sizes: Sequence[_Views]) -> Forward:
    logits = [logit for views in sizes for logit in views.logits.values()]
    features = [
        torch.cat([views.features[place] for place in sorted(views.features)]) for views in sizes if views.features
    ]
    return Forward(sum(logits) / len(logits), features)


def cpus(cgroup: Path = CGROUP) -> int:
    """Return the number of CPUs that this process may run on, or fewer if its container has less of their time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text(encoding="ascii").split()
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or one without a limit
        return allowed
