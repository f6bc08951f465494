from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from gateway.evidence import c2pa
from gateway.evidence.metadata import Examiner
from tests.gateway.credentials import Authority, manifest, throw_away_authority
from tests.gateway.fakes import picture
from tests.gateway.test_images import in_png, png_chunk

KINDS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
CHANGED = "broken: the image or the manifest was changed"
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
def test_an_unknown_signer_is_medium_beside_another_authority_or_none(
    authority: Authority, trusting: Examiner, kind: str
) -> None:
    for signer, examiner in ((authority, Examiner(None)), (throw_away_authority(), trusting)):
        signed = signer.sign(picture(KINDS[kind], (90, 90)), kind, manifest("digitalCapture"))
        assert findings(examiner, signed) == [
            ("c2pa_manifest", "intact, unknown signer", "medium"),
            ("c2pa_source_type", "digitalCapture", "medium"),
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_one_changed_byte_makes_it_weak(authority: Authority, trusting: Examiner, kind: str) -> None:
    # In the pixels: a signed file ends with what the original file ended with, but for a WebP's manifest.
    image = picture(KINDS[kind], (90, 90))
    signed = bytearray(authority.sign(image, kind, manifest()))
    at = signed.index(image[60:80]) + 5
    signed[at] ^= 1
    assert findings(trusting, bytes(signed)) == [
        ("c2pa_manifest", CHANGED, "weak"),
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


def test_a_certificate_that_has_expired_since_is_no_change(tmp_path: Path) -> None:
    # The library signs with a valid certificate alone, so the test waits for its end.
    brief = throw_away_authority(timedelta(seconds=2))
    signed = brief.sign(picture("JPEG", (90, 90)), "image/jpeg", manifest("digitalCapture"))
    deadline = time.monotonic() + 20
    while findings(Examiner(None), signed)[0][1] == "intact, unknown signer" and time.monotonic() < deadline:
        time.sleep(0.2)
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(brief.root)
    for examiner in (Examiner(None), Examiner(anchors)):
        assert findings(examiner, signed) == [
            ("c2pa_manifest", "intact, the signer's certificate has expired", "medium"),
            ("c2pa_source_type", "digitalCapture", "medium"),
        ]
    changed = signed.replace(b"Throw-away signer", b"Throw-away Signer").replace(b"digitalCapture", b"digitalCupture")
    assert findings(Examiner(None), changed)[0][1] == CHANGED


@pytest.mark.parametrize(
    ("codes", "value", "strength"),
    [
        (["signingCredential.untrusted"], "intact, unknown signer", "medium"),
        (["signingCredential.untrusted", "timeStamp.mismatch"], "intact, unknown signer", "medium"),
        (["claimSignature.outsideValidity"], "intact, the signer's certificate has expired", "medium"),
        (["signingCredential.invalid"], "intact, the signer's certificate is not accepted", "medium"),
        (["signingCredential.ocsp.revoked"], "intact, the signer's certificate was revoked", "weak"),
        (["signingCredential.expired", "assertion.dataHash.mismatch"], CHANGED, "weak"),
        (["assertion.bmffHash.mismatch"], CHANGED, "weak"),
        (["assertion.hashedURI.mismatch"], CHANGED, "weak"),
        (["claimSignature.mismatch"], CHANGED, "weak"),
        (["claim.hardBindings.missing"], "not valid: the manifest breaks the rules of C2PA", "weak"),
    ],
)
def test_only_a_hash_that_does_not_fit_is_a_change(
    monkeypatch: pytest.MonkeyPatch, codes: list[str], value: str, strength: str
) -> None:
    results = {"success": [{"code": "claimSignature.validated"}], "failure": [{"code": code} for code in codes]}
    stand_in(monkeypatch, {}, {"activeManifest": results})
    assert findings(Examiner(None), MARKED) == [("c2pa_manifest", value, strength)]


def test_an_ingredient_that_was_changed_since_is_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    delta = {"validationDeltas": {"failure": [{"code": "ingredient.manifest.mismatch"}]}}
    stand_in(monkeypatch, {}, {"activeManifest": {}, "ingredientDeltas": [delta]})
    assert findings(Examiner(None), MARKED)[0][1] == CHANGED


MARKED = in_png(png_chunk(b"caBX", b"c2pa"))


def stand_in(monkeypatch: pytest.MonkeyPatch, own: dict[str, Any], results: dict[str, Any] | None = None) -> None:
    """A report in the library's place: with failures and from tools that cannot be made here."""
    intact = {"activeManifest": {"success": [{"code": "claimSignature.validated"}]}}
    report = {
        "active_manifest": "own",
        "manifests": {"own": own},
        "validation_state": "Invalid",
        "validation_results": results or intact,
    }

    class Reader:
        def __init__(self, *_: object, **__: object) -> None: ...

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

        def json(self) -> str:
            return json.dumps(report)

    monkeypatch.setattr(c2pa, "Reader", Reader)


AGENTS = {"actions": [], "softwareAgents": [{"name": "Midjourney"}]}


def acted(**action: object) -> dict[str, Any]:
    return {"assertions": [{"label": "c2pa.actions__1", "data": {"actions": ["odd", action]}}]}


@pytest.mark.parametrize(
    ("own", "tool"),
    [
        ({"claim_generator": "Adobe_Firefly/1.0"}, "Adobe Firefly"),
        ({"claim_generator_info": [{"name": "Microsoft_Designer", "version": "1"}]}, "Microsoft Designer"),
        (acted(softwareAgent="Sora"), "Sora"),
        (acted(softwareAgent={"name": "gpt-image-1"}), "OpenAI"),
        (acted(description="Created by Google Generative AI."), "Google Generative AI"),
        (acted(softwareAgent="Google Imagen 4"), "Google Generative AI"),
        (acted(softwareAgent="FLUX.1 [pro]"), "FLUX (Black Forest Labs)"),
        ({"claim_generator_info": [{"name": "Black Forest Labs API"}]}, "FLUX (Black Forest Labs)"),
        ({"claim_generator": "xAI/1.0"}, "Grok (xAI)"),
        ({"claim_generator": "豆包AI"}, "Doubao (ByteDance)"),
        ({"assertions": [{"label": "c2pa.actions.v2", "data": AGENTS}]}, "Midjourney"),
    ],
)
def test_a_tool_is_named_wherever_a_manifest_names_it(
    monkeypatch: pytest.MonkeyPatch, own: dict[str, Any], tool: str
) -> None:
    stand_in(monkeypatch, own)
    assert findings(Examiner(None), MARKED)[1:] == [("c2pa_generator", tool, "medium")]


def test_actions_of_the_first_version_and_iptcs_copy_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"label": "actions", "data": [{"action": "c2pa.created", "softwareAgent": "Bing Image Creator"}]}
    iptc = {"label": "stds.iptc", "data": {"Iptc4xmpExt:DigitalSourceType": "trainedAlgorithmicMedia"}}
    stand_in(monkeypatch, {"assertions": [old, iptc, {"label": "odd", "data": [1]}]})
    assert [value for _, value, _ in findings(Examiner(None), MARKED)][1:] == [
        "trainedAlgorithmicMedia",
        "Bing Image Creator",
    ]


def test_an_ai_picture_as_an_ingredient_is_told_apart_from_the_image_itself(
    authority: Authority, trusting: Examiner
) -> None:
    generated = authority.sign(picture("JPEG", (90, 90)), "image/jpeg", manifest(agent="Midjourney"))
    collage = authority.sign(picture("JPEG", (80, 80)), "image/jpeg", manifest("composite"), component=generated)
    edited = authority.sign(picture("JPEG", (70, 70)), "image/jpeg", manifest("humanEdits"), parent=collage)
    own = [("c2pa_source_type", "humanEdits", "strong"), ("c2pa_source_type", "composite", "strong")]
    told = [("c2pa_ingredient", "trainedAlgorithmicMedia", "strong"), ("c2pa_ingredient", "Midjourney", "strong")]
    assert findings(trusting, collage)[1:] == own[1:] + told
    assert findings(trusting, edited)[1:] == own + told


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
    [b"", b"not boxes", nested(1), nested(900), struct.pack(">I4s", 0xFFFFFFF0, b"jumb") + bytes(1000)],
    ids=["empty", "garbage", "hollow", "nested", "boundless"],
)
def test_a_hostile_manifest_cannot_be_read_and_that_is_all(trusting: Examiner, hostile: bytes) -> None:
    assert findings(trusting, in_png(png_chunk(b"caBX", hostile))) == [("c2pa_manifest", "cannot be read", "weak")]


LEFT_OUT = [("incomplete", "left out: more metadata than is read", "weak")]


def test_a_manifest_that_the_library_would_be_busy_with_is_left_out(authority: Authority, trusting: Examiner) -> None:
    # 5,000 assertions in 870 kB took it 5 seconds, and the time grows with their square.
    what = manifest()
    what["assertions"] += [{"label": f"org.example.a{number}", "data": {"a": number}} for number in range(1100)]
    signed = authority.sign(picture("JPEG", (90, 90)), "image/jpeg", what)
    started = time.process_time()
    assert findings(trusting, signed) == LEFT_OUT
    assert findings(trusting, in_png(png_chunk(b"caBX", b"c2pa" + bytes(c2pa.MAX_MANIFEST)))) == LEFT_OUT
    assert time.process_time() - started < 0.2


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
    assert set(verdicts) - {"intact, trusted signer", "not valid: the manifest breaks the rules of C2PA"} == {
        CHANGED,
        "cannot be read",
    }
    assert padding < len(verdicts) / 2
