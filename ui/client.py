"""The gateway's client: one photo in, one typed answer or one readable error out."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from ui.answer import Answer
from ui.errors import (
    CheckError,
    KeyRefused,
    OddAnswer,
    PhotoRefused,
    PhotoTooLarge,
    ServiceDown,
    ServiceNotReady,
    ServiceSlow,
    TooManyChecks,
)
from ui.settings import Settings

CONNECT_TIMEOUT_S = 5.0
DETAIL_MAX_CHARS = 400
ERRORS: Mapping[int, type[CheckError]] = {
    400: PhotoRefused,
    401: KeyRefused,
    403: KeyRefused,
    413: PhotoTooLarge,
    429: TooManyChecks,
    502: ServiceNotReady,
    503: ServiceNotReady,
    504: ServiceSlow,
}


class GatewayClient:
    """Asks the gateway; safe to share between threads."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def explain(self, photo: bytes, *, key: str = "", caller: str = "") -> Answer:
        """Send the photo's bytes as they are; `caller` is the reviewer's address, for the gateway's rates."""
        response = self._post(photo, _headers(key.strip(), caller))
        if response.status_code != httpx.codes.OK:
            raise _error(response)
        try:
            return Answer.from_json(response.json())
        except ValueError as error:
            raise OddAnswer(reference=_reference(response)) from error

    def _post(self, photo: bytes, headers: Mapping[str, str]) -> httpx.Response:
        # The file's own name stays here: the gateway needs none, and a name can tell more than its photo.
        files = {"file": ("photo", photo, "application/octet-stream")}
        try:
            return self._http.post("predict/explain", files=files, headers=headers)
        except (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout) as error:
            raise ServiceSlow from error
        except httpx.HTTPError as error:
            raise ServiceDown from error


@contextmanager
def open_client(settings: Settings, transport: httpx.BaseTransport | None = None) -> Iterator[GatewayClient]:
    """Open a pooled client of the gateway; `transport` replaces the network in tests."""
    with httpx.Client(
        base_url=settings.gateway_url,
        timeout=httpx.Timeout(settings.timeout_s, connect=min(CONNECT_TIMEOUT_S, settings.timeout_s)),
        headers={"Accept": "application/json", "User-Agent": "product-photo-page"},
        # The machine's own certificates, and no proxy: a photo goes to the gateway and nowhere else.
        verify=ssl.create_default_context(),
        trust_env=False,
        transport=transport,
    ) as http:
        yield GatewayClient(http)


def _headers(key: str, caller: str) -> dict[str, str]:
    if key and not (key.isascii() and key.isprintable()):
        raise KeyRefused("The key has characters that no key can have.")
    sent = {"X-API-Key": key, "X-Forwarded-For": caller}
    return {name: value for name, value in sent.items() if value}


def _error(response: httpx.Response) -> CheckError:
    kind = ERRORS.get(response.status_code, OddAnswer)
    return kind(_detail(response), retry_after_s=_retry_after(response), reference=_reference(response))


def _detail(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return ""
    text = body.get("detail") or body.get("error") if isinstance(body, dict) else None
    return text.strip()[:DETAIL_MAX_CHARS] if isinstance(text, str) else ""


def _retry_after(response: httpx.Response) -> int | None:
    text = response.headers.get("Retry-After", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _reference(response: httpx.Response) -> str:
    return str(response.headers.get("X-Request-ID", ""))[:128]
