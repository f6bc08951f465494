"""The id that every answer carries."""

from __future__ import annotations

import pytest

from tests.e2e.contract.claims import NEW_ID
from tests.e2e.contract.gateways import Gateways


@pytest.mark.parametrize("presented", ["a", "order 66", "~!#$%", "x" * 128])
@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/predict"])
def test_1_to_128_printable_characters_are_the_requests_id(gateways: Gateways, path: str, presented: str) -> None:
    answer = gateways.clients["open"].get(path, headers={"X-Request-ID": presented})
    assert answer.headers["x-request-id"] == presented


@pytest.mark.parametrize("presented", [None, b"", b"x" * 129, b"tab\there", b"\xc3\xa9"])
@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/predict"])
def test_any_other_id_is_replaced_by_a_new_one(gateways: Gateways, path: str, presented: bytes | None) -> None:
    headers = [] if presented is None else [(b"X-Request-ID", presented)]
    client = gateways.clients["open"]
    first, second = (client.get(path, headers=headers).headers["x-request-id"] for _ in range(2))
    assert first == NEW_ID
    assert second == NEW_ID
    assert first != second
