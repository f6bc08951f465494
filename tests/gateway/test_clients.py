from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from gateway.context import ApiKey
from gateway.ratelimit import client_address, counted_as

PEER = "10.0.0.9"


@pytest.mark.parametrize(
    ("forwarded", "trusted_proxies", "address"),
    [
        (["203.0.113.7"], 0, PEER),
        ([], 1, PEER),
        (["203.0.113.7"], 1, "203.0.113.7"),
        (["192.0.2.66, 203.0.113.7"], 1, "203.0.113.7"),
        (["192.0.2.66", "203.0.113.7"], 1, "203.0.113.7"),
        (["192.0.2.66, 203.0.113.7, 10.0.0.8"], 2, "203.0.113.7"),
        (["203.0.113.7"], 2, "203.0.113.7"),
        (["203.0.113.7:41000"], 1, "203.0.113.7"),
        (["[2001:db8::7]:41000"], 1, "2001:db8::7"),
        (["2001:db8::7"], 1, "2001:db8::7"),
        (["203.0.113.7, unknown"], 1, PEER),
        (["203.0.113.7,"], 1, PEER),
    ],
)
def test_only_entries_of_trusted_proxies_are_believed(forwarded: list[str], trusted_proxies: int, address: str) -> None:
    assert client_address(PEER, forwarded, trusted_proxies) == address


@pytest.mark.parametrize(
    ("client", "name"),
    [
        (("203.0.113.7", 1), "address:203.0.113.7"),
        (("::ffff:203.0.113.7", 1), "address:203.0.113.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "address:2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 1), "address:2001:db8:1:2::/64"),
        (("testclient", 1), "address:testclient"),
        (None, "address:unknown"),
    ],
)
def test_addresses_are_counted_one_by_one_and_ipv6_by_its_network(client: tuple[str, int] | None, name: str) -> None:
    assert counted_as(HTTPConnection({"type": "http", "headers": [], "client": client}), None, 0) == name


def test_a_key_counts_wherever_it_comes_from() -> None:
    connection = HTTPConnection({"type": "http", "headers": [], "client": (PEER, 1)})
    assert counted_as(connection, ApiKey("shop", b""), 0) == "key:shop"
