from __future__ import annotations

import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.errors import UnavailableError
from gateway.settings import Settings
from gateway.uploads import UploadBudget
from tests.gateway.conftest import OpenClient
from tests.gateway.fakes import BareClient, TorchServe, multipart, picture, upload

pytestmark = pytest.mark.anyio
JPEG = picture("JPEG")
GIF = picture("GIF")
ONE = "Send exactly one image in the multipart field `file`."
SOME = "Send 1 to 10 images in the multipart field `files`."
FORM = (
    "The request must be multipart/form-data. Send exactly one image in the multipart field `file`, "
    'as `curl -F "file=@photo.jpg"` does. Got: '
)
NO_FILE = (
    "The field `file` must be a file, and came as text. "
    'Send it with `filename` in its Content-Disposition, as `curl -F "file=@photo.jpg"` does.'
)
UNREADABLE = "The multipart body cannot be read. Let your HTTP client build it, together with its Content-Type."
NO_BOUNDARY = "The Content-Type names no boundary. Do not set it by hand: your HTTP client does."
BROKEN_OFF = "The body breaks off: the closing boundary is missing. Send it again as a whole."
TOO_MANY_FIELDS = "At most 20 text fields may come beside the files. Leave out what is not used."
LARGE_FIELD = (
    "A field that is no file is over 1 MB. "
    "Send an image as a file, with `filename` in its Content-Disposition, and leave other fields out."
)
FORMATS = "Supported formats: JPEG, PNG, WebP."
NO_NAME = "A part has no `name` in its Content-Disposition. Let your HTTP client build the body."


def several(detail: str) -> str:
    """What is said of `file`, of `files`."""
    return detail.replace("`file`", "`files`").replace("=@", "s=@")


FILE = {"file": upload(JPEG)}
NOT_A_FORM: list[tuple[str, dict[str, Any], str, str]] = [
    ("file", sent, "Invalid form data", detail)
    for sent, detail in (
        ({}, f"{FORM}no Content-Type"),
        ({"json": {"file": "x"}}, f"{FORM}application/json"),
        ({"data": {"file": "x"}}, f"{FORM}application/x-www-form-urlencoded"),
        ({"content": JPEG, "headers": {"Content-Type": "Image/JPEG; x=<script>"}}, f"{FORM}image/jpeg"),
        ({"content": JPEG, "headers": {"Content-Type": "<b>"}}, f"{FORM}no Content-Type"),
        ({"files": {"file": (None, "text")}}, NO_FILE),
        ({"files": FILE, "data": {str(number): "x" for number in range(21)}}, TOO_MANY_FIELDS),
        ({"files": {"file": (None, bytes(1_100_000))}}, LARGE_FIELD),
    )
]
OTHER_FIELDS = {"files": {"image": upload(JPEG)}, "data": {"a": "1", "<b>": "2", "a.b[]": "3"}}
NOT_ONE: list[tuple[str, dict[str, Any], str, str]] = [
    ("file", {"files": {"picture": upload(JPEG)}}, "Missing file", f"{ONE} Got: `picture`"),
    ("file", OTHER_FIELDS, "Missing file", f"{ONE} Got: `a`, `a.b[]`, `image`"),
    ("file", {"files": [("file", upload(JPEG))] * 2}, "Too many files", ONE),
    ("file", {"files": {"file": upload(b"")}}, "Empty file", "The uploaded file has no content."),
    ("file", {"files": {"file": upload(GIF)}}, "Invalid image format", f"{FORMATS} Got: image/gif"),
    ("file", {"files": {"file": upload(JPEG[:100])}}, "Invalid image", "The image is truncated or corrupt."),
]
NOT_A_BATCH: list[tuple[str, dict[str, Any], str, str]] = [
    ("files", {}, "Invalid form data", several(FORM.replace(ONE[:-1], SOME[:-1])) + "no Content-Type"),
    ("files", {"files": FILE}, "Missing file", f"{SOME} Got: `file`"),
    ("files", {"files": [("files", upload(JPEG))] * 11}, "Too many files", SOME),
    ("files", {"files": [("files", upload(JPEG)), ("files", (None, "text"))]}, "Invalid form data", several(NO_FILE)),
]


@pytest.mark.parametrize(("field", "sent", "error", "detail"), [*NOT_A_FORM, *NOT_ONE, *NOT_A_BATCH])
def test_what_is_not_the_documented_form_is_400(
    client: TestClient, field: str, sent: dict[str, Any], error: str, detail: str
) -> None:
    for path in ("/predict", "/predict/explain") if field == "file" else ("/predict/batch",):
        answer = client.post(path, **sent)
        assert answer.status_code == 400
        assert answer.json() == {"error": error, "detail": detail}


def part(disposition: str) -> bytes:
    return f"--cut\r\nContent-Disposition: form-data{disposition}\r\n\r\n".encode() + JPEG + b"\r\n--cut--\r\n"


@pytest.mark.parametrize(
    ("parameters", "content", "detail"),
    [
        ("", multipart("file", JPEG), NO_BOUNDARY),
        ("; boundary=", multipart("file", JPEG), NO_BOUNDARY),
        ("; charset=utf-8", b"", NO_BOUNDARY),
        ("; boundary=other", multipart("file", JPEG), UNREADABLE),
        ("; boundary=cut", part(""), NO_NAME),
        ("; boundary=cut", part("; name=\"file\"; filename*=UTF-8''a.jpg"), NO_FILE),
        ("; boundary=cut", part('; name="file"'), NO_FILE),
        ("; boundary=cut; charset=punycode", multipart("\x80", JPEG), UNREADABLE),
        ("; boundary=cut", multipart("file", JPEG)[:-30], BROKEN_OFF),
        ("; boundary=" + "b" * 1000, b"", UNREADABLE),
    ],
)
def test_a_broken_form_is_400_and_says_what_to_do(
    client: TestClient, parameters: str, content: bytes, detail: str
) -> None:
    headers = {"Content-Type": f"multipart/form-data{parameters}"}
    answer = client.post("/predict", content=content, headers=headers)
    assert answer.status_code == 400
    assert answer.json() == {"error": "Invalid form data", "detail": detail}


def test_both_forms_of_a_file_name_are_a_file(client: TestClient) -> None:
    content = part('; name="file"; filename="a.jpg"; filename*=UTF-8\'\'b.jpg')
    headers = {"Content-Type": "multipart/form-data; boundary=cut"}
    assert client.post("/predict", content=content, headers=headers).status_code == 200


def test_the_declared_type_and_the_name_do_not_count(client: TestClient) -> None:
    assert client.post("/predict", files={"file": ("a.txt", JPEG, "text/plain")}).status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/predict/explain"])
def test_the_file_limit_is_exact(open_client: OpenClient, path: str) -> None:
    client = open_client(max_file_bytes=1024 * 1024)
    largest = JPEG + bytes(1024 * 1024 - len(JPEG))
    assert client.post(path, files={"file": upload(largest)}).status_code == 200
    answer = client.post(path, files={"file": upload(largest + b"\0")})
    assert answer.status_code == 413
    assert answer.json() == {"error": "File too large", "detail": "Maximum file size: 1 MB"}


@pytest.mark.parametrize(
    ("path", "error", "detail"),
    [
        ("/predict", "File too large", "Maximum file size: 5 MB"),
        ("/v1/predict/explain", "File too large", "Maximum file size: 5 MB"),
        ("/predict/batch", "Request too large", "Maximum batch size: 50 MB"),
    ],
)
async def test_a_declared_length_over_the_limit_is_refused_unread(path: str, error: str, detail: str) -> None:
    headers = {"content-length": str(51 * 1024 * 1024)}
    bare = BareClient(create_app(Settings(), TorchServe().transport()), path, [b"x"], headers)
    await bare.run()
    assert bare.status == 413
    assert bare.json() == {"error": error, "detail": detail}
    assert len(bare.answer_headers["x-request-id"]) == 32
    assert bare.chunks_read == 0


async def test_a_body_without_a_length_is_cut_off_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "max_form_overhead_bytes", 1000)
    limits = Settings(max_file_bytes=2000)
    body = multipart("file", JPEG + bytes(100_000))
    chunks = [body[start : start + 500] for start in range(0, len(body), 500)]
    bare = BareClient(create_app(limits, TorchServe().transport()), "/predict", chunks)
    await bare.run()
    assert bare.status == 413
    assert bare.json() == {"error": "File too large", "detail": "Maximum file size: 0.00190735 MB"}
    assert bare.chunks_read == 7  # 3,500 bytes: the first chunk over 3,000


@pytest.mark.parametrize("path", ["/predict", "/predict/explain", "/predict/batch"])
def test_no_upload_reaches_a_disk(
    client: TestClient, torchserve: TorchServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[int] = []

    async def predict(request: httpx.Request) -> httpx.Response:
        seen.append(len(open_files_in(tmp_path)))
        return await torchserve.predict(request)

    torchserve.handler = predict
    data = JPEG + bytes(1_500_000)
    field = "files" if path.endswith("batch") else "file"
    assert client.post(path, files={field: upload(data)}).status_code == 200
    refused = 200 if field == "files" else 400
    assert client.post(path, files={field: upload(GIF + bytes(1_500_000))}).status_code == refused
    assert client.post(path, files=[(field, upload(data))] * (11 if field == "files" else 2)).status_code == 400
    headers = {"Content-Type": "multipart/form-data; boundary=cut"}
    assert client.post(path, content=multipart(field, data)[:-9], headers=headers).status_code == 400
    torchserve.down()
    assert client.post(path, files={field: upload(data)}).status_code == 503
    assert seen == [0]
    assert open_files_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def open_files_in(folder: Path) -> list[str]:
    """Files below a folder that this process has open, deleted ones included."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            links.append(str(link.readlink()))
    return [target for target in links if target.startswith(f"{folder}/")]


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_takes_its_bytes_from_the_budget_and_gives_them_back(
    torchserve: TorchServe, *, declared: bool
) -> None:
    settings = Settings(max_batch_files=1, max_file_bytes=3_000_000)
    body = multipart("files", JPEG + bytes(2_500_000))
    headers = {"content-length": str(len(body))} if declared else {}
    chunks = [body[start : start + 50_000] for start in range(0, len(body), 50_000)]
    bare = BareClient(create_app(settings, torchserve.transport()), "/predict/batch", chunks, headers)

    async def predict(request: httpx.Request) -> httpx.Response:
        assert bare.services.uploads.left == settings.upload_budget_bytes - len(body)
        return await torchserve.predict(request)

    torchserve.handler = predict
    await bare.run()
    assert bare.json()["successful"] == 1
    assert bare.services.uploads.left == settings.upload_budget_bytes


@pytest.mark.parametrize("declared", [True, False])
async def test_when_the_budget_is_used_up_a_body_is_refused_with_a_hint_when_to_retry(
    monkeypatch: pytest.MonkeyPatch, *, declared: bool
) -> None:
    tight = UploadBudget(Settings())
    tight.left = 500_000
    monkeypatch.setattr("gateway.services.UploadBudget", lambda _: tight)
    body = multipart("file", bytes(1_000_000))
    chunks = [body[start : start + 50_000] for start in range(0, len(body), 50_000)]
    headers = {"content-length": str(len(body))} if declared else {}
    bare = BareClient(create_app(Settings(), TorchServe().transport()), "/predict", chunks, headers)
    await bare.run()
    assert (bare.status, bare.answer_headers["retry-after"]) == (503, "5")
    assert bare.json() == {
        "error": "Service unavailable",
        "detail": "Too many uploads at the same time. Please retry.",
    }
    assert bare.chunks_read == (0 if declared else 11)


def test_batches_leave_room_for_single_images() -> None:
    settings = Settings()
    budget = UploadBudget(settings)
    with budget.hold() as batch, budget.hold() as another, budget.hold() as photo:
        batch(settings.max_batch_bytes)
        with pytest.raises(UnavailableError):
            another(settings.max_batch_bytes // 2)
        photo(settings.max_file_bytes)
    assert budget.left == settings.upload_budget_bytes


def test_many_small_bodies_do_not_take_every_connection() -> None:
    settings, held = Settings(), 0
    budget = UploadBudget(settings)
    with ExitStack() as stack, suppress(UnavailableError):
        while True:
            stack.enter_context(budget.hold())(10)
            held += 1
    assert held < settings.max_connections
