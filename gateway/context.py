"""The small mutable state of one request: its id and what its log line will say."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import Final, cast

from starlette.requests import HTTPConnection
from starlette.types import Scope

from gateway.api_key import ApiKey

_ACCEPTABLE_ID: Final = re.compile(r"[\x20-\x7e]{1,128}")


def request_id(presented: str | None) -> str:
    """The client's id when it is 1 to 128 printable ASCII characters, else a new one."""
    trimmed = (presented or "").strip()
    return trimmed if _ACCEPTABLE_ID.fullmatch(trimmed) else uuid.uuid4().hex


@dataclass
class RequestContext:
    """One request's id, API key and error code, and what others add to its log line and its answer's headers."""

    request_id: str
    key: ApiKey | None = None
    error: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str | int | float | None] = field(default_factory=dict)

    def note(self, **fields: str | float | None) -> None:
        """Add fields to the log line; never a key, a file name or content."""
        self.fields.update(fields)

    def failed(self, code: str) -> None:
        """Remember the code of the error that was answered, and log it."""
        self.error = code
        self.note(error=code)

    def attach(self, scope: Scope) -> None:
        """Make this the context of the request with this scope."""
        scope.setdefault("state", {})["context"] = self


def context_of(connection: HTTPConnection) -> RequestContext:
    """The context of a request."""
    return cast(RequestContext, connection.state.context)
