from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.errors import ApiError, UnavailableError
from gateway.images import CheckedImage
from gateway.schemas import Explanation, Verdict
from gateway.services import open_services
from gateway.settings import Settings
from gateway.torchserve import Backend
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.fakes import HEATMAP, VERDICT, TorchServe

pytestmark = pytest.mark.anyio
IMAGE = CheckedImage(b"image", 1)
TOKENS = {"management": {"key": "manager1"}, "inference": {"key": "abcd1234", "expiration time": "..."}}


@asynccontextmanager
async def opened(torchserve: TorchServe, **changes: Any) -> AsyncIterator[Backend]:  # noqa: ANN401 - any setting
    async with open_services(Settings(**changes), torchserve.transport()) as services:
        yield services.backend


async def test_answers_become_verdicts(torchserve: TorchServe) -> None:
    async with opened(torchserve) as backend:
        assert backend.model_version is None
        assert await backend.predict(IMAGE, "id") == Verdict.model_validate(VERDICT)
        explained = VERDICT | {"heatmap_base64": HEATMAP}
        assert await backend.explain(IMAGE, "id") == Explanation.model_validate(explained)
        assert backend.model_version == "1.0.0"


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        ("unsupported_format", 400, "Invalid image format: Supported formats: JPEG, PNG, WebP. Got: unknown"),
        ("corrupt_image", 400, "Invalid image: The image is truncated or corrupt."),
        ("too_many_pixels", 400, "Invalid image dimensions: The image has too many pixels."),
        ("bad_dimensions", 400, "Invalid image dimensions: A side of the image is too short or too long."),
    ],
)
async def test_a_refused_image_is_the_clients_error(torchserve: TorchServe, code: str, status: int, text: str) -> None:
    torchserve.always(422, {"code": code})
    async with opened(torchserve) as backend:
        with pytest.raises(ApiError) as refused:
            await backend.predict(IMAGE, "id")
        assert (refused.value.status, str(refused.value)) == (status, text)
        assert not backend.answered_within(60)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, None),
        (200, {}),
        (200, VERDICT),  # of an explanation, without its map
        (200, VERDICT | {"probability": 1.2}),
        (200, VERDICT | {"prediction": "maybe"}),
        (200, VERDICT | {"model_version": ""}),
        (204, None),
        (302, None),
        (400, {"message": "token expired"}),
        (401, None),
        (404, {"message": "no such model"}),
        (413, None),
        (422, {"code": "some new code"}),
        (422, None),
        (500, VERDICT),
        (503, None),
        (507, {"message": "Worker died."}),
    ],
)
async def test_anything_else_is_unavailable(torchserve: TorchServe, status: int, body: object) -> None:
    torchserve.always(status, body)
    async with opened(torchserve) as backend:
        with pytest.raises(UnavailableError) as refused:
            await (backend.explain if body == VERDICT else backend.predict)(IMAGE, "id")
    assert refused.value.headers == {"Retry-After": "5"}
    assert refused.value.detail == "The model is not available right now. Please retry."
    assert len(torchserve.requests) == 1


def failing(error: Callable[[str], Exception], times: int) -> TorchServe:
    torchserve = TorchServe()

    async def handler(request: httpx.Request) -> httpx.Response:
        if len(torchserve.requests) <= times:
            raise error("trouble at 10.0.0.1")
        return await torchserve.predict(request)

    torchserve.handler = handler
    return torchserve


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout])
async def test_connecting_is_tried_again_and_given_up_after_the_attempts(error: Callable[[str], Exception]) -> None:
    torchserve = failing(error, times=2)
    async with opened(torchserve) as backend:
        assert await backend.predict(IMAGE, "id") == Verdict.model_validate(VERDICT)
    assert len(torchserve.requests) == 3
    torchserve = failing(error, times=99)
    async with opened(torchserve) as backend:
        with pytest.raises(UnavailableError):
            await backend.predict(IMAGE, "id")
    assert len(torchserve.requests) == Settings.connect_attempts


@pytest.mark.parametrize("error", [httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError])
async def test_a_call_that_may_have_arrived_is_not_repeated(error: Callable[[str], Exception]) -> None:
    torchserve = failing(error, times=1)
    async with opened(torchserve) as backend:
        with pytest.raises(UnavailableError):
            await backend.predict(IMAGE, "id")
    assert len(torchserve.requests) == 1


def sluggish(torchserve: TorchServe) -> None:
    async def handler(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    torchserve.handler = handler


async def test_the_deadline_covers_waiting_for_a_slot(torchserve: TorchServe) -> None:
    sluggish(torchserve)
    async with opened(torchserve, predict_timeout_s=0.3, backend_concurrency=1) as backend:
        async with asyncio.timeout(3):  # one after the other would take six seconds
            calls = (backend.predict(IMAGE, "id") for _ in range(20))
            errors = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in errors] == [UnavailableError] * 20
        torchserve.handler = torchserve.predict
        assert await backend.predict(IMAGE, "id")  # the slots are free again


async def test_trouble_is_logged_without_image_or_token(
    torchserve: TorchServe, tmp_path: Path, log_lines: LogLines, open_client: OpenClient
) -> None:
    key_file = tmp_path / "key_file.json"
    key_file.write_text(json.dumps(TOKENS))
    open_client()  # configures the logs
    torchserve.down()
    async with opened(torchserve, torchserve_key_file=key_file) as backend:
        with pytest.raises(UnavailableError):
            await backend.predict(CheckedImage(b"the image", 1), "id")
    lines = log_lines()
    assert [line["event"] for line in lines] == [*["stamina.retry_scheduled"] * 2, "model_server_trouble"]
    assert lines[-1]["cause"] == "ConnectError"
    assert "abcd1234" not in str(lines)
    assert "the image" not in str(lines)


@pytest.mark.parametrize(
    ("status", "stamp"),
    [(200, 2), (400, 1), (401, 1)],
    ids=["the file changed", "refused with 400", "refused with 401, and a clock too coarse to show the change"],
)
async def test_the_token_is_sent_and_read_again(
    torchserve: TorchServe, tmp_path: Path, status: int, stamp: int
) -> None:
    key_file = tmp_path / "key_file.json"
    key_file.write_text(json.dumps(TOKENS))
    os.utime(key_file, ns=(1, 1))
    torchserve.always(status, VERDICT)
    async with opened(torchserve, torchserve_key_file=key_file) as backend:
        with suppress(UnavailableError):
            await backend.predict(IMAGE, "id")
        key_file.write_text(json.dumps(TOKENS | {"inference": {"key": "wxyz9876"}}))
        os.utime(key_file, ns=(stamp, stamp))
        torchserve.handler = torchserve.predict
        await backend.predict(IMAGE, "id")
    assert [request.headers["authorization"] for request in torchserve.requests] == [
        "Bearer abcd1234",
        "Bearer wxyz9876",
    ]


@pytest.mark.parametrize("content", [None, "", "{}", '{"inference": {"key": "line\\nbreak"}}'])
async def test_an_unusable_key_file_is_unavailable(torchserve: TorchServe, tmp_path: Path, content: str | None) -> None:
    key_file = tmp_path / "key_file.json"
    if content is not None:
        key_file.write_text(content)
    async with opened(torchserve, torchserve_key_file=key_file) as backend:
        with pytest.raises(UnavailableError):
            await backend.predict(IMAGE, "id")
    assert torchserve.requests == []
