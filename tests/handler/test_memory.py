"""What the largest images cost a worker, measured in processes of their own."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import io, json, resource, sys, threading
from PIL import Image
from handler.images import reduced

TURNED = bytes.fromhex("45786966000049492a00080000000100120103000100000006000000")
WAYS = {
    "RGBA PNG": ("RGBA", "PNG", {"compress_level": 1}),
    "palette PNG": ("P", "PNG", {}),
    "grey PNG": ("I;16", "PNG", {}),
    "progressive JPEG": ("RGB", "JPEG", {"progressive": True, "subsampling": 0, "exif": TURNED}),
    "CMYK JPEG": ("CMYK", "JPEG", {}),
    "WebP": ("RGB", "WEBP", {"quality": 1, "method": 0}),
}
mode, kind, options = WAYS[sys.argv[1]]
buffer = io.BytesIO()
Image.new(mode, (10_000, 5_000), 77).save(buffer, kind, **options)
data, small = buffer.getvalue(), lambda picture: picture.resize((224, 224))


def resident(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) // 1024


once = io.BytesIO()
Image.new(mode, (10, 10)).save(once, kind, **options)
reduced(once.getvalue(), small)  # what is imported and allocated once
before = resident("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
threads = [threading.Thread(target=reduced, args=(data, small)) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps({"peak": resident("VmHWM") - before, "kept": resident("VmRSS") - before}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that tells")
@pytest.mark.parametrize(
    ("way", "most"),
    [
        ("RGBA PNG", 450),
        ("palette PNG", 300),
        ("grey PNG", 350),
        ("progressive JPEG", 550),
        ("CMYK JPEG", 550),
        ("WebP", 700),
    ],
)
def test_two_of_the_largest_images_at_once_take_the_room_of_one(way: str, most: int) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, way], check=True, capture_output=True, text=True, timeout=300)
    taken = json.loads(done.stdout)
    assert taken["peak"] < most, taken
    assert taken["kept"] < 150, taken
