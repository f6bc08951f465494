"""API keys: hashed at start-up, compared in constant time, named in logs by a short id."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Final

from gateway.access.keys import KeyFile, hash_key
from gateway.api_key import ApiKey
from gateway.errors import UnauthorizedError

MISSING: Final = "No API key was sent. Send yours in the header X-API-Key."
UNKNOWN: Final = "The API key in the header X-API-Key is not valid. Send a valid one, or ask the service's operator."
CHALLENGE: Final = {"WWW-Authenticate": 'ApiKey realm="predictions"'}
ID_LENGTH: Final = 8
"""Hex digits of a key's hash that name it when it has no id of its own."""


class KeyRing:
    """The accepted API keys; authentication is on when there are any, when there is a file for them, or by order."""

    def __init__(self, keys: Iterable[str], *, required: bool, file: KeyFile | None = None) -> None:
        self._plain = tuple(_named_by_hash(key) for key in keys)
        self._file = file
        self._enabled = required or bool(self._plain) or file is not None

    def identify(self, presented: str | None) -> ApiKey | None:
        """The key that was presented, or None while authentication is off.

        Raises:
            UnauthorizedError: No key, or a wrong one.
        """
        if not self._enabled:
            return None
        # Header bytes reach us as Latin-1 text; a key in UTF-8 must come back as the same bytes.
        digest = hash_key((presented or "").encode("latin-1"))
        # Every key is compared, so the time does not tell which one came close.
        matches = [key for key in self._accepted() if hmac.compare_digest(digest, key.digest)]
        if not presented or not matches:
            raise UnauthorizedError(UNKNOWN if presented else MISSING, CHALLENGE)
        return matches[0]

    def _accepted(self) -> tuple[ApiKey, ...]:
        # The file comes first: a key that is in both places has the id and the rates that it gives.
        return (self._file.keys() if self._file else ()) + self._plain


def _named_by_hash(key: str) -> ApiKey:
    digest = hash_key(key.encode())
    return ApiKey(digest.hex()[:ID_LENGTH], digest)
