from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.evidence.examiner import Examiner
from tests.gateway.credentials import Authority, manifest, throw_away_authority
from tests.gateway.fakes import picture
from tests.gateway.images.test_traps import in_png, png_chunk

KINDS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
Found = list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return throw_away_authority()


@pytest.fixture
def trusting(authority: Authority, tmp_path: Path) -> Examiner:
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(authority.root)
    return Examiner(anchors)


def findings(examiner: Examiner, data: bytes) -> Found:
    return [(item.type, item.value, item.strength) for item in examiner.examine(data)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_trusted_signer_is_strong(authority: Authority, trusting: Examiner, kind: str) -> None:
    signed = authority.sign(picture(KINDS[kind], (90, 90)), kind, manifest(agent="OpenAI DALL-E 3"))
    assert findings(trusting, signed) == [
        ("c2pa_manifest", "intact, trusted signer", "strong"),
        ("c2pa_source_type", "trainedAlgorithmicMedia", "strong"),
        ("c2pa_generator", "DALL-E", "strong"),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_signer_is_medium(authority: Authority, kind: str) -> None:
    signed = authority.sign(picture(KINDS[kind], (90, 90)), kind, manifest("digitalCapture"))
    assert findings(Examiner(None), signed) == [
        ("c2pa_manifest", "intact, unknown signer", "medium"),
        ("c2pa_source_type", "digitalCapture", "medium"),
    ]


def test_another_authority_does_not_make_it_trusted(trusting: Examiner) -> None:
    signed = throw_away_authority().sign(picture("JPEG"), "image/jpeg", manifest())
    assert findings(trusting, signed)[0] == ("c2pa_manifest", "intact, unknown signer", "medium")


@pytest.mark.parametrize("kind", KINDS)
def test_one_changed_byte_makes_it_weak(authority: Authority, trusting: Examiner, kind: str) -> None:
    # In the pixels: a signed file ends with what the original file ended with, but for a WebP's manifest.
    image = picture(KINDS[kind], (90, 90))
    signed = bytearray(authority.sign(image, kind, manifest()))
    at = signed.index(image[60:80]) + 5
    signed[at] ^= 1
    assert findings(trusting, bytes(signed)) == [
        ("c2pa_manifest", "broken: the image or the manifest was changed", "weak"),
        ("c2pa_source_type", "trainedAlgorithmicMedia", "weak"),
    ]


def test_the_origin_of_what_was_edited_is_found_through_its_parent(authority: Authority, trusting: Examiner) -> None:
    generated = authority.sign(picture("JPEG", (90, 90)), "image/jpeg", manifest(agent="Midjourney"))
    edited = authority.sign(picture("JPEG", (80, 80)), "image/jpeg", manifest("humanEdits"), parent=generated)
    assert findings(trusting, edited) == [
        ("c2pa_manifest", "intact, trusted signer", "strong"),
        ("c2pa_source_type", "humanEdits", "strong"),
        ("c2pa_source_type", "trainedAlgorithmicMedia", "strong"),
        ("c2pa_generator", "Midjourney", "strong"),
    ]


@pytest.mark.parametrize("kind", KINDS.values())
def test_no_manifest_is_no_evidence(trusting: Examiner, kind: str) -> None:
    assert findings(trusting, picture(kind)) == []


def test_words_of_the_manifest_do_not_get_through(authority: Authority, trusting: Examiner) -> None:
    signed = authority.sign(picture("JPEG", (90, 90)), "image/jpeg", manifest("myOwnType", agent="Ask Jane Doe"))
    assert findings(trusting, signed) == [("c2pa_manifest", "intact, trusted signer", "strong")]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


def test_a_manifest_kept_elsewhere_is_not_fetched(
    authority: Authority, trusting: Examiner, listener: socket.socket
) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/manifest.c2pa"
    signed = authority.sign(picture("JPEG", (90, 90)), "image/jpeg", manifest(), url=url)
    assert url.encode() in signed
    assert findings(trusting, signed) == [("c2pa_manifest", "kept elsewhere, not fetched", "weak")]
    embedded_too = authority.sign(signed, "image/jpeg", manifest())
    assert findings(trusting, embedded_too)[0] == ("c2pa_manifest", "intact, trusted signer", "strong")
    with pytest.raises(TimeoutError):
        listener.accept()


def nested(depth: int) -> bytes:
    content = bytes.fromhex("63327061001100108000 00aa00389b71") + b"\x03c2pa\0"
    box = struct.pack(">I4s", len(content) + 8, b"jumd") + content
    size = len(box) + 8
    return b"".join(struct.pack(">I4s", size * (depth - level), b"jumb") + box for level in range(depth))


@pytest.mark.parametrize(
    "hostile",
    [b"", b"not boxes", nested(1), nested(100_000), struct.pack(">I4s", 0xFFFFFFF0, b"jumb") + bytes(1000)],
    ids=["empty", "garbage", "hollow", "nested", "boundless"],
)
def test_a_hostile_manifest_cannot_be_read_and_that_is_all(trusting: Examiner, hostile: bytes) -> None:
    assert findings(trusting, in_png(png_chunk(b"caBX", hostile))) == [("c2pa_manifest", "cannot be read", "weak")]


def test_a_scrambled_manifest_is_broken_or_unreadable(authority: Authority, trusting: Examiner) -> None:
    signed = authority.sign(picture("JPEG", (90, 90)), "image/jpeg", manifest())
    start = signed.index(b"jumb")
    scrambles: list[Callable[[bytearray, int], None]] = [
        lambda data, at: data.__setitem__(at, data[at] ^ 0xFF),
        lambda data, at: data.__setitem__(slice(at, at + 4), b"\xff\xff\xff\xff"),
    ]
    verdicts = []
    for at in range(start, len(signed) - 200, len(signed) // 40):
        for scramble in scrambles:
            data = bytearray(signed)
            scramble(data, at)
            verdicts += [value for kind, value, _ in findings(trusting, bytes(data)) if kind == "c2pa_manifest"]
    padding = verdicts.count("intact, trusted signer")  # a manifest leaves room for its signature to grow
    assert set(verdicts) - {"intact, trusted signer"} == {
        "broken: the image or the manifest was changed",
        "cannot be read",
    }
    assert padding < len(verdicts) / 2


def test_threads_share_one_reader(authority: Authority, trusting: Examiner) -> None:
    signed = authority.sign(picture("JPEG", (90, 90)), "image/jpeg", manifest())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda data: tuple(findings(trusting, data)), [signed] * 80))
    assert set(answers) == {
        (
            ("c2pa_manifest", "intact, trusted signer", "strong"),
            ("c2pa_source_type", "trainedAlgorithmicMedia", "strong"),
        )
    }
