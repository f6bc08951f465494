"""The archive that ships, in this checkout's handler: one verdict for what looks the same, and a bound on memory."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from handler.torchserve_entry import ProductPhotoDetector
from tests.handler.pictures import coffee, encode, orientation, stored_for
from tests.handler.pngs import RGB, png
from tests.handler.profiles import SPACES, rgb_profile, stored_in
from tests.handler.test_torchserve_entry import Context

pytestmark = pytest.mark.slow

ARCHIVE = Path("model_store/product-photo-detector.mar")


def unpacked(folder: Path) -> Context:
    """What a worker is given with the archive."""
    with zipfile.ZipFile(ARCHIVE) as packed:
        packed.extractall(folder)
    manifest = json.loads((folder / "MAR-INF/MANIFEST.json").read_text(encoding="utf-8"))
    config = yaml.safe_load((folder / "model-config.yaml").read_text(encoding="utf-8"))
    return Context(config, manifest, {"model_dir": str(folder), "gpu_id": None, "batch_size": config["batchSize"]})


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return unpacked(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def service(context: Context) -> Iterator[ProductPhotoDetector]:
    before = torch.get_num_threads()
    service = ProductPhotoDetector()
    service.initialize(context)
    yield service
    torch.set_num_threads(before)


def saved_alike(photo: Image.Image) -> Mapping[str, bytes]:
    """A photo in ways that look the same."""
    spaces = {
        name: encode(stored_in(space, photo), "PNG", icc_profile=rgb_profile(space)) for name, space in SPACES.items()
    }
    deep = np.asarray(photo).astype(np.uint16) * 257
    return {
        **{name: spaces[name] for name in ("Display P3", "Adobe RGB", "ProPhoto RGB")},
        "16-bit PNG": png(deep, RGB, 16, {}),
        "interlaced": png(np.asarray(photo).astype(np.uint16), RGB, 8, {}, interlaced=True),
        "WebP": encode(photo, "WEBP", lossless=True),
        "orientation 6": encode(stored_for(photo, 6), "PNG", exif=orientation(6)),
        "RGBA": encode(photo.convert("RGBA"), "PNG"),
        "CMYK": encode(photo.convert("CMYK"), "JPEG", quality=100),
    }


@pytest.mark.parametrize("colours", [None, 256], ids=["photo", "256 colours"])
def test_a_photo_saved_in_many_ways_has_one_probability(
    service: ProductPhotoDetector, context: Context, colours: int | None
) -> None:
    photo = Image.open(coffee()).convert("RGB")
    if colours:
        photo = photo.quantize(colours).convert("RGB")
    ways = {"sRGB": encode(photo, "PNG"), **saved_alike(photo)}
    if colours:
        ways["palette"] = encode(photo.quantize(colours, dither=Image.Dither.NONE), "PNG")
    found = probabilities(service, context, ways)
    bounds = dict.fromkeys(found, 0.02) | {"CMYK": 0.05}
    assert {way: value for way, value in found.items() if abs(value - found["sRGB"]) >= bounds[way]} == {}, found


def test_a_jpeg_without_its_end_has_the_probability_of_the_whole(
    service: ProductPhotoDetector, context: Context
) -> None:
    photo = Image.open(coffee()).convert("RGB")
    for options in ({}, {"progressive": True}):
        whole = encode(photo, "JPEG", quality=95, **options)
        found = probabilities(service, context, {"whole": whole, "cut": whole[:-2], "zeros": whole[:-2] + b"\0\0"})
        assert len({*found.values()}) == 1


def probabilities(service: ProductPhotoDetector, context: Context, ways: Mapping[str, bytes]) -> dict[str, float]:
    context.headers = [{}]
    answers: list[dict[str, Any]] = [service.handle([{"body": data}], context)[0] for data in ways.values()]
    return {way: answer["probability"] for way, answer in zip(ways, answers, strict=True)}


WORKER = """
import io, json, re, sys, threading, time
from pathlib import Path
from PIL import Image
from handler.torchserve_entry import ProductPhotoDetector
from tests.handler.test_served import unpacked

def kilobytes(name):
    return int(re.search(rf"{name}:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def watch():
    while True:
        peaks.append(kilobytes("RssAnon"))
        time.sleep(0.01)

context, service, peaks = unpacked(Path(sys.argv[1])), ProductPhotoDetector(), []
service.initialize(context)
buffer = io.BytesIO()
Image.new("RGBA", (10_000, 5_000), (200, 30, 20, 128)).save(buffer, "PNG", compress_level=1)
before = kilobytes("RssAnon")
threading.Thread(target=watch, daemon=True).start()
context.headers = [{"explain": "True"}] * 4
answers = service.handle([{"body": buffer.getvalue()}] * 4, context)
assert all("heatmap_base64" in answer for answer in answers)
print(json.dumps({"before": before >> 10, "peak": max(peaks) >> 10, "after": kilobytes("RssAnon") >> 10}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that tells")
def test_a_batch_of_the_largest_images_keeps_a_worker_below_one_gigabyte(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    taken = json.loads(done.stdout.splitlines()[-1])
    assert taken["peak"] < 1000, taken
    assert taken["after"] - taken["before"] < 100, taken
