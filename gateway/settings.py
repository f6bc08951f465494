"""Every number, address and switch of the gateway, and the only place that reads the environment."""

import math
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, HttpUrl, PositiveInt, RedisDsn, Secret, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024
MOST: Final = {"max_file_bytes": 32 * MIB, "max_pixels": 200_000_000}
"""What the model server takes: `max_request_size` in `config.properties`, and the handler's `MOST_...`."""
PREFIX: Final = "GATEWAY_"
ALIKE: Final = 0.9
"""How close a variable's name is to a setting's when it looks like a slip; `API_KEY` is 0.93 of `API_KEYS`."""
_ORIGIN = r"\s*(\*|https?://[^\s,/]+)\s*"
_ORIGINS = rf"^({_ORIGIN}(,{_ORIGIN})*)?$"


class Settings(BaseSettings):
    """Read from the documented names (the aliases), and for all other fields from `GATEWAY_` and the field's name."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # Redis's address may hold a password
    )

    # What nobody has to turn; where it is used, it reads as a setting.
    model_name: ClassVar[str] = "product-photo-detector"
    keep_alive_timeout_s: ClassVar[int] = 65
    """How long an idle connection stays open: longer than a load balancer keeps it, usually 60 s."""
    max_connections: ClassVar[int] = 512
    """Fewer if the process may open fewer files; a new one replaces the longest idle one, or gets 503 without any."""
    head_timeout_s: ClassVar[float] = 10.0
    body_timeout_s: ClassVar[float] = 300.0
    """How long a request's head and its body may take to arrive, else 408."""
    min_transfer_rate: ClassVar[float] = 1000.0
    """Bytes per second of a body, else 408, and of a response that is read, else it is cut."""
    stall_timeout_s: ClassVar[float] = 30.0
    """The seconds over which `min_transfer_rate` is measured."""
    redis_timeout_s: ClassVar[float] = 0.25
    readiness_timeout_s: ClassVar[float] = 5.0
    readiness_cache_s: ClassVar[float] = 2.0
    """How long the last inference decides readiness."""
    connect_timeout_s: ClassVar[float] = 2.0
    connect_attempts: ClassVar[int] = 3
    max_form_overhead_bytes: ClassVar[int] = 64 * 1024
    """What multipart headers and other fields may add to a request body."""
    min_side_pixels: ClassVar[int] = 10
    """Shortest side of an image."""
    shadow_concurrency: ClassVar[int] = 2
    shadow_backlog: ClassVar[int] = 8
    """Images kept for the shadow version after their answers; past it they are dropped."""
    drift_reference_file: ClassVar[Path] = Path("model_store/reference.json")
    """Reference statistics shipped with the model."""
    drift_min_psi: ClassVar[float] = 0.1
    drift_min_ks: ClassVar[float] = 0.1
    drift_min_change: ClassVar[float] = 0.05
    """Differences that are no drift, however sure they are."""
    drift_false_alarm_rate: ClassVar[float] = 0.01
    """The most false alarms per window, all checks together."""
    drift_save_interval_s: ClassVar[float] = 5.0

    api_keys: SecretStr = Field(default=SecretStr(""), validation_alias="API_KEYS")
    """Comma-separated API keys."""
    api_keys_file: Path | None = Field(default=None, validation_alias="API_KEYS_FILE")
    """JSON file of API keys with ids and rates, reread when it changes."""
    require_auth: bool = Field(default=False, validation_alias="REQUIRE_AUTH")
    """Require a key even if none is configured."""

    rate_limit_enabled: bool = Field(default=True, validation_alias="RATE_LIMIT_ENABLED")
    """Limit request rates."""
    predict_rate: PositiveInt = 30
    """Predictions per minute and client."""
    batch_rate: PositiveInt = 5
    """Batches per minute and client."""
    explain_rate: PositiveInt = 10
    """Explanations per minute and client."""
    trusted_proxies: int = Field(default=0, ge=0)
    """Trusted proxies in front of the gateway that append to `X-Forwarded-For`."""
    redis_url: Secret[RedisDsn] | None = None
    """Redis shared by all replicas for rates and drift; without it each counts alone."""
    redis_failure: Literal["open", "closed"] = "open"
    """While Redis is unavailable: `open`, each replica counts alone; `closed`, 503."""

    cors_origins: str | None = Field(default=None, pattern=_ORIGINS)
    """Comma-separated origins whose pages may call the API from a browser, or `*` for all."""
    privacy_contact: str | None = None
    """Contact that `GET /privacy` names."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on."""
    shutdown_timeout_s: PositiveInt = 30
    """Seconds for requests in flight to finish after SIGTERM."""

    torchserve_url: HttpUrl = HttpUrl("http://127.0.0.1:8085")
    """Base address of TorchServe's inference API."""
    torchserve_key_file: Path | None = None
    """TorchServe's `key_file.json`; without it no token is sent."""
    predict_timeout_s: float = Field(default=20.0, gt=0)
    """Deadline of one prediction or explanation in seconds, queueing included."""
    backend_concurrency: PositiveInt = 16
    """Concurrent calls to TorchServe; four times as many images may wait, beyond it 503."""

    max_file_bytes: PositiveInt = 5 * MIB
    """Largest image file."""
    max_batch_files: PositiveInt = 10
    """Maximum files per batch; all together have at most as many times the largest image."""
    max_pixels: PositiveInt = 50_000_000
    """Maximum pixels of an image, whose sides have at most 10,000 or 1/5,000 of them."""

    # It is part of an address.
    shadow_version: str | None = Field(
        default=None, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$", validation_alias="SHADOW_VERSION"
    )
    """Shadow version of the model in TorchServe, compared with the live one."""
    shadow_fraction: float = Field(default=0.1, ge=0, le=1)
    """Share of predicted images that also go to the shadow version."""

    c2pa_trust_anchors_file: Path | None = None
    """PEM file of trusted C2PA authorities; without it no signer is trusted."""

    drift_window: PositiveInt = 1000
    """Size of the drift window in predictions; drift is checked from a fifth of it on."""
    drift_file: Path = Path("var/drift_window.json")
    """Keeps the drift window across restarts without Redis; `.`: in memory only."""

    trace_project_id: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")
    """Google Cloud project whose traces log lines refer to."""

    otlp_endpoint: HttpUrl | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """OpenTelemetry collector for spans (OTLP over HTTP); without it none are made."""

    @field_validator("api_keys")
    @classmethod
    def _hold_a_key(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not _listed(value.get_secret_value()):
            raise ValueError("set but empty: list keys separated by commas, or unset it")
        return value

    @field_validator("otlp_endpoint", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return value or None  # OpenTelemetry's rule

    @model_validator(mode="after")
    def _the_model_server_takes_it(self) -> Self:
        for name, most in MOST.items():
            value = getattr(self, name)
            if value > most:
                limit = f"the model server takes at most {most}. Set {most} or less."
                raise ValueError(f"{variable(name)} is {value}: {limit}")
        return self

    @property
    def backend_queue(self) -> int:
        """Images that may wait for a call to TorchServe, a whole batch at least; beyond it 503."""
        return max(4 * self.backend_concurrency, self.max_batch_files)

    @property
    def max_batch_bytes(self) -> int:
        """Largest batch, all files together."""
        return self.max_batch_files * self.max_file_bytes

    @property
    def upload_budget_bytes(self) -> int:
        """Bytes of request bodies in memory at the same time, a quarter of them for single images; past it 503."""
        return max(96 * MIB, math.ceil(self.max_batch_bytes * 4 / 3) + 2 * self.max_form_overhead_bytes)

    @property
    def max_side_pixels(self) -> int:
        """Longest side of an image."""
        return max(10_000, self.max_pixels // 5_000)

    @property
    def max_pixels_in_flight(self) -> int:
        """Pixels of all images that are with TorchServe at the same time; others wait in the queue."""
        return 6_250_000 * self.backend_concurrency

    @property
    def drift_min_samples(self) -> int:
        """Predictions that the drift window must hold before it is checked."""
        return math.ceil(self.drift_window / 5)

    def keys(self) -> list[str]:
        """The configured API keys, without blanks."""
        return _listed(self.api_keys.get_secret_value())

    def rates(self) -> dict[str, int]:
        """Requests a minute for one client, by bucket."""
        return {"predict": self.predict_rate, "batch": self.batch_rate, "explain": self.explain_rate}

    def needs_key(self) -> bool:
        """Whether a prediction takes an API key."""
        return self.require_auth or bool(self.keys()) or self.api_keys_file is not None

    def origins(self) -> list[str]:
        """The origins that CORS lets in."""
        return _listed(self.cors_origins or "")


def variable(name: str) -> str:
    """The environment's name for a setting."""
    return str(Settings.model_fields[name].validation_alias or f"{PREFIX}{name.upper()}")


def unknown_variables(environment: Iterable[str]) -> dict[str, str | None]:
    """Variables that look like settings and are none, each with the one that may be meant."""
    fields = Settings.model_fields
    known = {variable(name) for name in fields} | {PREFIX + name.upper() for name in fields}
    named = {name: next(iter(get_close_matches(name.upper(), known, 1, ALIKE)), None) for name in environment}
    return {
        name: meant
        for name, meant in named.items()
        if name.upper() not in known and (meant or name.upper().startswith(PREFIX))
    }


def _listed(text: str) -> list[str]:
    parts = (part.strip() for part in text.split(","))
    return [part for part in parts if part]
