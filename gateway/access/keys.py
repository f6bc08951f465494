"""The file of API keys: an id, a hash and rates of its own for each, read again when the file changes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Final, Self

import structlog
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError, model_validator
from structlog.typing import FilteringBoundLogger

from gateway.api_key import ApiKey

_log: FilteringBoundLogger = structlog.get_logger()

Stamp = tuple[int, int, int]


class KeyFileError(Exception):
    """The file of keys is missing or not as documented; the text quotes nothing of it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Rates(_Strict):
    predict: PositiveInt | None = None
    batch: PositiveInt | None = None
    explain: PositiveInt | None = None


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Digest = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]
Digests = Annotated[list[Digest], Field(min_length=1), BeforeValidator(_listed)]


class _Entry(_Strict):
    sha256: Digests | None = None
    key: str | None = Field(default=None, pattern=r"^[\x21-\x7e]+$")
    rates: _Rates = _Rates()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.sha256 is None) == (self.key is None):
            raise ValueError("give either `sha256` or `key`")
        return self

    def digests(self) -> list[bytes]:
        if self.key is not None:
            return [hash_key(self.key.encode())]
        return [bytes.fromhex(text) for text in self.sha256 or []]


class _Named(_Strict):
    id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    entry: _Entry


class KeyFile:
    """The keys of a file; what it held last stays in force while it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: Stamp | None = None
        self._keys: tuple[ApiKey, ...] = ()

    def load(self) -> None:
        """Read the file for the first time.

        Raises:
            KeyFileError: It is missing or broken, so the gateway must not start.
        """
        self._stamp = self._read_stamp()
        try:
            self._keys = self._read()
        except KeyFileError as error:
            _log.error("api_keys_file_broken", reason=str(error))
            raise

    def keys(self) -> tuple[ApiKey, ...]:
        """The keys in force, after a look at whether the file has changed."""
        stamp = self._read_stamp()
        if stamp != self._stamp:
            self._stamp = stamp  # a broken file is reported once, not with every request
            self._reload()
        return self._keys

    def _reload(self) -> None:
        try:
            self._keys = self._read()
        except KeyFileError as error:
            _log.error("api_keys_file_broken", reason=str(error), keys_kept=len(self._keys))
        else:
            _log.info("api_keys_file_read", keys=len(self._keys))

    def _read(self) -> tuple[ApiKey, ...]:
        try:
            return parse_keys(self._path.read_bytes())
        except OSError as error:
            raise KeyFileError(f"API_KEYS_FILE cannot be read: {error.strerror}") from error

    def _read_stamp(self) -> Stamp | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        # An editor may keep the time's tick, a replaced file its size; hardly anything keeps all three.
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def hash_key(key: bytes) -> bytes:
    """What is kept and compared in a key's place."""
    return hashlib.sha256(key).digest()


def parse_keys(text: bytes) -> tuple[ApiKey, ...]:
    """The keys of a file's content.

    Raises:
        KeyFileError: It is not the documented JSON.
    """
    keys: list[ApiKey] = []
    for number, (key_id, entry) in enumerate(_mapping(text).items(), 1):
        try:
            named = _Named.model_validate({"id": key_id, "entry": entry})
        except ValidationError as error:
            raise KeyFileError(f"API_KEYS_FILE, entry {number}: {_reason(error)}") from None  # its text quotes keys
        rates = named.entry.rates.model_dump(exclude_none=True)
        keys += [ApiKey(named.id, digest, rates) for digest in named.entry.digests()]
    if len({key.digest for key in keys}) < len(keys):
        raise KeyFileError("API_KEYS_FILE: the same key occurs twice")
    return tuple(keys)


def _mapping(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError too
        raise KeyFileError(f"API_KEYS_FILE is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise KeyFileError("API_KEYS_FILE must be a JSON object that maps ids to objects")
    return content


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Python would keep the last of two namesakes, and a key would be gone without a word.
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return dict(pairs)


_FIELDS: Final = frozenset({"id", "sha256", "key", "rates", "predict", "batch", "explain"})


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # A name that we do not know may be a key in the wrong place.
    known = [str(part) for part in first["loc"] if part in _FIELDS]
    return ": ".join([*known, first["msg"].removeprefix("Value error, ")])
