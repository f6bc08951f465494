"""PNGs of every colour type, depth and interlace, written from samples, and what a browser shows of them on white."""

import struct
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGB_ALPHA: (8, 16)}
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""Of Adam7: first column, first row, steps right and down."""

Samples = NDArray[np.uint16]


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def random_samples(kind: int, depth: int, height: int = 13, width: int = 19) -> Samples:
    rng = np.random.default_rng(kind * 100 + depth)
    return rng.integers(0, 2**depth, (height, width, CHANNELS[kind]), dtype=np.uint16)


def png(samples: Samples, kind: int, depth: int, chunks: Mapping[bytes, bytes], *, interlaced: bool = False) -> bytes:
    height, width = samples.shape[:2]
    parts = [samples[y::down, x::right] for x, y, right, down in PASSES] if interlaced else [samples]
    rows = b"".join(b"\0" + _packed(row, depth) for part in parts if part.size for row in part)
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    extras = b"".join(chunk(name, content) for name, content in chunks.items())
    packed = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extras + packed + chunk(b"IEND", b"")


def shown(samples: Samples, kind: int, depth: int, palette: bytes = b"", clear: bytes = b"") -> NDArray[np.float64]:
    """The levels on white, 0..255; `clear` is the content of tRNS."""
    scale = 255 / (2**depth - 1)
    if kind == PALETTE:
        colours = np.frombuffer(palette, np.uint8).reshape(-1, 3)[samples[..., 0]].astype(float)
        alphas = np.frombuffer(clear.ljust(256, b"\xff"), np.uint8)
        alpha = alphas[samples[..., 0]][..., None] / 255
    elif kind in {GREY_ALPHA, RGB_ALPHA}:
        colours, alpha = samples[..., :-1] * scale, samples[..., -1:] / (2**depth - 1)
    else:
        colours, alpha = samples * scale, np.ones((*samples.shape[:2], 1))
        if clear:
            named = np.frombuffer(clear, ">u2") & (2**depth - 1)
            alpha[(samples == named).all(axis=-1)] = 0
    result: NDArray[np.float64] = np.broadcast_to(colours * alpha + 255 * (1 - alpha), (*samples.shape[:2], 3))
    return result


def _packed(row: Samples, depth: int) -> bytes:
    values = row.reshape(-1)
    if depth == 16:
        return values.astype(">u2").tobytes()
    bits = (values[:, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(-1).astype(np.uint8)).tobytes()
