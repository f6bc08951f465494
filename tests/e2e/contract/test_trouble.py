"""What clients see while the model server is in trouble, and when they leave."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from urllib.parse import urlsplit

import pytest

from tests.e2e.contract.claims import Claim, error
from tests.e2e.contract.gateways import Gateways
from tests.e2e.contract.pictures import as_kind

JPEG = as_kind("JPEG")
UNAVAILABLE = error("Service unavailable", "The model is not available right now. Please retry.")
FIELDS = {"/predict": "file", "/predict/batch": "files", "/predict/explain": "file"}


def test_a_full_queue_is_503_at_once(gateways: Gateways) -> None:
    claim = Claim("", "POST", "/predict", 503, UNAVAILABLE, {"retry-after": "5"}, "waiting", files=[("file", JPEG)])
    _drain(gateways.mute.got)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(claim.send, gateways)
        gateways.mute.got.get(timeout=5)  # the only slot is taken
        second = claim.send(gateways)
        assert not first.done()
    assert (second.status_code, second.json(), second.headers["retry-after"]) == (503, UNAVAILABLE, "5")
    assert first.result().status_code == 503


@pytest.mark.parametrize("path", FIELDS)
def test_a_client_that_goes_away_cancels_its_work(gateways: Gateways, path: str) -> None:
    address = urlsplit(str(gateways.clients["waiting"].base_url))
    head = f'--cut\r\nContent-Disposition: form-data; name="{FIELDS[path]}"; filename="a.jpg"\r\n\r\n'.encode()
    body = head + JPEG + b"\r\n--cut--\r\n"
    request_id = f"gone from {path}"
    headers = (
        f"POST {path} HTTP/1.1\r\nHost: gateway\r\nX-Request-ID: {request_id}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=cut\r\n\r\n"
    )
    _drain(gateways.mute.got)
    _drain(gateways.mute.closed)
    with socket.create_connection((address.hostname or "", address.port or 0)) as client:
        client.sendall(headers.encode() + body)
        asked = gateways.mute.got.get(timeout=5)
    assert gateways.mute.closed.get(timeout=5) == asked
    line = gateways.line("waiting", request_id)
    assert (line["status"], line["error"]) == (499, "client_closed_request")  # it would be 503 at the deadline


def _drain(queue: SimpleQueue[bytes]) -> None:
    while not queue.empty():
        queue.get()
