"""One claim for each class of error, from every layer, in both forms."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.e2e.contract.claims import JSON, PROBLEM, Claim, Like, error, text
from tests.e2e.contract.gateways import KEYS, Gateways
from tests.e2e.contract.pictures import MIB, as_kind, header_alone, padded, photo

GIF = [("file", ("photo.jpg", as_kind("GIF"), "image/jpeg"))]
JPEG = as_kind("JPEG")


def posting(path: str, *files: tuple[str, object], gateway: str = "open", times: int = 1, **sent: str) -> Claim:
    return Claim("", "POST", path, 0, gateway=gateway, sent=sent, files=files or None, times=times)


@dataclass(frozen=True)
class Refusal:
    """One error: what is wrong, the request that meets it, and what it says."""

    wrong: str
    claim: Claim
    status: int
    code: str
    title: str
    detail: str | Like

    def __str__(self) -> str:
        return f"{self.wrong}: {self.status} {self.code}"


SIDES = "Each side must have 10 to 10000 pixels. Got: 10001x10"
WAIT = text("the rate and the wait", lambda found: found.startswith("At most 5 requests a minute. Please retry in "))
FORM = text("the form", lambda found: found.startswith("The request must be multipart/form-data. Send 1 to 10 "))
KEY = "No API key was sent. Send yours in the header X-API-Key."
REFUSALS = [
    Refusal("a path", Claim("", "GET", "/no", 0), 404, "not_found", "Not Found", "There is nothing at this path."),
    Refusal(
        "a method",
        *(Claim("", "GET", "/predict", 0), 405, "method_not_allowed"),
        *("Method Not Allowed", "This path does not support this method."),
    ),
    Refusal(
        "a file's length",
        *(posting("/predict", ("file", padded(5 * MIB + 1))), 413, "file_too_large"),
        *("File too large", "Maximum file size: 5 MB"),
    ),
    Refusal("no key", posting("/predict", gateway="keyed"), 401, "unauthorized", "Unauthorized", KEY),
    Refusal(
        "too often",
        Claim("", "POST", "/predict/batch", 0, gateway="keyed", sent={"X-API-Key": KEYS[0]}, times=6),
        *(429, "rate_limited", "Rate limit exceeded", WAIT),
    ),
    Refusal("no form", posting("/predict/batch"), 400, "invalid_form", "Invalid form data", FORM),
    Refusal(
        "no file",
        *(posting("/predict", ("files", JPEG)), 400, "missing_file", "Missing file"),
        "Send exactly one image in the multipart field `file`. Got: `files`",
    ),
    Refusal(
        "a format",
        *(posting("/predict", *GIF), 400, "invalid_image_format", "Invalid image format"),
        "Supported formats: JPEG, PNG, WebP. Got: image/gif",
    ),
    Refusal(
        "a side",
        *(posting("/predict", ("file", header_alone(10_001, 10))), 400, "invalid_image_dimensions"),
        *("Invalid image dimensions", SIDES),
    ),
    Refusal(
        "half a photo",
        *(posting("/predict/explain", ("file", photo()[:200_000])), 400, "corrupt_image", "Invalid image"),
        "The image is truncated or corrupt.",
    ),
    Refusal(
        "the model server",
        *(posting("/predict", ("file", JPEG), gateway="down"), 503, "service_unavailable"),
        *("Service unavailable", "The model is not available right now. Please retry."),
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_an_error_is_the_documented_json_or_rfc_9457(refusal: Refusal, gateways: Gateways) -> None:
    answer = refusal.claim.send(gateways)
    assert (answer.status_code, answer.headers["content-type"]) == (refusal.status, JSON)
    assert list(answer.json().items()) == list(error(refusal.title, refusal.detail).items())
    answer = refusal.claim.send(gateways, Accept=f"{PROBLEM}, */*;q=0.1", **{"X-Request-ID": "of the client"})
    assert (answer.status_code, answer.headers["content-type"]) == (refusal.status, PROBLEM)
    assert answer.json() == {
        "type": f"urn:ai-product-photo-detector:error:{refusal.code}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.detail,
    }
    assert answer.headers["x-request-id"] == "of the client"


@pytest.mark.parametrize(
    ("path", "limit", "form", "said"),
    [
        ("/predict", 5, "File too large", "file size: 5 MB"),
        ("/predict/batch", 50, "Request too large", "batch size: 50 MB"),
    ],
)
def test_a_body_over_the_limit_is_refused_before_its_end(
    gateways: Gateways, path: str, limit: int, form: str, said: str
) -> None:
    head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    content = head + bytes(limit * MIB + 66_000)  # the form's own bytes may come on top of the file's
    declared = {"Content-Length": str((limit + 1) * MIB)}, None
    chunked = {"Transfer-Encoding": "chunked"}, f"{len(content):x}\r\n".encode() + content + b"\r\n"
    for headers, begun in (declared, chunked)[: 2 if limit == 5 else 1]:
        address = urlsplit(str(gateways.clients["open"].base_url))
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
        connection.putrequest("POST", path)
        for name, value in {"Content-Type": "multipart/form-data; boundary=cut", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(begun)
        answer = connection.getresponse()  # the body never ends, so nobody waited for its end
        assert (answer.status, json.loads(answer.read())) == (413, error(form, f"Maximum {said}"))
        connection.close()
