"""Where the drift window outlives the process: a small file, or Redis; numbers and predictions, nothing of content."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any, Final, TypeVar, cast

import structlog
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from gateway.drift.reference import Reference
from gateway.schemas import Confidence, InputName, Prediction
from gateway.settings import Settings

_log = structlog.get_logger()

T = TypeVar("T")

REDIS_KEY: Final = "aidetect:drift:"
"""Followed by the model's name in TorchServe."""


@dataclass(frozen=True, config=ConfigDict(allow_inf_nan=False, protected_namespaces=()))
class Sample:
    """What the window keeps of one prediction; images that were not measured have no inputs."""

    model_version: str
    prediction: Prediction
    probability: Annotated[float, Field(ge=0, le=1)]
    confidence: Confidence
    inputs: dict[InputName, float]


_SAMPLE: Final[TypeAdapter[Sample]] = TypeAdapter(Sample)
_SAMPLES: Final[TypeAdapter[list[Sample]]] = TypeAdapter(list[Sample])
_REFERENCES: Final[TypeAdapter[dict[str, Reference]]] = TypeAdapter(dict[str, Reference])
VERSIONS: Final = 8
"""Of the model, whose references a file keeps."""


class DriftStore:
    """Keeps samples; trouble with it is logged and costs the history, never a prediction. This one forgets them."""

    async def load(self) -> list[Sample]:
        """The samples of the last process, oldest first."""
        return []

    async def save(self, window: Sequence[Sample], fresh: int) -> None:
        """Keep the window, whose last `fresh` samples are new since the last time."""

    async def share(self, learned: dict[str, Reference]) -> dict[str, Reference]:
        """Keep references by version, each unless there is one, and return those that are kept."""
        return learned


class FileStore(DriftStore):
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
            kept = dict(sorted((learned | kept).items(), key=lambda one: str(one[1].since))[-VERSIONS:])
            await run_in_threadpool(self._write, path, _REFERENCES.dump_json(kept))
        return kept

    @staticmethod
    def _read(path: Path, kind: TypeAdapter[Any]) -> Any:  # noqa: ANN401 - as the kind
        with _trouble_logged(), suppress(FileNotFoundError):
            content = path.read_bytes()
            try:
                return kind.validate_json(content)
            except ValidationError:
                aside = path.with_name(path.name + ".corrupt")
                _log.warning("drift_window_set_aside", file=str(path), aside=str(aside))
                path.replace(aside)
        return None

    def _write(self, path: Path, content: bytes) -> None:
        with _trouble_logged():
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
                finally:
                    new.unlink(missing_ok=True)


class RedisStore(DriftStore):
    """One Redis list to which every gateway adds its own; a new process starts with the newest of all of them."""

    def __init__(self, client: Redis, model_name: str, capacity: int) -> None:
        self._client = client
        self._key = REDIS_KEY + model_name
        self._capacity = capacity

    async def load(self) -> list[Sample]:
        """The list's samples, without those that cannot be understood."""
        rows: list[bytes] = []
        with _trouble_logged():
            rows = await cast(Any, self._client.lrange(self._key, -self._capacity, -1))
        return _understood(rows, _SAMPLE.validate_json)

    async def save(self, window: Sequence[Sample], fresh: int) -> None:
        """Append what is new and cut the list to the window's capacity."""
        with _trouble_logged():
            async with self._client.pipeline() as pipeline:
                pipeline.rpush(self._key, *(_SAMPLE.dump_json(sample) for sample in list(window)[-fresh:]))
                pipeline.ltrim(self._key, -self._capacity, -1)
                await pipeline.execute()

    async def share(self, learned: dict[str, Reference]) -> dict[str, Reference]:
        """Put them where no other gateway was faster, and take over what all have."""
        key = f"{self._key}:reference"
        with _trouble_logged():
            async with self._client.pipeline() as pipeline:
                for version, reference in learned.items():
                    pipeline.hsetnx(key, version, reference.model_dump_json())
                pipeline.hgetall(key)
                rows = (await pipeline.execute())[-1]
            return {one.model_version: one for one in _understood(rows.values(), Reference.model_validate_json)}
        return learned


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[DriftStore]:
    """The store that the settings ask for: Redis before a file before nothing."""
    if settings.redis_url is not None:
        url, timeout_s = str(settings.redis_url.get_secret_value()), settings.redis_timeout_s
        async with Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s) as client:
            yield RedisStore(client, settings.model_name, settings.drift_window)
    elif settings.drift_file == Path():
        yield DriftStore()
    else:
        yield FileStore(settings.drift_file)


def _understood(rows: Iterable[bytes], read: Callable[[bytes], T]) -> list[T]:
    found = []
    for row in rows:
        try:
            found.append(read(row))
        except ValidationError:
            _log.warning("drift_sample_dropped")
    return found


@contextmanager
def _trouble_logged() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        _log.warning("drift_window_not_kept", cause=type(error).__name__)
