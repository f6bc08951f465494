"""The application: routes, layers, error rendering and lifetime put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect

from gateway import context
from gateway.errors import ApiError, render, render_method_not_allowed
from gateway.middleware import RequestLayer
from gateway.routes import build_routes
from gateway.security import Cors
from gateway.services import Services, open_services
from gateway.settings import Settings


def create_app(settings: Settings | None = None, transport: httpx.AsyncBaseTransport | None = None) -> Starlette:
    """Build the gateway, by default from the environment; `transport` stands in for TorchServe in tests."""
    chosen = settings or Settings()
    context.configure()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Services]]:
        async with open_services(chosen, transport) as services:
            yield {"services": services}

    app = Starlette(
        routes=build_routes(chosen),
        middleware=[*_cors(chosen), Middleware(RequestLayer, trace_project=chosen.trace_project_id)],
        exception_handlers={
            ApiError: render,
            HTTPException: render,
            ClientDisconnect: render,
            405: render_method_not_allowed,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect is no JSON, and its address would come from the Host header
    return app


def _cors(settings: Settings) -> list[Middleware]:
    # Around everything, so that a page can read the answer to a bug too.
    return [Middleware(Cors, origins=settings.origins())] if settings.origins() else []
