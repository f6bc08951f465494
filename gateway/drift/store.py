"""Where the drift window outlives the process: a small file, or Redis; numbers and verdicts, nothing of content."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any, Final, Protocol, cast

import structlog
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool
from structlog.typing import FilteringBoundLogger

from gateway.drift.input_statistics import InputName
from gateway.schemas import Confidence, Prediction
from gateway.settings import Settings

_log: FilteringBoundLogger = structlog.get_logger()

REDIS_KEY: Final = "aidetect:drift:"
"""Followed by the model's name in TorchServe."""


@dataclass(frozen=True, config=ConfigDict(allow_inf_nan=False, protected_namespaces=()))
class Sample:
    """What the window keeps of one prediction; pictures that were not measured have no inputs."""

    model_version: str
    prediction: Prediction
    probability: Annotated[float, Field(ge=0, le=1)]
    confidence: Confidence
    inputs: dict[InputName, float]


_SAMPLES: Final[TypeAdapter[list[Sample]]] = TypeAdapter(list[Sample])
_SAMPLE: Final[TypeAdapter[Sample]] = TypeAdapter(Sample)


class DriftStore(Protocol):
    """Keeps samples; trouble with it is logged and costs the history, never a prediction."""

    async def load(self) -> list[Sample]:
        """The samples of the last process, oldest first."""

    async def save(self, window: Sequence[Sample], fresh: int) -> None:
        """Keep the window, whose last `fresh` samples are new since the last time."""


class NoStore:
    """Forgets."""

    async def load(self) -> list[Sample]:
        """Nothing."""
        return []

    async def save(self, window: Sequence[Sample], fresh: int) -> None:
        """Do nothing."""


class FileStore:
    """One JSON file, replaced as a whole; for one gateway process, and it says so where another writes it too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: int | None = None

    async def load(self) -> list[Sample]:
        """The file's samples; a file that cannot be understood is set aside."""
        return await run_in_threadpool(self._read)

    async def save(self, window: Sequence[Sample], fresh: int) -> None:  # noqa: ARG002 - a file is written as a whole
        """Write a new file and move it over the old one."""
        await run_in_threadpool(self._write, list(window))

    def _read(self) -> list[Sample]:
        try:
            return _SAMPLES.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return []
        except ValidationError:
            aside = self._path.with_name(self._path.name + ".corrupt")
            _log.warning("drift_window_set_aside", file=str(self._path), aside=str(aside))
            self._try_to(lambda: self._path.replace(aside))
        except OSError as error:
            _warn(error)
        return []

    def _write(self, window: list[Sample]) -> None:
        def write() -> None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._written is not None and self._path.exists() and self._path.stat().st_ino != self._written:
                _log.warning("drift_file_shared", file=str(self._path), cure="give each gateway its own, or Redis")
            with NamedTemporaryFile(dir=self._path.parent, prefix=f"{self._path.name}.", delete=False) as partial:
                new = Path(partial.name)
                try:
                    partial.write(_SAMPLES.dump_json(window))
                    partial.flush()
                    self._written = new.replace(self._path).stat().st_ino
                except BaseException:
                    new.unlink(missing_ok=True)
                    raise

        self._try_to(write)

    @staticmethod
    def _try_to(action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            _warn(error)


class RedisStore:
    """One Redis list to which every gateway adds its own; a new process starts with the newest of all of them."""

    def __init__(self, client: Redis, model_name: str, capacity: int) -> None:
        self._client = client
        self._key = REDIS_KEY + model_name
        self._capacity = capacity

    async def load(self) -> list[Sample]:
        """The list's samples, without those that cannot be understood."""
        try:
            rows = await cast(Any, self._client.lrange(self._key, -self._capacity, -1))
        except (RedisError, OSError) as error:
            _warn(error)
            return []
        return [sample for row in rows if (sample := _parse(row)) is not None]

    async def save(self, window: Sequence[Sample], fresh: int) -> None:
        """Append what is new and cut the list to the window's capacity."""
        rows = [_SAMPLE.dump_json(sample) for sample in list(window)[-fresh:]]
        try:
            async with self._client.pipeline() as pipeline:
                pipeline.rpush(self._key, *rows)
                pipeline.ltrim(self._key, -self._capacity, -1)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            _warn(error)


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[DriftStore]:
    """The store that the settings ask for: Redis before a file before nothing."""
    if settings.redis_url is not None:
        url, timeout_s = str(settings.redis_url.get_secret_value()), settings.redis_timeout_s
        async with Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s) as client:
            yield RedisStore(client, settings.model_name, settings.drift_window)
    elif settings.drift_file == Path():
        yield NoStore()
    else:
        yield FileStore(settings.drift_file)


def _parse(row: bytes) -> Sample | None:
    try:
        return _SAMPLE.validate_json(row)
    except ValidationError:
        _log.warning("drift_sample_dropped")
        return None


def _warn(error: Exception) -> None:
    _log.warning("drift_window_not_kept", cause=type(error).__name__)
