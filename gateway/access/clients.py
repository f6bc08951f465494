"""Who a request is counted for: its API key, else its address."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

from starlette.requests import HTTPConnection

from gateway.api_key import ApiKey

FORWARDED_FOR: Final = "X-Forwarded-For"
UNKNOWN: Final = "unknown"
IPV6_SITE_BITS: Final = 64
"""One customer's line has at least this network, so counting single addresses would count nothing."""


def counted_as(connection: HTTPConnection, key: ApiKey | None, trusted_proxies: int) -> str:
    """The name that a request's client has in the counters."""
    if key is not None:
        return f"key:{key.id}"
    peer = connection.client.host if connection.client else UNKNOWN
    forwarded = connection.headers.getlist(FORWARDED_FOR)
    return f"address:{_network(client_address(peer, forwarded, trusted_proxies))}"


def client_address(peer: str, forwarded: Iterable[str], trusted_proxies: int) -> str:
    """The address that the outermost trusted proxy saw; the peer's own when no proxy is trusted or it wrote none.

    Every proxy appends its peer to `X-Forwarded-For`, so only the last `trusted_proxies` entries are not the client's
    own invention.
    """
    hops = [hop.strip() for line in forwarded for hop in line.split(",")]
    believed = hops[-trusted_proxies:] if trusted_proxies else []
    return _without_port(believed[0]) or peer if believed else peer


def _without_port(hop: str) -> str | None:
    for text in (hop, hop.partition("]")[0].removeprefix("["), hop.rpartition(":")[0]):
        try:
            return str(ip_address(text))
        except ValueError:
            continue
    return None


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # the server's own name for a peer without an address, as on a Unix socket
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed), IPV6_SITE_BITS), strict=False))
