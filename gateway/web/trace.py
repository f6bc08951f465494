"""W3C trace context: the ids that tie a log line to a trace, for any collector and for Google's Cloud Trace."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, cast

from starlette.datastructures import Headers
from starlette.types import Scope

HEADER: Final = "traceparent"
SAMPLED: Final = 1

# Version 00 has these four fields; a later one may add more behind them, and ff is none.
_PARENT: Final = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
MAX_LENGTH: Final = 512


@dataclass(frozen=True)
class TraceParent:
    """The trace that a request belongs to and the span that sent it."""

    trace_id: str
    span_id: str
    sampled: bool

    def attach(self, scope: Scope) -> None:
        """Make this the trace of the request with this scope."""
        scope.setdefault("state", {})["trace"] = self

    def log_fields(self, project: str | None) -> dict[str, str | bool]:
        """The fields of a log line; with a project also those that Cloud Logging looks for."""
        fields: dict[str, str | bool] = {"trace_id": self.trace_id, "span_id": self.span_id}
        if project is None:
            return fields
        return fields | {
            "logging.googleapis.com/trace": f"projects/{project}/traces/{self.trace_id}",
            "logging.googleapis.com/spanId": self.span_id,
            "logging.googleapis.com/trace_sampled": self.sampled,
        }


def trace_of(scope: Scope) -> TraceParent | None:
    """The request's own span where it has one, else what its client sent."""
    own = cast(TraceParent | None, scope.get("state", {}).get("trace"))
    return own or parse(Headers(scope=scope).get(HEADER))


def parse(header: str | None) -> TraceParent | None:
    """The trace of a `traceparent` header, or None for anything that the specification tells to ignore."""
    found = _PARENT.fullmatch((header or "")[:MAX_LENGTH].strip(" \t"))
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"]):
        return None
    if not int(found["trace"], 16) or not int(found["span"], 16):
        return None
    return TraceParent(found["trace"], found["span"], bool(int(found["flags"], 16) & SAMPLED))
