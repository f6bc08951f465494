"""Colours of any profile as sRGB, which is what the network was trained on and what a browser shows."""

import io
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

MAX_PROFILE: Final = 4 * 1024 * 1024
"""Bytes; those of presses have two million."""
SAME: Final = 2
"""Levels by which a profile's colours may differ from sRGB's and still count as sRGB."""

Primaries = Sequence[float]
"""Chromaticities x, y of white, red, green and blue."""
_SRGB: Final = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_PRIMARIES: Final = {
    1: _SRGB,
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}  # of ITU-T H.273
_GAMMAS: Final = {4: 2.2, 5: 2.8, 8: 1.0}  # of ITU-T H.273; what is not here counts as sRGB's curve
_HIGH_DYNAMIC_RANGE: Final = frozenset({16, 18})
_MODES: Final = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
_SRGB_PROFILE: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_LEVELS: Final = np.linspace(0, 1, 256)
USUAL_GAMMA: Final = 2.2
GAMMA_TOLERANCE: Final = 0.05
"""Within which libpng takes a gamma as the usual one."""
MAX_XYZ: Final = 100.0
_D50: Final = np.array([0.9642, 1.0, 0.8249])
_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Return a grey, RGB or CMYK image in RGB; a profile that is broken or of another kind of colour is as none."""
    transform = _transform(profile, image.mode) if profile else None
    if transform is None:
        return image.convert("RGB")
    converted = transform.apply(image.convert(transform.input_mode))
    del converted.info["icc_profile"]
    return converted


def changes(profile: bytes, mode: str) -> bool:
    """Tell whether a profile makes any difference to an image of a mode."""
    return bool(profile) and _transform(profile, mode) is not None


def gamma_profile(gamma: bytes, chromaticities: bytes) -> bytes:
    """Return a profile of a PNG's chunks gAMA and cHRM, as browsers read them: empty for sRGB, and without gAMA."""
    value = int.from_bytes(gamma, "big") / 100_000 if len(gamma) == 4 else 0.0  # noqa: PLR2004 - one number
    if not value:
        return b""
    usual = abs(value * USUAL_GAMMA - 1) < GAMMA_TOLERANCE
    if len(chromaticities) == 32:  # noqa: PLR2004 - eight numbers
        primaries = [number / 100_000 for number in struct.unpack(">8I", chromaticities)]
        return _matrix_profile(primaries, _srgb_curve(_LEVELS) if usual else _LEVELS ** (1 / value))
    return b"" if usual else _matrix_profile(_SRGB, _LEVELS ** (1 / value))


def cicp_profile(cicp: bytes) -> bytes:
    """Return a profile of a PNG's chunk cICP; empty for sRGB and for what no ICC profile can say."""
    primaries, transfer, *_ = cicp.ljust(2, b"\0")
    if primaries not in _PRIMARIES or transfer in _HIGH_DYNAMIC_RANGE:
        return b""
    curve = _LEVELS ** _GAMMAS[transfer] if transfer in _GAMMAS else _srgb_curve(_LEVELS)
    return _matrix_profile(_PRIMARIES[primaries], curve)


@lru_cache(maxsize=8)  # of what a stranger sends, so the few that a day brings and no more
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    if len(profile) > MAX_PROFILE:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        takes = _MODES.get(source.profile.xcolor_space.strip(), "")
        if takes != mode and (takes, mode) != ("RGB", "L"):
            return None
        exact = ImageCms.Flags.NOOPTIMIZE if takes == "L" else ImageCms.Flags.NONE  # else dark greys are far off
        transform = ImageCms.ImageCmsTransform(source, _SRGB_PROFILE, takes, "RGB", flags=exact)
        return None if _is_srgb(transform) else transform
    except Exception:  # noqa: BLE001 - Little CMS refuses broken profiles in many ways
        return None


def _is_srgb(transform: ImageCms.ImageCmsTransform) -> bool:
    """Tell by some hundred colours, since a profile's name may lie."""
    steps = np.linspace(0, 255, 8).astype(np.uint8)
    colours = Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(8, 64, 3))
    colours = colours.convert(transform.input_mode)
    shown, plain = transform.apply(colours), colours.convert("RGB")
    return bool(np.abs(np.asarray(shown, dtype=np.int16) - np.asarray(plain)).max() <= SAME)


def _srgb_curve(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the light that levels of sRGB stand for, all in 0..1 (IEC 61966-2-1)."""
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)  # noqa: PLR2004


def _matrix_profile(primaries: Primaries, curve: NDArray[np.float64]) -> bytes:
    """Return an ICC profile, version 2, of three primaries and the light that each of 256 levels stands for."""
    xy = np.asarray(primaries).reshape(4, 2)
    try:
        with np.errstate(all="raise"):
            white, *colours = np.column_stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy.sum(axis=1)) / xy[:, 1]])
            columns = np.column_stack(colours)
            adapted = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD
            columns = adapted @ columns @ np.diag(np.linalg.solve(columns, white))
    except (np.linalg.LinAlgError, FloatingPointError):
        return b""  # these are no primaries
    if np.abs(columns).max() > MAX_XYZ:
        return b""
    light = b"curv" + struct.pack(">II", 0, curve.size) + (curve * 65535).round().astype(">u2").tobytes()
    tags = {b"wtpt": _xyz(_D50), **{name + b"XYZ": _xyz(columns[:, at]) for at, name in enumerate((b"r", b"g", b"b"))}}
    table, body = b"", b""
    for name, tag in [*tags.items(), *((name + b"TRC", light) for name in (b"r", b"g", b"b"))]:
        table += name + struct.pack(">II", 132 + 12 * 7 + len(body), len(tag))
        body += tag
    head = struct.pack(">I4xI12s12x4s28x", 132 + len(table) + len(body), 0x02400000, b"mntrRGB XYZ ", b"acsp")
    return head + _numbers(_D50) + bytes(48) + struct.pack(">I", 7) + table + body


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + _numbers(values)


def _numbers(values: NDArray[np.float64]) -> bytes:
    return (values * 65536).round().astype(">i4").tobytes()
