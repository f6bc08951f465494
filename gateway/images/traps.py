"""Files that are small to send and huge to read, told by the layout of their blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.errors import CorruptImageError
from gateway.images.blocks import (
    FRAMES,
    MAX_SCANNED_PIXELS,
    MAX_SCANS,
    Block,
    TooManyBlocksError,
    blocks,
    count_scans,
)
from gateway.images.exif import exif_blocks, is_trap
from gateway.images.png_text import MAX_TEXT, png_texts

RAW_EXIF: Final = "Raw profile type exif"
"""ImageMagick's way to put EXIF into a PNG: hexadecimal digits after three lines."""
HEX_DIGITS_FROM: Final = 3


def check_blocks(data: bytes, kind: str) -> None:
    """Refuse a file that would choke a reader, the model server's above all.

    Raises:
        CorruptImageError: Millions of tiny blocks, or EXIF whose entries all claim the same bytes.
    """
    try:
        found = list(blocks(data, kind))
    except TooManyBlocksError as error:
        raise CorruptImageError("The image has too many metadata blocks.") from error
    exif = [*exif_blocks(found), *_raw_profiles(found)]
    if any(map(is_trap, exif)):
        raise CorruptImageError("The image's metadata is malformed.")


def check_scans(data: bytes, kind: str, pixels: int) -> None:
    """Refuse a JPEG that decoders would go over more often than any encoder lets them.

    Raises:
        CorruptImageError: Too many scans, or too many for so many pixels.
    """
    if kind != "image/jpeg":
        return
    frame = next(block for block in blocks(data, kind) if block.name[0] in FRAMES)
    try:
        scans = count_scans(data, frame)
    except TooManyBlocksError as error:
        raise CorruptImageError("The image has too many metadata blocks.") from error
    if scans > MAX_SCANS or scans * pixels > MAX_SCANNED_PIXELS:
        raise CorruptImageError("The image has too many scans. Save it anew as JPEG.")


def _raw_profiles(found: list[Block]) -> Iterator[bytes]:
    profiles = list(png_texts(found, {RAW_EXIF}))
    if len(profiles) > 1 or any(len(profile.text) == MAX_TEXT for profile in profiles):
        raise CorruptImageError("The image's metadata is malformed.")
    for profile in profiles:
        digits = "".join(profile.text.decode("latin-1").split("\n")[HEX_DIGITS_FROM:])
        try:
            yield bytes.fromhex(digits).removeprefix(b"Exif\0\0")
        except ValueError:
            continue  # no reader takes it either
