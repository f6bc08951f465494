"""Files that are small to send and huge to read, told by the layout of their blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.errors import CorruptImageError
from gateway.images.blocks import (
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


def read_blocks(data: bytes, kind: str) -> list[Block]:
    """The blocks of a file.

    Raises:
        CorruptImageError: There are millions of them.
    """
    try:
        return list(blocks(data, kind))
    except TooManyBlocksError as error:
        raise CorruptImageError("The image has too many metadata blocks.") from error


def check_blocks(found: list[Block]) -> None:
    """Refuse a file that would choke a reader, the model server's above all.

    Raises:
        CorruptImageError: EXIF whose entries all claim the same bytes.
    """
    exif = [*exif_blocks(found), *_raw_profiles(found)]
    if any(map(is_trap, exif)):
        raise CorruptImageError("The image's metadata is malformed.")


def check_scans(data: bytes, frame: Block, pixels: int) -> None:
    """Refuse a JPEG that decoders would go over more often than any encoder lets them.

    Raises:
        CorruptImageError: Too many scans, or too many for so many pixels.
    """
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
