"""Every number, address and switch of the gateway, and the only place that reads the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, HttpUrl, NonNegativeFloat, PositiveFloat, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.images import ImageLimits

MIB = 1024 * 1024


class Settings(BaseSettings):
    """Read from `API_KEYS` and `REQUIRE_AUTH`, and for all other fields from `GATEWAY_` and the field's name."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", populate_by_name=True, frozen=True, extra="forbid")

    api_keys: SecretStr = Field(
        default=SecretStr(""), validation_alias="API_KEYS", description="Comma-separated API keys."
    )
    require_auth: bool = Field(
        default=False, validation_alias="REQUIRE_AUTH", description="Demand a key even when no keys are configured."
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on.")
    shutdown_timeout_s: PositiveInt = Field(
        default=30, description="Seconds that requests in flight may take after SIGTERM."
    )

    torchserve_url: HttpUrl = Field(
        default=HttpUrl("http://127.0.0.1:8085"), description="Base address of TorchServe's inference API."
    )
    torchserve_key_file: Path | None = Field(
        default=None, description="TorchServe's `key_file.json`; without it no token is sent."
    )
    model_name: str = Field(default="product-photo-detector", description="The model's name in TorchServe.")
    predict_timeout_s: PositiveFloat = Field(
        default=20.0, description="Deadline of one prediction or explanation in seconds, queueing included."
    )
    connect_timeout_s: PositiveFloat = Field(default=2.0, description="Seconds to wait for a connection to TorchServe.")
    connect_attempts: PositiveInt = Field(default=3, description="Attempts to connect to TorchServe.")
    backend_concurrency: PositiveInt = Field(default=16, description="Calls to TorchServe at the same time.")
    retry_after_s: PositiveInt = Field(default=5, description="Seconds named in the `Retry-After` of a 503.")
    readiness_timeout_s: PositiveFloat = Field(default=5.0, description="Deadline of a readiness inference in seconds.")
    readiness_cache_s: NonNegativeFloat = Field(
        default=2.0, description="Seconds for which the last inference, good or bad, decides readiness."
    )

    max_file_bytes: PositiveInt = Field(default=5 * MIB, description="Largest image file.")
    max_batch_files: PositiveInt = Field(default=10, description="Most files in a batch.")
    max_batch_bytes: PositiveInt = Field(default=50 * MIB, description="Largest batch, all files together.")
    max_form_overhead_bytes: PositiveInt = Field(
        default=64 * 1024, description="What multipart headers and other fields may add to a request body."
    )
    min_side_pixels: PositiveInt = Field(default=10, description="Shortest side of an image.")
    max_side_pixels: PositiveInt = Field(default=10_000, description="Longest side of an image.")
    max_pixels: PositiveInt = Field(default=50_000_000, description="Most pixels in an image.")

    def keys(self) -> list[str]:
        """The configured API keys, without blanks."""
        parts = (part.strip() for part in self.api_keys.get_secret_value().split(","))
        return [part for part in parts if part]

    def image_limits(self) -> ImageLimits:
        """The bounds that an image's header is checked against."""
        return ImageLimits(self.min_side_pixels, self.max_side_pixels, self.max_pixels)
