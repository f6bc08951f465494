"""What looks alike in a browser decodes alike."""

import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from handler.colour import changes
from handler.files import jpeg_parts
from handler.images import decode
from tests.handler.pictures import difference, encode, orientation, photo, same, verdict_on
from tests.handler.pngs import (
    DEPTHS,
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGB_ALPHA,
    Samples,
    chunk,
    png,
    random_samples,
    shown,
)
from tests.handler.profiles import (
    SPACES,
    SRGB,
    Space,
    cmyk_light,
    cmyk_profile,
    grey_profile,
    rgb_profile,
    srgb_levels,
    stored_in,
)

EVERY_KIND = [(kind, depth) for kind, depths in DEPTHS.items() for depth in depths]
COLOURS = np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes()
SHADES = np.random.default_rng(1).integers(0, 256, 256, dtype=np.uint8).tobytes()
XMP_TURNED = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
JPEGS = [
    encode(photo(97, 63), "JPEG"),
    encode(photo(97, 63), "JPEG", progressive=True),
    encode(photo(97, 63), "JPEG", optimize=True, subsampling=0),
    encode(photo(97, 63), "JPEG", restart_marker_blocks=3),
    encode(Image.new("RGB", (97, 63), "white"), "JPEG", optimize=True),
    encode(photo(97, 63).convert("L"), "JPEG"),
    encode(photo(97, 63).convert("CMYK"), "JPEG"),
]
JPEG_IDS = ["baseline", "progressive", "optimised", "restarts", "white", "grey", "CMYK"]


def levels(data: bytes) -> NDArray[np.float64]:
    return np.asarray(decode(data)).astype(float)


# Colour profiles


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 100, "subsampling": 0})]
)
def test_a_picture_in_any_profile_looks_as_in_srgb(space: str, kind: str, options: dict[str, object]) -> None:
    stored = encode(stored_in(SPACES[space], photo()), kind, icc_profile=rgb_profile(SPACES[space]), **options)
    plain = encode(photo(), kind, **options)
    distance = np.abs(levels(stored) - levels(plain))
    assert distance.mean() < (2.5 if kind == "JPEG" else 1.5)  # a JPEG of linear light loses some in the dark


def test_a_profile_of_srgb_changes_nothing() -> None:
    for profile in (rgb_profile(SRGB), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()):
        assert same(decode(encode(photo(), "PNG", icc_profile=profile)), photo())
        assert not changes(profile, "RGB")


def test_a_profile_is_known_by_its_colours_and_not_by_its_name() -> None:
    lying = rgb_profile(SPACES["ProPhoto RGB"]).replace(b"acsp\0\0\0\0", b"acspsRGB")
    stored = encode(stored_in(SPACES["ProPhoto RGB"], photo()), "PNG", icc_profile=lying)
    assert difference(decode(stored), photo()).mean() < 1.5


def test_colours_are_converted_before_they_lie_on_white() -> None:
    stored = stored_in(SPACES["ProPhoto RGB"], photo())
    stored.putalpha(128)
    expected = np.asarray(photo()) * (128 / 255) + 255 * (127 / 255)
    assert np.abs(levels(encode(stored, "PNG", icc_profile=rgb_profile(SPACES["ProPhoto RGB"]))) - expected).mean() < 1


def test_a_grey_picture_has_the_tones_of_its_profile() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    expected = srgb_levels((ramp / 255) ** 1.0) * 255
    for mode in ("L", "LA"):
        stored = encode(Image.fromarray(ramp).convert(mode), "PNG", icc_profile=grey_profile(1.0))
        assert np.abs(levels(stored) - expected[..., None]).max() <= 1


def test_a_cmyk_picture_is_as_its_press_prints_it() -> None:
    ink = np.random.default_rng(2).integers(0, 256, (8, 8, 4), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    stored = encode(Image.fromarray(ink, "CMYK"), "JPEG", quality=100, icc_profile=cmyk_profile())
    distance = np.abs(levels(stored) - cmyk_light(ink / 255) * 255)
    assert (distance.mean() < 4, np.percentile(distance, 95) < 12) == (True, True)
    assert np.abs(levels(encode(Image.fromarray(ink, "CMYK"), "JPEG", quality=100)) - levels(stored)).mean() > 10


@pytest.mark.parametrize(
    "profile",
    [
        b"garbage",
        rgb_profile(SPACES["linear"])[:200],
        cmyk_profile(),
        grey_profile(1.0),
        rgb_profile(SPACES["linear"]).ljust(4 * 1024 * 1024 + 1, b"\0"),
    ],
    ids=["garbage", "cut", "CMYK", "grey", "huge"],
)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_broken_profile_or_one_of_other_colours_is_as_none(kind: str, profile: bytes) -> None:
    assert same(decode(encode(photo(), kind, lossless=True, icc_profile=profile)), photo())


def test_a_jpeg_whose_profile_lacks_a_part_is_as_without() -> None:
    whole = encode(photo(), "JPEG", icc_profile=rgb_profile(SPACES["linear"]).ljust(4 * 1024 * 1024, b"\0"))
    assert same(decode(whole.replace(b"ICC_PROFILE\0\2", b"ICC_PROFILE\0\3")), decode(encode(photo(), "JPEG")))
    assert not same(decode(whole), decode(encode(photo(), "JPEG")))
    empty = b"\xff\xd8\xff\xe2\0\x0eICC_PROFILE\0" + encode(photo(), "JPEG")[2:]
    assert same(decode(empty), decode(encode(photo(), "JPEG")))


def coloured(*chunks: tuple[bytes, bytes]) -> NDArray[np.float64]:
    """The levels of a ramp of grey in a PNG that says something of its colours."""
    ramp = np.stack([np.arange(256, dtype=np.uint16)] * 3, axis=-1)[None].repeat(16, axis=0)
    return levels(png(ramp, RGB, 8, dict(chunks)))[0, :, 0]


def chromaticities(*values: float) -> bytes:
    return struct.pack(">8I", *(round(value * 100_000) for value in values))


RAMP = np.arange(256) / 255
SRGB_XY = chromaticities(0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
P3_XY = chromaticities(0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
GAMMA_1 = struct.pack(">I", 100_000)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([(b"gAMA", struct.pack(">I", 45_455))], RAMP),
        ([(b"gAMA", struct.pack(">I", 47_700))], RAMP),
        ([(b"gAMA", struct.pack(">I", 47_750))], srgb_levels(RAMP ** (1 / 0.4775))),
        ([(b"gAMA", GAMMA_1)], srgb_levels(RAMP)),
        ([(b"gAMA", GAMMA_1), (b"cHRM", SRGB_XY)], srgb_levels(RAMP)),
        ([(b"gAMA", GAMMA_1), (b"sRGB", b"\0")], RAMP),
        ([(b"gAMA", struct.pack(">I", 45_455)), (b"cHRM", SRGB_XY)], RAMP),
        ([(b"cHRM", chromaticities(0.3, 0.3, 0.7, 0.3, 0.2, 0.7, 0.1, 0.1))], RAMP),
        ([(b"gAMA", GAMMA_1), (b"cHRM", bytes(32))], RAMP),
        ([(b"gAMA", bytes(4))], RAMP),
        ([(b"cICP", b"\1\x08\0\1"), (b"sRGB", b"\0")], srgb_levels(RAMP)),
        ([(b"cICP", b"\1\x0d\0\1"), (b"gAMA", GAMMA_1)], RAMP),
        ([(b"cICP", b"")], RAMP),
    ],
    ids=[
        "usual gamma", "nearly", "hardly", "linear", "linear and primaries", "sRGB counts more", "libpng's sRGB",
        "primaries alone", "no primaries", "no gamma", "cICP counts most", "cICP sRGB", "empty",
    ],
)  # fmt: skip
def test_what_a_png_says_of_its_colours(chunks: list[tuple[bytes, bytes]], expected: NDArray[np.float64]) -> None:
    assert np.abs(coloured(*chunks) - expected * 255).max() <= 1.5


@pytest.mark.parametrize(
    ("chunks", "space"),
    [
        ({b"cICP": b"\x0c\x0d\0\1"}, SPACES["Display P3"]),
        ({b"cICP": b"\x09\x0d\0\1"}, SPACES["BT.2020"]),
        ({b"cICP": b"\x01\x04\0\1"}, Space(SRGB.columns, 2.2)),
        ({b"cICP": b"\x01\x05\0\1"}, Space(SRGB.columns, 2.8)),
        ({b"cICP": b"\x09\x10\0\1"}, SRGB),  # high dynamic range, which no profile can say
        ({b"cICP": b"\x09\x12\0\1"}, SRGB),
        ({b"gAMA": struct.pack(">I", 45_455), b"cHRM": P3_XY}, SPACES["Display P3"]),
    ],
)
def test_the_colours_of_a_png_are_those_of_the_space_that_it_names(chunks: dict[bytes, bytes], space: Space) -> None:
    samples = np.asarray(stored_in(space, photo())).astype(np.uint16)
    assert np.abs(levels(png(samples, RGB, 8, chunks)) - np.asarray(photo())).mean() < 1


# PNGs of every kind


def cleared(samples: Samples, kind: int) -> bytes:
    """What tRNS says of the first pixel's colour, or of all entries of a palette."""
    return SHADES if kind == PALETTE else samples[0, 0].astype(">u2").tobytes()


@pytest.mark.parametrize("interlaced", [False, True], ids=["", "interlaced"])
@pytest.mark.parametrize("transparent", [False, True], ids=["opaque", "tRNS"])
@pytest.mark.parametrize(("kind", "depth"), EVERY_KIND)
def test_every_kind_of_png_is_as_a_browser_shows_it_on_white(
    kind: int, depth: int, transparent: bool, interlaced: bool
) -> None:
    samples = random_samples(kind, depth)
    chunks, clear = {}, b""
    if kind == PALETTE:
        chunks[b"PLTE"] = COLOURS[: 3 * 2**depth]
    if transparent and kind not in {GREY_ALPHA, RGB_ALPHA}:
        chunks[b"tRNS"] = clear = cleared(samples, kind)[: 2**depth if kind == PALETTE else None]
    expected = shown(samples, kind, depth, chunks.get(b"PLTE", b""), clear)
    assert np.abs(levels(png(samples, kind, depth, chunks, interlaced=interlaced)) - expected).max() <= 2


@pytest.mark.parametrize(("kind", "depth"), [(GREY, 16), (RGB, 16), (GREY, 8), (GREY, 4), (RGB, 8)])
def test_a_colour_that_no_pixel_has_makes_nothing_transparent(kind: int, depth: int) -> None:
    samples = random_samples(kind, depth)
    samples[0, 0] = samples[0, 1] ^ 1  # near to the one that is named
    samples[samples == samples[0, 1]] ^= 1
    clear = (samples[0, 0] ^ 1).astype(">u2").tobytes()
    expected = shown(samples, kind, depth)
    assert np.abs(levels(png(samples, kind, depth, {b"tRNS": clear})) - expected).max() <= 1.5


def test_no_more_bits_of_a_transparent_level_are_compared_than_pixels_have() -> None:
    samples = random_samples(GREY, 4)
    plain, high = (samples[0, 0] | bits for bits in (0, 0x1230))
    files = [png(samples, GREY, 4, {b"tRNS": clear.astype(">u2").tobytes()}) for clear in (plain, high)]
    assert same(decode(files[0]), decode(files[1]))


@pytest.mark.parametrize("name", [b"tEXt", b"gAMA", b"iCCP", b"pHYs", b"eXIf", b"tRNS", b"sRGB", b"acTL", b"zTXt"])
@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 40], ids=["empty", "short", "long"])
def test_a_broken_chunk_beside_the_pixels_spoils_no_picture(name: bytes, content: bytes) -> None:
    data = encode(photo(), "PNG")
    good = chunk(name, content)
    bad = good[:-4] + b"\1\2\3\4"
    for extra in (good, bad):
        if extra is good and name == b"gAMA" and content == b"\xff" * 40:
            continue
        assert same(decode(data[:33] + extra + data[33:]), photo())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium")
def test_chromium_shows_the_same(tmp_path: Path) -> None:
    ramp = np.stack([np.arange(256, dtype=np.uint16)] * 3, axis=-1)[None].repeat(16, axis=0)
    files = [
        png(ramp, RGB, 8, {b"gAMA": GAMMA_1}),
        png(ramp, RGB, 8, {b"gAMA": GAMMA_1, b"cHRM": SRGB_XY}),
        png(ramp, RGB, 8, {b"gAMA": struct.pack(">I", 60_000)}),
        png(ramp, RGB, 8, {b"tRNS": struct.pack(">3H", 0x1280, 128, 128)}),
        encode(Image.fromarray(ramp.astype(np.uint8)), "PNG", icc_profile=rgb_profile(SPACES["ProPhoto RGB"])),
    ]
    for index, data in enumerate(files):
        (tmp_path / f"{index}.png").write_bytes(data)
    page = "".join(f'<img src="{index}.png" style="display:block">' for index in range(len(files)))
    (tmp_path / "page.html").write_text(f"<body style='margin:0;background:white'>{page}", encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--force-color-profile=srgb", "--window-size=256,400"]
    command = ["chromium", *options, f"--screenshot={tmp_path / 'shot.png'}", f"file://{tmp_path / 'page.html'}"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    shot = np.asarray(Image.open(tmp_path / "shot.png").convert("RGB")).astype(float)
    for index, data in enumerate(files):
        seen = shot[16 * index + 8, :256]
        assert np.abs(seen - levels(data)[8]).max() <= 4, index


# Orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_xmp_turns_no_picture(kind: str) -> None:
    if kind == "PNG":
        xmp = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP_TURNED)
        data = encode(photo(96, 64), "PNG")
        data = data[:33] + xmp + data[33:]
    else:
        data = encode(photo(96, 64), kind, xmp=XMP_TURNED)
    assert XMP_TURNED in data
    assert decode(data).size == (96, 64)


def test_exif_counts_where_xmp_says_otherwise() -> None:
    assert decode(encode(photo(96, 64), "JPEG", xmp=XMP_TURNED, exif=orientation(1))).size == (96, 64)
    assert decode(encode(photo(96, 64), "JPEG", xmp=XMP_TURNED, exif=orientation(8))).size == (64, 96)


def test_exif_in_a_text_of_a_png_turns_nothing() -> None:
    hexadecimal = orientation(6).tobytes().hex().encode()
    text = chunk(b"tEXt", b"Raw profile type exif\0\nexif\n1\n" + hexadecimal)
    data = encode(photo(96, 64), "PNG")
    assert decode(data[:33] + text + data[33:]).size == (96, 64)


# The end of a JPEG


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-2],
        lambda data: data[:-1],
        lambda data: data[:-2] + b"\0\0",
        lambda data: data[:-2] + b"\r\n",
        lambda data: data + b"trailing" * 1000,
        lambda data: data + bytes(4096),
    ],
    ids=["none", "half", "zeros", "line end", "text behind", "zeros behind"],
)
@pytest.mark.parametrize("data", JPEGS, ids=JPEG_IDS)
def test_a_jpeg_of_which_no_pixel_is_missing_is_whole(data: bytes, change: Callable[[bytes], bytes]) -> None:
    assert same(decode(change(data)), decode(data))


@pytest.mark.parametrize("data", JPEGS, ids=JPEG_IDS)
@pytest.mark.parametrize("behind", [b"", bytes(5000)], ids=["cut", "zeros"])
def test_a_jpeg_of_which_pixels_are_missing_is_corrupt(data: bytes, behind: bytes) -> None:
    whole = decode(data)
    cuts = {*range(len(data) // 2, len(data) - 20, max(1, len(data) // 30)), *range(len(data) - 20, len(data) - 2, 3)}
    for cut in cuts:
        if verdict_on(data[:cut] + behind) != "corrupt_image":  # then the last bits are of no pixel that is shown
            assert same(decode(data[:cut] + behind), whole)
            assert len(data) - cut < 8


def test_a_progressive_jpeg_without_its_last_scans_is_corrupt() -> None:
    data = encode(photo(97, 63), "JPEG", progressive=True)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    tables = [data.rfind(b"\xff\xc4", 0, scan) for scan in scans]
    assert len(scans) == 10
    assert {verdict_on(data[:cut]) for cut in (*scans[1:], *tables[2:])} == {"corrupt_image"}


# Files that cost more than they show


def repeated_scan(image: Image.Image, times: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = encode(image, "JPEG", progressive=True)
    return data[:-2] + data[data.rfind(b"\xff\xda") : -2] * times + data[-2:]


def test_more_scans_than_any_encoder_writes_are_corrupt() -> None:
    assert verdict_on(repeated_scan(photo(97, 63), 90)) == "ok"
    assert verdict_on(repeated_scan(photo(97, 63), 91)) == "corrupt_image"
    assert verdict_on(repeated_scan(photo(97, 63), 5000)) == "corrupt_image"


@pytest.mark.parametrize("code", range(0xC0, 0xD0))
def test_where_one_scan_may_hold_the_image_no_other_is_counted(code: int) -> None:
    frame = bytes([0xFF, code]) + b"\0\x0b\x08\0\x40\0\x40\1\1\x11\0"
    parts = jpeg_parts(b"\xff\xd8" + frame + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 3 + b"\xff\xd9")
    progressive, no_frames = {0xC2, 0xC6, 0xCA, 0xCE}, {0xC4, 0xC8, 0xCC}
    assert parts.scans == (3 if code in progressive | no_frames else 1)


@pytest.mark.parametrize("code", [*range(0xE0, 0xF0), 0xFE])
def test_what_applications_add_to_a_jpeg_goes_unless_it_tells_the_colour_space(code: int) -> None:
    data, segment = encode(photo(), "JPEG"), bytes([0xFF, code]) + b"\0\6text"
    assert (segment in jpeg_parts(data[:2] + segment + data[2:]).data) == (code in {0xE0, 0xEE})


def test_a_large_jpeg_may_have_fewer_scans() -> None:
    assert verdict_on(repeated_scan(Image.new("L", (7000, 7000)), 30)) == "corrupt_image"


@pytest.mark.parametrize("block", [b"\xff\xfe\0\2", b"\xff\xdd\0\4\0\0"], ids=["comments", "restart intervals"])
def test_more_than_20_000_segments_are_corrupt(block: bytes) -> None:
    data = encode(photo(), "JPEG")
    assert verdict_on(data[:2] + block * 19_991 + data[2:]) == "ok"
    assert verdict_on(data[:2] + block * 19_992 + data[2:]) == "corrupt_image"  # with its own nine


def test_20_000_chunks_are_corrupt() -> None:
    data = encode(photo(), "PNG")
    assert verdict_on(data[:33] + chunk(b"IDAT", b"") * 19_996 + data[33:]) == "ok"
    assert verdict_on(data[:33] + chunk(b"IDAT", b"") * 19_997 + data[33:]) == "corrupt_image"  # with its own three


def test_a_packed_profile_is_unpacked_within_a_bound() -> None:
    bomb = chunk(b"iCCP", b"bomb\0\0" + zlib.compress(bytes(200_000_000), 9))
    data = encode(photo(), "PNG")
    assert same(decode(data[:33] + bomb + data[33:]), photo())
