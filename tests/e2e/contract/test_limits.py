"""The limits, each on both sides."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest

from tests.e2e.contract.claims import Ask, Claim, error, text
from tests.e2e.contract.gateways import Gateways
from tests.e2e.contract.pictures import MIB, as_kind, garbled, header_alone, padded, photo
from tests.e2e.contract.shipped import PREDICTION

PHOTO, JPEG = photo(), as_kind("JPEG")
ONE = "Send exactly one image in the multipart field `file`."
SOME = "Send 1 to 10 images in the multipart field `files`."
SIDES = "Each side must have 10 to 10000 pixels."
FORMAT = "Supported formats: JPEG, PNG, WebP."
CORRUPT = ("Invalid image", "The image is truncated or corrupt.")
TOO_LARGE = ("File too large", "Maximum file size: 5 MB")
BATCH_TOO_LARGE = ("Request too large", "Maximum batch size: 50 MB")

ACCEPTED = {
    "JPEG": JPEG,
    "PNG": as_kind("PNG"),
    "WebP": as_kind("WEBP"),
    "a side of 10 pixels": as_kind("PNG", (10, 64)),
    "a side of 10,000 pixels": as_kind("PNG", (10_000, 10)),
    "5 MB": padded(5 * MIB),
}
REFUSED = {
    "a GIF": (as_kind("GIF"), "Invalid image format", f"{FORMAT} Got: image/gif"),
    "a BMP": (as_kind("BMP"), "Invalid image format", f"{FORMAT} Got: image/bmp"),
    "text": (b"no picture at all", "Invalid image format", f"{FORMAT} Got: unknown"),
    "no bytes": (b"", "Empty file", "The uploaded file has no content."),
    "a side of 9 pixels": (as_kind("PNG", (9, 64)), "Invalid image dimensions", f"{SIDES} Got: 9x64"),
    "a side of 10,001 pixels, by its header": (
        header_alone(10_001, 10),
        "Invalid image dimensions",
        f"{SIDES} Got: 10001x10",
    ),
    "56 megapixels, by its header": (
        header_alone(8000, 7000),
        "Invalid image dimensions",
        "At most 50 megapixels. Got: 8000x7000",
    ),
    "a decompression bomb": (
        as_kind("PNG", (40_000, 40_000), "1"),
        "Invalid image dimensions",
        f"{SIDES} Got: 40000x40000",
    ),
    "a truncated header": (PHOTO[:20], *CORRUPT),
    "truncated pixels": (PHOTO[: len(PHOTO) // 2], *CORRUPT),
    "corrupt pixels": (garbled(PHOTO), *CORRUPT),
}


def posting(path: str, *parts: tuple[str, object]) -> Ask:
    return Ask("POST", path, files=parts)


SINGLES = ("/predict", "/predict/explain")
CLAIMS = [
    *(
        Claim(f"predict takes {what}", posting("/predict", ("file", ("photo.jpg", data))), 200, PREDICTION)
        for what, data in ACCEPTED.items()
    ),
    Claim(
        "name and declared type do not count",
        posting("/predict", ("file", ("notes.txt", as_kind("WEBP"), "text/plain"))),
        200,
        PREDICTION,
    ),
    *(
        Claim(
            f"{path} refuses {what}",
            posting(path, ("file", ("photo.jpg", data, "image/jpeg"))),
            400,
            error(title, detail),
        )
        for path in SINGLES
        for what, (data, title, detail) in REFUSED.items()
    ),
    *(
        Claim(f"{path}: a byte over 5 MB is 413", posting(path, ("file", padded(5 * MIB + 1))), 413, error(*TOO_LARGE))
        for path in SINGLES
    ),
    *(
        Claim(
            f"{path}: no field `file`",
            posting(path, ("files", JPEG)),
            400,
            error("Missing file", f"{ONE} Got: `files`"),
        )
        for path in SINGLES
    ),
    *(
        Claim(f"{path}: `file` twice", posting(path, *[("file", JPEG)] * 2), 400, error("Too many files", ONE))
        for path in SINGLES
    ),
    *(
        Claim(
            f"{path}: not multipart",
            Ask("POST", path, headers={"Content-Type": "image/jpeg"}, content=JPEG),
            400,
            error("Invalid form data", text("the type", lambda found: found.endswith(" Got: image/jpeg"))),
        )
        for path in (*SINGLES, "/predict/batch")
    ),
    Claim(
        "an empty batch", posting("/predict/batch", ("other", JPEG)), 400, error("Missing file", f"{SOME} Got: `other`")
    ),
    Claim("11 files", posting("/predict/batch", *[("files", JPEG)] * 11), 400, error("Too many files", SOME)),
]


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_limits(claim: Claim, gateways: Gateways, mount: str) -> None:
    claim.check(gateways, mount)


def test_50_megapixels_are_judged(gateways: Gateways) -> None:
    files = [("file", as_kind("PNG", (10_000, 5000), "L"))]
    Claim("50 megapixels", Ask("POST", "/predict", files=files), 200, PREDICTION).check(gateways)


def test_in_a_batch_the_item_fails_and_the_others_go_on(gateways: Gateways, mount: str) -> None:
    bad = [(data, title, detail) for data, title, detail in REFUSED.values()][-8:]
    contents = [JPEG, *(data for data, *_ in bad), padded(5 * MIB + 1)]
    answer = posting("/predict/batch", *(("files", data) for data in contents)).send(gateways, mount)
    body = answer.json()
    errors = [None, *(f"{title}: {detail}" for _, title, detail in bad), ": ".join(TOO_LARGE)]
    assert answer.status_code == 200
    assert (body["total"], body["successful"], body["failed"]) == (10, 1, 9)
    assert [item["error"] for item in body["results"]] == errors
    assert [item["prediction"] is None for item in body["results"]] == [bool(each) for each in errors]


def test_50_mb_in_all_are_judged_and_a_byte_more_is_413(gateways: Gateways) -> None:
    files = [("files", padded(5 * MIB))] * 9
    most = posting("/predict/batch", *files, ("files", padded(5 * MIB))).send(gateways)
    assert (most.status_code, most.json()["successful"]) == (200, 10)
    over = posting("/predict/batch", *files, ("files", padded(5 * MIB + 1))).send(gateways)
    assert (over.status_code, over.json()) == (413, error(*BATCH_TOO_LARGE))


@pytest.mark.parametrize(
    ("path", "megabytes", "refusal"),
    [("/predict", 6, TOO_LARGE), ("/predict/explain", 6, TOO_LARGE), ("/predict/batch", 51, BATCH_TOO_LARGE)],
)
def test_a_declared_length_over_the_limit_is_refused_before_the_body_is_read(
    gateways: Gateways, mount: str, path: str, megabytes: int, refusal: tuple[str, str]
) -> None:
    with_length = {"Content-Length": str(megabytes * MIB)}
    assert _refusal_without_the_rest(gateways, mount + path, with_length, b"") == (413, error(*refusal))


@pytest.mark.parametrize("path", SINGLES)
def test_a_chunked_body_is_cut_off_at_the_limit(gateways: Gateways, mount: str, path: str) -> None:
    head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    content = head + bytes(5 * MIB + 66_000)  # the form's own bytes may come on top of the file's
    chunk = f"{len(content):x}\r\n".encode() + content + b"\r\n"
    chunked = {"Transfer-Encoding": "chunked"}
    assert _refusal_without_the_rest(gateways, mount + path, chunked, chunk) == (413, error(*TOO_LARGE))


def _refusal_without_the_rest(
    gateways: Gateways, path: str, headers: dict[str, str], begun: bytes
) -> tuple[int, object]:
    address = urlsplit(str(gateways.clients["open"].base_url))
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.putrequest("POST", path)
        for name, value in {"Content-Type": "multipart/form-data; boundary=cut", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(begun or None)
        answer = connection.getresponse()  # the body never ends, so nobody waited for its end
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
