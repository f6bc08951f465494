"""HTTP as uvicorn speaks it, except that what is no HTTP gets an error like any other, and that heads have an end."""

from __future__ import annotations

from typing import Final

from starlette.exceptions import HTTPException
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.context import request_id
from gateway.errors import as_api_error, error_body
from gateway.web.middleware import ID_HEADER
from gateway.web.security import JSON_HEADERS

MAX_HEAD_BYTES: Final = 64 * 1024
"""Bytes of a request's line and headers that may have come before the last of them has."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, whose own refusals would be plain text, for they never reach the application."""

    _in_head = True
    _heads = 0
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head has become too long; the parser itself would keep any amount of it."""
        heads, in_head = self._heads, self._in_head
        super().data_received(data)
        unfinished = in_head and self._in_head and heads == self._heads
        self._head_bytes = self._head_bytes + len(data) if unfinished else 0
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's head is too long.")

    def on_headers_complete(self) -> None:
        """Note that a head has ended."""
        self._in_head = False
        self._heads += 1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that what comes next is another request's head."""
        self._in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words for the same
        """Refuse what cannot be read, and hang up."""
        refusal = as_api_error(HTTPException(400))
        body = error_body(refusal).model_dump_json().encode()
        headers = {
            **JSON_HEADERS,
            ID_HEADER: request_id(None),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"HTTP/1.1 {refusal.status} {refusal.title}\r\n{head}\r\n".encode() + body)
        self.transport.close()
