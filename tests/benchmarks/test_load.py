"""The load generator against a small real server."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.load import LoadError, measure, post, upload


class Server(ThreadingHTTPServer):
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[bytes] = []
        self.connections = Counter[int]()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.connections[self.client_address[1]] += 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"busy")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever).start()
        yield running
        running.shutdown()


def test_every_request_is_timed_and_connections_stay_open(server: Server) -> None:
    found = measure(server.server_port, post("/", "text/plain", b"hello"), requests=12, connections=3)
    assert len(found.latencies_ms) == 12
    assert min(found.latencies_ms) > 0
    assert found.seconds * 1000 >= max(found.latencies_ms)
    assert server.bodies == [b"hello"] * 12
    assert len(server.connections) == 3


def test_an_upload_is_one_file_in_the_field_file(server: Server) -> None:
    measure(server.server_port, upload("/predict", b"JPEG"), requests=1, connections=1)
    head = (
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    assert server.bodies == [head + b"JPEG\r\n--edge--\r\n"]


def test_an_answer_other_than_200_stops_the_measurement(server: Server) -> None:
    server.status = 503
    with pytest.raises(ExceptionGroup) as caught:
        measure(server.server_port, post("/", "text/plain", b"hello"), requests=1, connections=1)
    (error,) = caught.value.exceptions
    assert isinstance(error, LoadError)
    assert str(error) == "HTTP/1.1 503 Service Unavailable: busy"
