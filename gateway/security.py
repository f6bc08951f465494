"""Who may call and from where: API keys, CORS, and headers that tell browsers how little this service needs."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Final, Self

import structlog
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError, model_validator
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.context import ApiKey
from gateway.errors import UnauthorizedError
from gateway.settings import Settings

# No Strict-Transport-Security: only the proxy that ends TLS knows whether the name is served by HTTPS alone.
JSON_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
PAGE_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
SWAGGER_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-cache",  # an ETag answers the question
    # Swagger UI draws its icons from data addresses and calls the API from the page.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}

PREFLIGHT: Final = "access-control-request-method"
_log = structlog.get_logger()
Stamp = tuple[int, int, int]
Digest = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]
Bucket = Annotated[str, Field(pattern=r"^(predict|batch|explain)$")]
_FIELDS: Final = frozenset({"id", "sha256", "key", "rates", "predict", "batch", "explain"})
MISSING: Final = "No API key was sent. Send yours in the header X-API-Key."
UNKNOWN: Final = "The API key in the header X-API-Key is not valid. Send a valid one, or ask the service's operator."
CHALLENGE: Final = {"WWW-Authenticate": 'ApiKey realm="predictions"'}
ID_LENGTH: Final = 8
"""Hex digits of a key's hash that name it when it has no id of its own."""


class Cors(CORSMiddleware):
    """Starlette's CORS, but a preflight goes on to its route: its answer is an `OPTIONS` with an id and a log line."""

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        asked, exposed = ("X-API-Key", "X-Request-ID"), ("X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy")
        super().__init__(app, origins, ("GET", "POST"), asked, expose_headers=exposed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            await self.simple_response(scope, receive, send, Headers(scope=scope))
        else:
            await self.app(scope, receive, send)

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        """Send a message, with the headers that a page's browser looks for."""
        if message["type"] == "http.response.start" and {"origin", PREFLIGHT} <= {*request_headers}:
            allowed = self.preflight_response(request_headers).headers
            answer = MutableHeaders(scope=message)
            answer.update({name: value for name, value in allowed.items() if name.startswith("access-control-")})
            answer.add_vary_header(allowed["vary"])
        await super().send(message, send, request_headers)


class KeyFileError(Exception):
    """The file of keys is missing or not as documented; the text quotes nothing of it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Digests = Annotated[list[Digest], Field(min_length=1), BeforeValidator(_listed)]


class _Entry(_Strict):
    sha256: Digests | None = None
    key: str | None = Field(default=None, pattern=r"^[\x21-\x7e]+$")
    rates: dict[Bucket, PositiveInt] = {}

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
        keys += [ApiKey(named.id, digest, named.entry.rates) for digest in named.entry.digests()]
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


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # A name that we do not know may be a key in the wrong place.
    known = [str(part) for part in first["loc"] if part in _FIELDS]
    return ": ".join([*known, first["msg"].removeprefix("Value error, ")])


class KeyRing:
    """The accepted API keys; authentication is on when there are any, when there is a file for them, or by order.

    What the file held last stays in force while it cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        plain = settings.keys()
        digests = [hash_key(key.encode()) for key in plain]
        self._plain = tuple(ApiKey(digest.hex()[:ID_LENGTH], digest) for digest in digests)
        self._path, self._enabled = settings.api_keys_file, settings.needs_key()
        self._stamp: Stamp | None = None
        self._filed: tuple[ApiKey, ...] = ()

    def load(self) -> None:
        """Read the file, if there is one.

        Raises:
            KeyFileError: It is missing or broken, so the gateway must not start.
        """
        if self._path is None:
            return
        self._stamp = self._read_stamp()
        try:
            self._filed = parse_keys(self._path.read_bytes())
        except (KeyFileError, OSError) as error:
            reason = f"API_KEYS_FILE cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            _log.error("api_keys_file_broken", reason=reason, keys_kept=len(self._filed))
            raise KeyFileError(reason) from None  # what broke the parser quotes keys

    def identify(self, presented: str | None) -> ApiKey | None:
        """The key that was presented, or None while authentication is off; looks whether the file has changed.

        Raises:
            UnauthorizedError: No key, or a wrong one.
        """
        if not self._enabled:
            return None
        if self._read_stamp() != self._stamp:
            with suppress(KeyFileError):  # it is reported once
                self.load()
                _log.info("api_keys_file_read", keys=len(self._filed))
        # Header bytes reach us as Latin-1 text; a key in UTF-8 must come back as the same bytes.
        digest = hash_key((presented or "").encode("latin-1"))
        # The file comes first: a key that is in both places has the id and the rates that it gives. Every key is
        # compared, so the time does not tell which one came close.
        matches = [key for key in self._filed + self._plain if hmac.compare_digest(digest, key.digest)]
        if not presented or not matches:
            raise UnauthorizedError(UNKNOWN if presented else MISSING, CHALLENGE)
        return matches[0]

    def _read_stamp(self) -> Stamp | None:
        try:
            stat = self._path.stat() if self._path else None
        except OSError:
            return None
        # An editor may keep the time's tick, a replaced file its size; hardly anything keeps all three.
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino) if stat else None
