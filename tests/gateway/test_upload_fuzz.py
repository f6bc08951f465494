"""Hostile uploads by the hundred: `FUZZ_UPLOADS=10000` for the long run, `FUZZ_SEED` for other ones."""

from __future__ import annotations

import gc
import os
import random
import resource
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from time import monotonic

import pytest
from PIL import Image, ImageCms

from tests.gateway.conftest import OpenClient
from tests.gateway.evidence import hostile
from tests.gateway.fakes import TorchServe, multipart, picture
from tests.gateway.test_images import in_jpeg, in_png, overlapping_exif, png_chunk, segment, webp_header
from tests.handler.pictures import png_header

pytestmark = pytest.mark.slow

UPLOADS = int(os.environ.get("FUZZ_UPLOADS", "200"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
FILE_LIMIT = 300_000
MEMORY_GROWTH = 32 * 1024 * 1024
"""What the process may grow by after its first tenth of the uploads: the allocator's slack, and no leak."""
MEMORY_END = 50 * 1024 * 1024
"""What it may have more at the end than before the first upload."""

PICTURES = [picture(kind, (120, 90)) for kind in ("JPEG", "PNG", "WEBP", "MPO")]
OTHERS = [picture(kind) for kind in ("GIF", "BMP", "TIFF", "ICO", "AVIF")]
TEXTS = [b"", b"\0", b"text", b"<svg/>", b"%PDF-1.7", b"PK\3\4", b"<html><script>", b"#!/bin/sh", b"MZ"]
TEXTS += [b"RIFF\0\0\0\0WEBP"]
PATHS = ["/predict", "/predict/explain", "/predict/batch", "/v1/predict"]
QUERIES = ["", "", "?include=evidence", "?include=nothing"]
BOMB = zlib.compress(bytes(3_000_000))
DISPOSITION = b'Content-Disposition: form-data; name="file"; filename="a.jpg"'
PART_HEADERS = [
    b"",
    b"\r\n",
    b"Content-Disposition",
    DISPOSITION + b"\r\n" + DISPOSITION,
    DISPOSITION + b"; filename*=UTF-8''%ff%00.jpg",
    DISPOSITION.replace(b"a.jpg", b"../../etc/passwd\0\xff\xfe"),
    DISPOSITION.replace(b'"file"', b'"\xd8\x00"'),
    DISPOSITION.replace(b": ", b":\r\n "),
    DISPOSITION + b"\r\nContent-Type: text/plain; charset=utf-7",
    DISPOSITION + b"\r\nContent-Type: multipart/mixed; boundary=cut",
    DISPOSITION + b"\r\nContent-Transfer-Encoding: base64",
    DISPOSITION + b"\r\nContent-Length: -1",
    DISPOSITION + b"\r\nX-A: b" * 500,
    DISPOSITION + b"\r\n" + b"X" * 20_000 + b": y",
]
BOUNDARIES = ["", "other", "c" * 5000, "cut; boundary=other"]
CHARSETS = ["utf-7", "idna", "punycode", "unicode_escape", "undefined", "hex", "utf-16", "no-such-thing"]
BOUNDARIES += [f"cut; charset={charset}" for charset in CHARSETS]
PIECES = [b"--cut", b"--cut--", b"\r\n", b"Content-Disposition: form-data;", b' name="file"', b"; filename=", b"a"]
CONTENT_TYPES = [f"multipart/form-data; boundary={boundary}" for boundary in BOUNDARIES]
CONTENT_TYPES += [
    "multipart/form-data",
    "multipart/form-data;;=",
    'MULTIPART/Form-Data ; x=y; boundary="cut"',
    "multipart/mixed; boundary=cut",
]
CONTENT_TYPES += ["application/x-www-form-urlencoded", "image/jpeg"]

Chance = random.Random
Maker = Callable[[Chance], bytes]


def mutated(chance: Chance) -> bytes:
    data = bytearray(chance.choice(PICTURES))
    for _ in range(chance.randint(1, 20)):
        data[chance.randrange(min(len(data), chance.choice((30, 400, 10_000))))] = chance.randrange(256)
    return bytes(data)


def spliced(chance: Chance) -> bytes:
    data = chance.choice(PICTURES)
    start, end = sorted(chance.choices(range(len(data)), k=2))
    return data[:start] + chance.randbytes(chance.randrange(200)) + data[end:]


def truncated(chance: Chance) -> bytes:
    data = chance.choice(PICTURES)
    return data[: chance.randrange(len(data))]


def polyglot(chance: Chance) -> bytes:
    return chance.choice([*PICTURES, *OTHERS, *TEXTS]) + chance.choice([*PICTURES, *OTHERS, *TEXTS])


def wrong_type(chance: Chance) -> bytes:
    return chance.choice([*OTHERS, *TEXTS, chance.randbytes(chance.randrange(1000))])


def bomb(chance: Chance) -> bytes:
    size = chance.choice([(65_535, 65_535), (10_000, 10_000), (1, 50_000), (9, 9), (2**31 - 1, 2**31 - 1)])
    flat = (min(size[0], 16_384), min(size[1], 16_384))
    packed = png_chunk(chance.choice([b"zTXt", b"iCCP"]), b"parameters\0\0" + BOMB)
    return chance.choice([png_header(*size), webp_header(*flat), in_png(packed * chance.randint(1, 5))])


def huge_header(chance: Chance) -> bytes:
    filling = chance.randbytes(chance.choice([0, 10, 60_000]))
    return chance.choice(
        [
            in_jpeg(segment(chance.randrange(0xE0, 0xF0), filling) * chance.randint(1, 4)),
            in_jpeg(b"\xff\xfe\0\2" * 60_000),
            in_jpeg(segment(0xE1, b"Exif\0\0" + overlapping_exif(chance.randint(1, 2000), 60_000))),
            in_png(png_chunk(b"tEXt", b"parameters\0" + filling)),
            in_png(png_chunk(b"abCd", b"") * 24_000),
        ]
    )


def oversized(chance: Chance) -> bytes:
    return chance.choice(PICTURES) + bytes(chance.choice([FILE_LIMIT - 3000, FILE_LIMIT, FILE_LIMIT + 100_000]))


def xmp(chance: Chance) -> bytes:
    packet = chance.choice(list(hostile.XMP.values()))
    start = chance.randrange(len(packet)) if chance.random() < 0.3 else 0
    piece = packet[start : start + chance.choice([100, 60_000, hostile.LARGE])]
    return chance.choice([hostile.jpeg(piece), in_png(hostile.packed_xmp(piece) * chance.choice([1, 4, 60]))])


def scans(chance: Chance) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = saved("JPEG", (64, 64), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * chance.choice([1, 10, 300, 2000]) + data[-2:]


def lengthy(chance: Chance) -> bytes:
    """An image at the limits of one side or the other."""
    long, short = chance.choice([9_999, 10_000, 10_001, 16_000]), chance.choice([9, 10, 100])
    return saved(chance.choice(["JPEG", "PNG", "WEBP"]), chance.choice([(long, short), (short, long)]))


def rgba(chance: Chance) -> bytes:
    """Flat pixels with transparency: some kilobytes that are four bytes a pixel once they are decoded."""
    side = chance.choice([20, 1000, 7000])
    return chance.choice([flat_rgba(side), saved("WEBP", (min(side, 1000),) * 2, "RGBA", lossless=True)])


@cache
def flat_rgba(side: int) -> bytes:
    packer = zlib.compressobj(9)
    row = b"\0" + b"\x80\x40\x20\x10" * side
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = side.to_bytes(4, "big") * 2 + b"\x08\x06\0\0\0"
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def icc(chance: Chance) -> bytes:
    """A profile that is whole, mutated, endless or none."""
    data = bytearray(PROFILE + bytes(chance.choice([0, 60_000])))
    for _ in range(chance.choice([0, 0, 3, 30])):
        data[chance.randrange(len(PROFILE))] = chance.randrange(256)
    profile = chance.choice([bytes(data), bytes(data[: chance.randrange(len(data))]), b"", bytes(3_000_000)])
    packed = png_chunk(b"iCCP", b"p\0\0" + zlib.compress(profile))
    pieces = [profile[at : at + 60_000] for at in range(0, min(len(profile), 240_000), 60_000)]
    heads = (b"ICC_PROFILE\0" + bytes([number, chance.choice([len(pieces), 255])]) for number in range(1, 256))
    return chance.choice(
        [in_png(packed), in_jpeg(*(segment(0xE2, head + piece) for head, piece in zip(heads, pieces, strict=False)))]
    )


@cache
def saved(kind: str, size: tuple[int, int], mode: str = "RGB", **options: bool) -> bytes:
    buffer = BytesIO()
    Image.new(mode, size, "teal").save(buffer, kind, **options)
    return buffer.getvalue()


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def whole(chance: Chance) -> bytes:
    return chance.choice(PICTURES)


MAKERS: list[Maker] = [
    *(mutated, spliced, truncated, polyglot, wrong_type, bomb, huge_header, oversized, whole),
    *(xmp, scans, lengthy, lengthy, rgba, icc),
]


def form(chance: Chance, field: str) -> bytes:
    body = multipart(field, chance.choice(MAKERS)(chance))
    at = chance.randrange(min(len(body), 100))
    head, _, content = body.partition(b"\r\n\r\n")
    broken = [
        body[: chance.randrange(len(body))],
        body.replace(b"form-data", chance.choice([b"attachment", b"", b"form-data; name=x"])),
        body.replace(b'filename="a.jpg"', b'filename="' + b"n" * chance.choice([300, 9000, 70_000]) + b'"'),
        b"\r\n" * chance.randrange(5) + body + chance.randbytes(20),
        body[:-9] + b"\r\n" + body,
        body[:at] + chance.randbytes(3) + body[at + 3 :],
        b"--cut\r\n" + chance.choice(PART_HEADERS) + b"\r\n\r\n" + content,
        head.replace(b"\r\n", b"\n") + b"\n\n" + content,
        (head + b"\r\n\r\n\r\n") * chance.choice([2, 50]) + body,
        b"".join(chance.choices([*PIECES, whole(chance), chance.randbytes(20)], k=15)),
    ]
    return chance.choice([*broken, *[body] * 8])


def memory() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.timeout(60 + UPLOADS)
def test_whatever_is_sent_the_answer_is_200_400_or_413_and_memory_stays_flat(
    open_client: OpenClient, torchserve: TorchServe, capsys: pytest.CaptureFixture[str]
) -> None:
    client = open_client(rate_limit_enabled=False, max_file_bytes=FILE_LIMIT, max_batch_files=2)
    chance = random.Random(SEED)  # noqa: S311 - the same uploads every time
    statuses: Counter[int] = Counter()
    for maker in MAKERS:
        maker(random.Random(SEED))  # noqa: S311 - what the test itself keeps is there before it begins
    flat_rgba(7000)
    for path in PATHS:  # so are the libraries that a first request loads
        client.post(path, files={"files" if path.endswith("batch") else "file": PICTURES[1]})
    client.post("/predict?include=evidence", files={"file": PICTURES[1]})
    torchserve.requests.clear()
    started, began, files = monotonic(), memory(), open_files()
    before = began
    for index in range(UPLOADS):
        if index == UPLOADS // 10:
            before, files = memory(), open_files()
        path, query = chance.choice(PATHS), chance.choice(QUERIES)
        body = form(chance, "files" if path.endswith("batch") else "file")
        content_type = chance.choice([*["multipart/form-data; boundary=cut"] * 60, *CONTENT_TYPES])
        answer = client.post(path + query, content=body, headers={"Content-Type": content_type})
        statuses[answer.status_code] += 1
        assert answer.status_code in {200, 400, 413}, f"upload {index} of seed {SEED}"
        assert isinstance(answer.json(), dict)
        torchserve.requests.clear()  # what the test itself keeps is no leak
        capsys.readouterr()
    ended = memory()
    grown = ended - before
    if "FUZZ_UPLOADS" in os.environ:
        with capsys.disabled():
            sys.stdout.write(
                f"\n{UPLOADS} uploads of seed {SEED} in {monotonic() - started:.0f} s: "
                f"{dict(sorted(statuses.items()))}, memory {grown / 2**20:+.1f} MiB, "
                f"{(ended - began) / 2**20:+.1f} MiB in all, open files {open_files() - files:+d}\n"
            )
    assert set(statuses) == {200, 400, 413}
    assert grown < MEMORY_GROWTH
    assert ended - began < MEMORY_END
    assert open_files() == files
