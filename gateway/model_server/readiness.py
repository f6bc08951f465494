"""Whether a real inference can be served, asked no more often than needed."""

from __future__ import annotations

import asyncio
import math
from io import BytesIO
from time import monotonic
from typing import Final

from PIL import Image

from gateway.errors import ApiError
from gateway.model_server.backend import Backend
from gateway.settings import Settings

PROBE_ID: Final = "readiness"
PROBE_SIZE: Final = (32, 32)


class Readiness:
    """Ready while the model server answers: by clients' own requests, or else by a tiny picture sent to it."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend = backend
        self._cache_s = settings.readiness_cache_s
        self._timeout_s = settings.readiness_timeout_s
        self._picture = _tiny_jpeg()
        self._failed_at = -math.inf
        self._one_at_a_time = asyncio.Lock()

    async def check(self) -> bool:
        """Whether an inference was answered within the cache time, or is answered now."""
        async with self._one_at_a_time:
            if self._backend.answered_within(self._cache_s):
                return True
            if monotonic() - self._failed_at < self._cache_s:
                return False
            return await self._probe()

    async def _probe(self) -> bool:
        try:
            await self._backend.predict(self._picture, PROBE_ID, self._timeout_s)
        except ApiError:
            self._failed_at = monotonic()
            return False
        return True


def _tiny_jpeg() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", PROBE_SIZE, "grey").save(buffer, "JPEG")
    return buffer.getvalue()
