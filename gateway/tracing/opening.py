"""Tracing is opened only where a collector is configured; nothing else of the gateway imports OpenTelemetry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.tracing.spans import Spans


class MissingPackageError(Exception):
    """A collector is configured, and the packages that would send it spans are not installed."""


@asynccontextmanager
async def open_tracing(settings: Settings, version: str) -> AsyncIterator[Spans | None]:
    """What makes spans, or None without a collector; at the end of the block what is left is sent.

    Raises:
        MissingPackageError: OpenTelemetry is not installed.
    """
    if settings.otlp_endpoint is None:
        yield None
        return
    try:
        from gateway.tracing.export import exporting  # noqa: PLC0415 - an optional package
        from gateway.tracing.spans import Spans  # noqa: PLC0415 - the same
    except ImportError as error:
        raise MissingPackageError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed. Unset it, or install what sends "
            "spans: pip install 'ai-product-photo-detector[gateway,tracing]'"
        ) from error
    async with exporting(settings, version) as tracer:
        yield Spans(tracer)
