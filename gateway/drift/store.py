"""Where the drift window outlives the process: a small file, or Redis; numbers and verdicts, nothing of content."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any, Final, Protocol, TypeVar, cast

import structlog
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool
from structlog.typing import FilteringBoundLogger

from gateway.drift.reference import Reference
from gateway.schemas import Confidence, InputName, Prediction
from gateway.settings import Settings

_log: FilteringBoundLogger = structlog.get_logger()

T = TypeVar("T")

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
_REFERENCES: Final[TypeAdapter[dict[str, Reference]]] = TypeAdapter(dict[str, Reference])
_REFERENCE: Final[TypeAdapter[Reference]] = TypeAdapter(Reference)
VERSIONS: Final = 8
"""Of the model, whose references a file keeps."""


class DriftStore(Protocol):
    """Keeps samples; trouble with it is logged and costs the history, never a prediction."""

    async def load(self) -> list[Sample]:
        """The samples of the last process, oldest first."""

    async def save(self, window: Sequence[Sample], fresh: int) -> None:
        """Keep the window, whose last `fresh` samples are new since the last time."""

    async def share(self, learned: dict[str, Reference]) -> dict[str, Reference]:
        """Keep references by version, each unless there is one, and return those that are kept."""


class NoStore:
    """Forgets."""

    async def load(self) -> list[Sample]:
        """Nothing."""
        return []

    async def save(self, window: Sequence[Sample], fresh: int) -> None:
        """Do nothing."""

    async def share(self, learned: dict[str, Reference]) -> dict[str, Reference]:
        """The same."""
        return learned


class FileStore:
    """A JSON file, and one of references beside it, each replaced as a whole; for one gateway process.

    It says so where another writes the window too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: dict[Path, int] = {}

    async def load(self) -> list[Sample]:
        """The file's samples; a file that cannot be understood is set aside."""
        return await run_in_threadpool(self._read, self._path, _SAMPLES) or []

    async def save(self, window: Sequence[Sample], fresh: int) -> None:  # noqa: ARG002 - a file is written as a whole
        """Write a new file and move it over the old one."""
        await run_in_threadpool(self._write, self._path, _SAMPLES.dump_json(list(window)))

    async def share(self, learned: dict[str, Reference]) -> dict[str, Reference]:
        """Write them where there are more than before; those of the versions learned last stay."""
        path = self._path.with_suffix(".reference.json")
        kept: dict[str, Reference] = await run_in_threadpool(self._read, path, _REFERENCES) or {}
        if learned.keys() - kept.keys():
            newest = sorted((learned | kept).items(), key=lambda one: str(one[1].since))[-VERSIONS:]
            kept = dict(newest)
            await run_in_threadpool(self._write, path, _REFERENCES.dump_json(kept))
        return kept

    def _read(self, path: Path, kind: TypeAdapter[Any]) -> Any:  # noqa: ANN401 - as the kind
        try:
            return kind.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            aside = path.with_name(path.name + ".corrupt")
            _log.warning("drift_window_set_aside", file=str(path), aside=str(aside))
            self._try_to(lambda: path.replace(aside))
        except OSError as error:
            _warn(error)
        return None

    def _write(self, path: Path, content: bytes) -> None:
        def write() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            written = self._written.get(path)
            if written is not None and path.exists() and path.stat().st_ino != written:
                _log.warning("drift_file_shared", file=str(path), cure="give each gateway its own, or Redis")
            with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False) as partial:
                new = Path(partial.name)
                try:
                    partial.write(content)
                    partial.flush()
                    self._written[path] = new.replace(path).stat().st_ino
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
        return [sample for row in rows if (sample := _parse(row, _SAMPLE)) is not None]

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

    async def share(self, learned: dict[str, Reference]) -> dict[str, Reference]:
        """Put them where no other gateway was faster, and take over what all have."""
        key = f"{self._key}:reference"
        try:
            async with self._client.pipeline() as pipeline:
                for version, reference in learned.items():
                    pipeline.hsetnx(key, version, reference.model_dump_json())
                pipeline.hgetall(key)
                rows = (await pipeline.execute())[-1]
        except (RedisError, OSError) as error:
            _warn(error)
            return learned
        found = (_parse(row, _REFERENCE) for row in rows.values())
        return {one.model_version: one for one in found if one is not None}


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


def _parse(row: bytes, kind: TypeAdapter[T]) -> T | None:
    try:
        return kind.validate_json(row)
    except ValidationError:
        _log.warning("drift_sample_dropped")
        return None


def _warn(error: Exception) -> None:
    _log.warning("drift_window_not_kept", cause=type(error).__name__)
