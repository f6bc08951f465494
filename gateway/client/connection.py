"""Where the gateway is and how it is reached: what both clients give to httpx."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

import httpx

from gateway.client.errors import KeyRefusedError

URL: Final = "http://127.0.0.1:8080"
TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 5.0
USER_AGENT: Final = "product-photo-client"
# The second brings an error's stable code.
ACCEPT: Final = "application/json, application/problem+json"


def options(url: str, timeout_s: float, user_agent: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the arguments of an httpx client.

    Raises:
        ValueError: The address is none.
    """
    return {
        "base_url": _address(url),
        "timeout": httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
        "headers": {"Accept": ACCEPT, "User-Agent": user_agent, **(headers or {})},
        # The machine's own certificates, and no proxy: a photo goes to the gateway and nowhere else.
        "verify": ssl.create_default_context(),
        "trust_env": False,
    }


def identity(api_key: str, caller: str) -> dict[bytes, bytes]:
    """Return the headers that say who asks.

    Raises:
        KeyRefusedError: The key cannot be sent.
    """
    key = api_key.strip()
    if not key.isprintable():
        raise KeyRefusedError("It contains characters that no key can have.", code="unauthorized")
    sent = {b"X-API-Key": key.encode(), b"X-Forwarded-For": caller.encode()}
    return {name: value for name, value in sent.items() if value}


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL("")
    if address.scheme not in {"http", "https"} or not address.host:
        raise ValueError("not an address of a gateway: write it like http://127.0.0.1:8080")
    return address
