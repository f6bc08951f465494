"""The page's settings and the only reader of its environment variables."""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator

from gateway.client.calls import address

HOST = re.compile(r"\*|(?:\*\.)?[0-9a-z._-]+|[0-9a-f:.]+")
SUB_PATH = re.compile(r"(?:/[0-9A-Za-z._~-]+)*/?")
# Any other name could be another site's, pointed at this machine.
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


class BadSettingError(ValueError):
    """An environment variable holds something that the page cannot use."""


class Settings(BaseModel):
    """Where the gateway is, where the page listens, and how long and how much it takes."""

    model_config = ConfigDict(frozen=True)

    gateway_url: str = "http://127.0.0.1:8080"
    host: str = "127.0.0.1"
    port: int = Field(default=7860, ge=1, le=65535)
    timeout_s: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    # The gateway has its own, smaller limit and says so; this one only guards the page's disk.
    photo_max_bytes: PositiveInt = 20 * 1024 * 1024
    # Uploads lie in a private folder below this one, which goes when the page stops.
    photo_folder: Path = Path(tempfile.gettempdir())
    photos_max_bytes: PositiveInt = 2 * 1024**3
    allowed_hosts: tuple[str, ...] = LOCAL_HOSTS
    root_path: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Read `UI_*`; an absent or empty variable means the default.

        Raises:
            BadSettingError: A value cannot be used; the text names the variable.
        """
        given = {name: text for name in cls.model_fields if (text := env.get(f"UI_{name.upper()}", "").strip())}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name, text = str(first["loc"][0]), first["msg"].removeprefix("Value error, ")
            raise BadSettingError(f"UI_{name.upper()}={given[name]!r}: {text}") from error

    @field_validator("gateway_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(address(value))

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _with_local(cls, value: str) -> tuple[str, ...]:
        hosts = tuple(host.strip().lower().strip("[]") for host in value.split(",") if host.strip())
        if any(not HOST.fullmatch(host) for host in hosts):
            raise ValueError("expected names without scheme and port, such as photos.example.com,*.example.org")
        return LOCAL_HOSTS + hosts

    @field_validator("root_path")
    @classmethod
    def _is_path(cls, value: str) -> str:
        if not SUB_PATH.fullmatch(value):
            raise ValueError("expected a path such as /photos")
        return value.rstrip("/")
