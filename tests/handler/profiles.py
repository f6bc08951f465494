"""ICC profiles, written byte by byte, and pictures in their colours: nothing of Little CMS and nothing of ours."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Matrix = NDArray[np.float64]
D50 = (0.9642, 1.0, 0.8249)


@dataclass(frozen=True)
class Space:
    """RGB by the XYZ of its primaries, adapted to D50 (Lindbloom), and by a gamma; 0 stands for sRGB's curve."""

    columns: tuple[tuple[float, float, float], ...]
    gamma: float

    def light(self, levels: Matrix) -> Matrix:
        return levels**self.gamma if self.gamma else srgb_light(levels)

    def levels(self, light: Matrix) -> Matrix:
        clipped = np.clip(light, 0, 1)
        return clipped ** (1 / self.gamma) if self.gamma else srgb_levels(clipped)


SRGB_COLUMNS = (
    (0.4360747, 0.3850649, 0.1430804), (0.2225045, 0.7168786, 0.0606169), (0.0139322, 0.0971045, 0.7141733)
)  # fmt: skip
SRGB = Space(SRGB_COLUMNS, 0)
SPACES = {
    "Display P3": Space(
        ((0.515102, 0.291965, 0.157153), (0.241182, 0.692236, 0.0665819), (-0.00104941, 0.0418818, 0.784378)), 0
    ),
    "BT.2020": Space(
        ((0.673459, 0.165661, 0.125100), (0.279033, 0.675338, 0.0456288), (-0.00193139, 0.0299794, 0.797162)), 0
    ),
    "Adobe RGB": Space(
        ((0.6097559, 0.2052401, 0.1492240), (0.3111242, 0.6256560, 0.0632197), (0.0194811, 0.0608902, 0.7448387)), 2.2
    ),
    "ProPhoto RGB": Space(
        ((0.7976749, 0.1351917, 0.0313534), (0.2880402, 0.7118741, 0.0000857), (0.0, 0.0, 0.8252100)), 1.8
    ),
    "linear": Space(SRGB_COLUMNS, 1.0),
}


def srgb_light(levels: Matrix) -> Matrix:
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def srgb_levels(light: Matrix) -> Matrix:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def stored_in(space: Space, image: Image.Image) -> Image.Image:
    """The levels that an sRGB picture has in another space."""
    light = srgb_light(np.asarray(image) / 255) @ np.asarray(SRGB.columns).T
    levels = space.levels(light @ np.linalg.inv(np.asarray(space.columns)).T)
    return Image.fromarray((levels * 255).round().astype(np.uint8))


def rgb_profile(space: Space) -> bytes:
    curve = _curve(space)
    tags = {b"wtpt": _xyz(D50)}
    for index, name in enumerate((b"r", b"g", b"b")):
        tags[name + b"XYZ"] = _xyz(tuple(row[index] for row in space.columns))
        tags[name + b"TRC"] = curve
    return _profile(b"mntrRGB XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntrGRAYXYZ ", {b"wtpt": _xyz(D50), b"kTRC": _curve(Space((), gamma))})


def cmyk_light(ink: Matrix) -> Matrix:
    """What a press whose inks are weaker than their complement prints: sRGB levels in 0..1 of four shares of ink."""
    result: Matrix = (1 - 0.8 * ink[..., :3]) * (1 - 0.9 * ink[..., 3:])
    return result


def cmyk_profile() -> bytes:
    """The same as a table of 5^4 colours in Lab (the type lut8)."""
    steps = np.linspace(0, 1, 5)
    ink = np.stack(np.meshgrid(steps, steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 4)
    xyz = srgb_light(cmyk_light(ink)) @ np.asarray(SRGB.columns).T / np.asarray(D50)
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    lab = np.stack([116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1]), 200 * (root[:, 1] - root[:, 2])], axis=-1)
    table = (lab * (2.55, 1, 1) + (0, 128, 128)).round().clip(0, 255).astype(np.uint8).tobytes()
    straight = bytes(range(256))
    identity = struct.pack(">9i", *(0x10000 if place % 4 == 0 else 0 for place in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 5, 0]) + identity + straight * 4 + table + straight * 3
    return _profile(b"prtrCMYKLab ", {b"wtpt": _xyz(D50), b"A2B0": lut})


def _curve(space: Space) -> bytes:
    light = space.light(np.linspace(0, 1, 4096))
    return b"curv\0\0\0\0" + struct.pack(">I", 4096) + (light * 65535).round().astype(">u2").tobytes()


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _profile(kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = struct.pack(">I4xI", 128 + len(table) + len(body), 0x02100000) + kind + bytes(12) + b"acsp"
    return head.ljust(68, b"\0") + _xyz(D50)[8:] + bytes(48) + table + body
