from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as PlainRedis
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.drift.monitor import DriftMonitor, columns_of
from gateway.drift.reference import learn
from gateway.drift.store import DriftStore, FileStore, open_store
from gateway.settings import Settings
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.drift_data import sample
from tests.gateway.fakes import TorchServe, picture, upload
from tests.gateway.test_ratelimit_redis import SERVER, Redis

pytestmark = pytest.mark.anyio
SAMPLES = [sample(probability / 10, brightness=100.0 + probability) for probability in range(5)]
FILES = {"file": upload(picture("JPEG"), "secret-name.jpg")}


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def test_a_file_gives_back_what_it_got(tmp_path: Path) -> None:
    path = tmp_path / "new" / "window.json"
    await FileStore(path).save(SAMPLES, 5)
    await FileStore(path).save(SAMPLES[1:], 1)
    assert await FileStore(path).load() == SAMPLES[1:]
    assert names(path.parent) == ["window.json"]


def started(**changes: Any) -> TestClient:  # noqa: ANN401 - any setting
    return TestClient(create_app(Settings(**changes), TorchServe().transport()))


@pytest.mark.parametrize(
    "content", [b"", b"[", b"\xff", b'[{"probability": 2}]', b'[{"model_version": "1.0.0", "probability": NaN}]']
)
async def test_a_corrupt_file_is_set_aside(
    tmp_path: Path, content: bytes, open_client: OpenClient, log_lines: LogLines
) -> None:
    open_client()  # configures the logs
    path = tmp_path / "window.json"
    path.write_bytes(content)
    assert await FileStore(path).load() == []
    assert [line["event"] for line in log_lines()] == ["drift_window_set_aside"]
    assert (tmp_path / "window.json.corrupt").read_bytes() == content
    assert not path.exists()


async def test_a_place_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, open_client: OpenClient, log_lines: LogLines
) -> None:
    open_client()
    (tmp_path / "file").write_text("")
    await FileStore(tmp_path / "file" / "window.json").save(SAMPLES, 5)
    (line,) = log_lines()
    assert (line["event"], line["level"], line["cause"]) == ("drift_window_not_kept", "warning", "FileExistsError")


async def test_saves_are_spaced_and_only_when_something_is_new() -> None:
    saved: list[int] = []

    class Store(DriftStore):
        async def save(self, window: object, fresh: int) -> None:  # noqa: ARG002
            saved.append(fresh)

    monitor = DriftMonitor(None, Settings())
    async with monitor.kept(Store()):
        monitor.record(SAMPLES[0])
        monitor.record(SAMPLES[1])
    async with monitor.kept(Store()):
        pass
    assert saved == [2]


def test_the_window_and_what_was_learned_survive_a_restart(tmp_path: Path) -> None:
    settings = {"drift_file": tmp_path / "window.json", "drift_window": 5}
    with started(**settings) as client:
        for _ in range(5):
            client.post("/predict", files=FILES)
        before = client.get("/drift").json()
    assert (before["status"], before["reference_source"], before["window_size"]) == ("monitoring", "own traffic", 5)
    assert "secret-name" not in (tmp_path / "window.json").read_text()
    with started(**settings) as client:
        assert client.get("/drift").json() == before
        client.post("/predict", files=FILES)
        after = client.get("/drift").json()
    learned = ("reference", "reference_since")
    assert [after[name] for name in learned] == [before[name] for name in learned]
    # Without it, the window becomes the reference at the next start: so an operator begins anew.
    (tmp_path / "window.reference.json").unlink()
    with started(**settings) as client:
        assert client.get("/drift").json()["reference_source"] == "own traffic"


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Settings, "redis_timeout_s", 5.0)
    if SERVER is None:
        pytest.skip("redis-server is not installed")
    server = Redis(tmp_path)
    yield server.url
    server.stop()


def with_redis(url: str) -> Settings:
    return Settings.model_validate({"redis_url": url, "drift_window": 4})


async def test_redis_is_shared_and_bounded(redis: str) -> None:
    settings = with_redis(redis)
    async with open_store(settings) as first, open_store(settings) as second:
        await first.save(SAMPLES[:2], 2)
        await second.save(SAMPLES[1:], 3)  # only the three that are new to it
        assert await first.load() == SAMPLES[1:]
    with PlainRedis.from_url(redis) as client:
        assert client.llen("aidetect:drift:product-photo-detector") == 4


async def test_all_gateways_have_the_reference_that_was_learned_first(redis: str) -> None:
    settings = with_redis(redis)
    first, second = (learn("1.0.0", columns_of(SAMPLES[part]), 2) for part in (slice(3), slice(2, 5)))
    async with open_store(settings) as store, open_store(settings) as other:
        assert await other.share({}) == {}
        assert await store.share({"1.0.0": first}) == {"1.0.0": first}
        assert await other.share({"1.0.0": second}) == {"1.0.0": first}


async def test_what_redis_holds_is_not_believed(redis: str, open_client: OpenClient, log_lines: LogLines) -> None:
    open_client()
    settings = with_redis(redis)
    with PlainRedis.from_url(redis) as client:
        client.rpush("aidetect:drift:product-photo-detector", b"junk", b'{"probability": 7}')
    async with open_store(settings) as store:
        await store.save(SAMPLES[:1], 1)
        assert await store.load() == SAMPLES[:1]
    assert [line["event"] for line in log_lines()] == ["drift_sample_dropped"] * 2


async def test_without_its_redis_the_gateway_works_and_warns(open_client: OpenClient, log_lines: LogLines) -> None:
    open_client()
    settings = with_redis("redis://127.0.0.1:1")
    async with open_store(settings) as store:
        assert await store.load() == []
        await store.save(SAMPLES, 5)
    assert [line["event"] for line in log_lines()] == ["drift_window_not_kept"] * 2


async def test_two_gateways_on_one_file_never_write_the_same_one_and_are_told(
    tmp_path: Path, open_client: OpenClient, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_client()
    path, replaced = tmp_path / "window.json", []
    replace = Path.replace

    def noted(source: Path, target: Path) -> Path:
        replaced.append(source.name)
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", noted)
    first, second = FileStore(path), FileStore(path)
    for store in (first, second, first):
        await store.save(SAMPLES, 5)
    assert len(set(replaced)) == 3
    assert await second.load() == SAMPLES
    assert names(tmp_path) == ["window.json"]
    assert [line["event"] for line in log_lines()] == ["drift_file_shared"]


async def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    await FileStore(tmp_path / "window.json").save(SAMPLES, 5)
    assert names(tmp_path) == []
