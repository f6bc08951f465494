"""One request that is over, and its labels: values of a set and route templates, never a client's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.routing import Route
from starlette.types import Scope

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER: Final = "other"
UNMATCHED: Final = "unmatched"


@dataclass(frozen=True)
class Exchange:
    """One request that is over; a status of None means that the client was gone before it got one."""

    scope: Scope
    status: int | None
    seconds: float
    received: int
    sent: int
    error: str | None


def endpoint_of(scope: Scope) -> str:
    """The template of the route that a request reached, without `/v1`; one value for all that reached none."""
    route = scope.get("route")
    if not isinstance(route, Route):
        return UNMATCHED
    mounts = scope["root_path"].removeprefix(scope["app_root_path"]) if "app_root_path" in scope else ""
    return (mounts + route.path).removeprefix("/v1") or "/"


def method_of(scope: Scope) -> str:
    """The request's method, with one value for all that are unusual."""
    return scope["method"] if scope["method"] in METHODS else OTHER
