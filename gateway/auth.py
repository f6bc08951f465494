"""API keys: hashed at start-up, compared in constant time, named in logs by a short id."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from gateway.errors import UnauthorizedError

CHALLENGE: Final = {"WWW-Authenticate": 'ApiKey realm="predictions"'}
ID_LENGTH: Final = 8
"""Hex digits of a key's hash that name it in logs."""


class KeyRing:
    """The accepted API keys; authentication is on when there are any, or when it is required."""

    def __init__(self, keys: Iterable[str], *, required: bool) -> None:
        self._digests = [_digest(key.encode()) for key in keys]
        self._enabled = required or bool(self._digests)

    def identify(self, presented: str | None) -> str | None:
        """The short id of a presented key, or None while authentication is off.

        Raises:
            UnauthorizedError: No key, or a wrong one.
        """
        if not self._enabled:
            return None
        # Header bytes reach us as Latin-1 text; a key in UTF-8 must come back as the same bytes.
        digest = _digest((presented or "").encode("latin-1"))
        # Every key is compared, so the time does not tell which one came close.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if not any(matches):
            raise UnauthorizedError("Missing or invalid API key", CHALLENGE)
        return digest.hex()[:ID_LENGTH]


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
