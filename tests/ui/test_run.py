"""A batch without a browser: what it sends, waits for, keeps and lets go of."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.client import KeyRefusedError
from tests.ui.made import rows
from tests.ui.photos import many_jpegs
from ui.gateway import STOPPED, Gateway, Photo, Run
from ui.settings import Settings
from ui.views import Row

Handler = Callable[[httpx.Request], Coroutine[Any, Any, httpx.Response]]
ITEM = {"filename": "photo", "prediction": "real", "probability": 0.1, "confidence": "high", "error": None}
PAGE_TIMEOUT_S = 5.0


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    made = []
    for number, (name, content) in enumerate(many_jpegs(12).items(), 1):
        path = tmp_path / str(number) / "photo.jpg"
        path.parent.mkdir()
        path.write_bytes(content)
        made.append(Photo(number, name, path))
    return made


class Answers:
    """A gateway that answers each batch, unless a refusal is left; from a number of batches on it hangs."""

    def __init__(self, *refusals: httpx.Response, most: int = 99) -> None:
        self.refusals = list(refusals)
        self.most = most
        self.sizes: list[int] = []
        self.headers: list[httpx.Headers] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        count = (await request.aread()).count(b'name="files"')
        self.sizes.append(count)
        self.headers.append(request.headers)
        if len(self.sizes) > self.most:
            await asyncio.sleep(PAGE_TIMEOUT_S)
        if self.refusals:
            return self.refusals.pop(0)
        body = {"results": [ITEM] * count, "total": count, "successful": count, "failed": 0}
        return httpx.Response(200, json=body | {"total_inference_time_ms": 1.0, "model_version": "1.0.0"})


def followed(
    run: Run, handler: Handler, key: str = "", after: Callable[[], None] = lambda: None
) -> list[tuple[int, str]]:
    """Run to the end; how many rows there were, and the note, at each step."""

    async def follow() -> list[tuple[int, str]]:
        seen = []
        settings = Settings(timeout_s=PAGE_TIMEOUT_S)
        async with Gateway(settings, httpx.MockTransport(handler)).client(key, "10.0.0.7") as client:
            async for _ in run.follow(client):
                seen.append((len(run.rows), run.note))
                after()
        return seen

    return asyncio.run(follow())


def test_photos_go_in_the_gateways_batches_and_are_let_go_of(photos: list[Photo]) -> None:
    answers, gone = Answers(), list[Path]()
    run = Run(photos, [], gone.append)
    followed(run, answers, key="secret")
    assert answers.sizes == [10, 2]
    assert {headers["X-API-Key"] for headers in answers.headers} == {"secret"}
    assert {headers["X-Forwarded-For"] for headers in answers.headers} == {"10.0.0.7"}
    assert [(row.number, row.name) for row in run.rows] == [(photo.number, photo.name) for photo in photos]
    assert all(row.thumbnail and row.verdict for row in run.rows)
    assert gone == [photo.path for photo in photos]
    assert (run.ended, run.left()) == (True, [])


def test_a_rate_is_waited_for_and_said_so(photos: list[Photo]) -> None:
    limited = httpx.Response(429, json={"error": "x", "detail": "5 a minute."}, headers={"Retry-After": "1"})
    answers = Answers(limited)
    run = Run(photos, [], lambda _: None)
    seen = followed(run, answers)
    assert seen[0] == (0, "Too many checks in a short time: waiting 1 second, then continuing automatically.")
    assert seen[-1] == (12, "")
    assert answers.sizes == [10, 10, 2]


def test_a_stopped_batch_gives_the_rest_rows_and_keeps_their_photos(photos: list[Photo]) -> None:
    gone = list[Path]()
    run = Run(photos, [], gone.append)
    followed(run, Answers(most=1), after=run.stop)
    assert [row.reason for row in run.rows] == [""] * 10 + [STOPPED] * 2
    assert (gone, run.left()) == ([photo.path for photo in photos[:10]], photos[10:])


def test_a_refused_key_keeps_every_photo(photos: list[Photo]) -> None:
    gone = list[Path]()
    run = Run(photos, [], gone.append)
    followed(run, Answers(httpx.Response(401, json={"error": "x", "detail": "Missing API key."})))
    assert [row.reason for row in run.rows] == ["The service wants an API key."] * 12
    assert (gone, run.left(), type(run.trouble)) == ([], photos, KeyRefusedError)


def test_the_same_file_twice_is_let_go_of_after_its_second_use(photos: list[Photo]) -> None:
    gone = list[Path]()
    twice = [photos[0], Photo(2, "copy.jpg", photos[0].path)]
    run = Run(twice, [], gone.append)
    followed(run, Answers())
    assert all(row.verdict for row in run.rows)
    assert gone == [photos[0].path]


def test_rows_of_another_try_join_those_that_are_settled(photos: list[Photo]) -> None:
    settled: list[Row] = [row for row in rows() if not row.again]
    run = Run([Photo(5, "chair.jpg", photos[0].path)], settled, lambda _: None)
    followed(run, Answers())
    assert [row.number for row in run.rows if row.verdict] == [1, 2, 3, 5]
    assert run.total == 5


def test_a_photo_that_is_no_longer_there_fails_alone(photos: list[Photo]) -> None:
    photos[3].path.unlink()
    run = Run(photos, [], lambda _: None)
    followed(run, Answers())
    assert [row.number for row in run.rows if row.verdict is None] == [4]
    assert "Choose the photo again." in run.rows[3].reason


def test_a_fault_in_this_page_is_raised_and_not_waited_for(photos: list[Photo]) -> None:
    async def broken(_: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        followed(Run(photos, [], lambda _: None), broken)
