"""Hostile uploads by the hundred: `FUZZ_UPLOADS=10000` for the long run, `FUZZ_SEED` for other ones."""

from __future__ import annotations

import gc
import os
import random
import resource
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateway.conftest import OpenClient
from tests.gateway.fakes import multipart, picture
from tests.gateway.images.test_reader import png_header, webp_header
from tests.gateway.images.test_traps import in_jpeg, in_png, overlapping_exif, png_chunk, segment

UPLOADS = int(os.environ.get("FUZZ_UPLOADS", "400"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
FILE_LIMIT = 300_000
MEMORY_GROWTH = 64 * 1024 * 1024
"""What the process may grow by after its first tenth of the uploads: the allocator's slack, and no leak."""

PICTURES = [picture(kind, (120, 90)) for kind in ("JPEG", "PNG", "WEBP", "MPO")]
OTHERS = [picture(kind) for kind in ("GIF", "BMP", "TIFF", "ICO", "AVIF")]
TEXTS = [
    b"",
    b"\0",
    b"text",
    b"<svg/>",
    b"%PDF-1.7",
    b"PK\3\4",
    b"<html><script>",
    b"#!/bin/sh",
    b"MZ",
    b"RIFF\0\0\0\0WEBP",
]
PATHS = ["/predict", "/predict/explain", "/predict/batch", "/v1/predict"]
QUERIES = ["", "", "?include=evidence", "?include=nothing"]
BOMB = zlib.compress(bytes(3_000_000))

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


def whole(chance: Chance) -> bytes:
    return chance.choice(PICTURES)


MAKERS: list[Maker] = [mutated, spliced, truncated, polyglot, wrong_type, bomb, huge_header, oversized, whole]


def form(chance: Chance, field: str) -> bytes:
    body = multipart(field, chance.choice(MAKERS)(chance))
    at = chance.randrange(min(len(body), 100))
    broken = [
        body[: chance.randrange(len(body))],
        body.replace(b"form-data", chance.choice([b"attachment", b"", b"form-data; name=x"])),
        body.replace(b'filename="a.jpg"', b'filename="' + b"n" * chance.choice([300, 9000, 70_000]) + b'"'),
        b"\r\n" * chance.randrange(5) + body + chance.randbytes(20),
        body[:-9] + b"\r\n" + body,
        body[:at] + chance.randbytes(3) + body[at + 3 :],
    ]
    return chance.choice([*broken, *[body] * 6])


def memory() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.timeout(60 + UPLOADS)
def test_whatever_is_sent_the_answer_is_200_400_or_413_and_memory_stays_flat(open_client: OpenClient) -> None:
    client = open_client(rate_limit_enabled=False, max_file_bytes=FILE_LIMIT, max_batch_bytes=2 * FILE_LIMIT)
    chance = random.Random(SEED)  # noqa: S311 - the same uploads every time
    statuses: Counter[int] = Counter()
    before = memory()
    for index in range(UPLOADS):
        if index == UPLOADS // 10:
            before = memory()
        path, query = chance.choice(PATHS), chance.choice(QUERIES)
        body = form(chance, "files" if path.endswith("batch") else "file")
        content_type = chance.choice([*["multipart/form-data; boundary=cut"] * 9, "multipart/form-data", "image/jpeg"])
        answer = client.post(path + query, content=body, headers={"Content-Type": content_type})
        statuses[answer.status_code] += 1
        assert answer.status_code in {200, 400, 413}, f"upload {index} of seed {SEED}"
        assert isinstance(answer.json(), dict)
    assert set(statuses) == {200, 400, 413}
    assert memory() - before < MEMORY_GROWTH
