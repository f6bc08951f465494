"""What the routes work with: opened once with the application, passed on with every request."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, cast

import httpx
from starlette.requests import HTTPConnection

from gateway.activity import Activity
from gateway.auth import KeyRing
from gateway.backend import Backend
from gateway.readiness import Readiness
from gateway.settings import Settings
from gateway.token_file import TokenFile

NAME: Final = "ai-product-photo-detector"


@dataclass(frozen=True)
class Services:
    """Everything with state or settings that a route needs."""

    settings: Settings
    backend: Backend
    readiness: Readiness
    keys: KeyRing
    activity: Activity
    version: str


@asynccontextmanager
async def open_services(settings: Settings, transport: httpx.AsyncBaseTransport | None) -> AsyncIterator[Services]:
    """Open the connection pool and build the services on it; `transport` stands in for the network in tests."""
    async with _client(settings, transport) as client:
        backend = Backend(client, TokenFile(settings.torchserve_key_file), settings)
        yield Services(
            settings=settings,
            backend=backend,
            readiness=Readiness(backend, settings),
            keys=KeyRing(settings.keys(), required=settings.require_auth),
            activity=Activity(),
            version=read_version(),
        )


def services_of(connection: HTTPConnection) -> Services:
    """The services of the application that a request reached."""
    return cast(Services, connection.state.services)


def read_version() -> str:
    """The project's version: from its `pyproject.toml` in a checkout, else from the installed package."""
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    if pyproject.is_file():
        return cast(str, tomllib.loads(pyproject.read_text())["project"]["version"])
    return metadata.version(NAME)


def _client(settings: Settings, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=str(settings.torchserve_url),
        transport=transport,
        timeout=httpx.Timeout(None, connect=settings.connect_timeout_s),  # the backend's deadline covers the rest
        limits=httpx.Limits(max_connections=settings.backend_concurrency),
        trust_env=False,
    )
