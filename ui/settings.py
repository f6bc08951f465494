"""The page's settings and the only reader of its environment variables."""

import math
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

PORT_MAX = 65535
HOST = re.compile(r"\*|(?:\*\.)?[0-9a-z._-]+|[0-9a-f:.]+")
SUB_PATH = re.compile(r"(?:/[0-9A-Za-z._~-]+)+")


class BadSetting(ValueError):  # noqa: N818  # names what is wrong, like the gateway's errors
    """An environment variable holds something that the page cannot use."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the gateway is, where the page listens, and how long and how much it takes."""

    gateway_url: str = "http://127.0.0.1:8080"
    host: str = "127.0.0.1"
    port: int = 7860
    timeout_s: float = 30.0
    # The gateway has its own, smaller limit and says so; this one only guards the page's disk.
    photo_max_bytes: int = 20 * 1024 * 1024
    # Uploads lie in a private folder below this one, which goes when the page stops.
    photo_folder: Path = Path(tempfile.gettempdir())
    photos_max_bytes: int = 2 * 1024**3
    # Any other name could be another site's, pointed at this machine.
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    root_path: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Read `UI_*`; an absent or empty variable means the default."""
        usual = cls()
        return cls(
            gateway_url=_read(env, "UI_GATEWAY_URL", _address, usual.gateway_url),
            host=_read(env, "UI_HOST", str, usual.host),
            port=_read(env, "UI_PORT", _port, usual.port),
            timeout_s=_read(env, "UI_TIMEOUT_S", _seconds, usual.timeout_s),
            photo_max_bytes=_read(env, "UI_PHOTO_MAX_BYTES", _count, usual.photo_max_bytes),
            photo_folder=_read(env, "UI_PHOTO_FOLDER", Path, usual.photo_folder),
            photos_max_bytes=_read(env, "UI_PHOTOS_MAX_BYTES", _count, usual.photos_max_bytes),
            allowed_hosts=usual.allowed_hosts + _read(env, "UI_ALLOWED_HOSTS", _hosts, tuple[str, ...]()),
            root_path=_read(env, "UI_ROOT_PATH", _sub_path, usual.root_path),
        )


def _read(env: Mapping[str, str], name: str, parse: Callable[[str], T], usual: T) -> T:
    text = env.get(name, "").strip()
    if not text:
        return usual
    try:
        return parse(text)
    except ValueError as error:
        raise BadSetting(f"{name}={text!r}: {error}") from error


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("expected an address such as http://127.0.0.1:8080")
    return text.rstrip("/")


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= PORT_MAX:
        raise ValueError("expected a port from 1 to 65535")
    return port


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError("expected a number of seconds above 0")
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError("expected a whole number above 0")
    return count


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(host.strip().lower().strip("[]") for host in text.split(",") if host.strip())
    if any(not HOST.fullmatch(host) for host in hosts):
        raise ValueError("expected names without scheme and port, such as photos.example.com,*.example.org")
    return hosts


def _sub_path(text: str) -> str:
    path = text.rstrip("/")
    if path and not SUB_PATH.fullmatch(path):
        raise ValueError("expected a path such as /photos")
    return path
