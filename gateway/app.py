"""The application: routes, layers, error rendering and lifetime put together."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router

from gateway import context, routes
from gateway.errors import ApiError, render, render_method_not_allowed
from gateway.middleware import Guard, RequestLayer
from gateway.ratelimit import Bucket
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

    layers = [Middleware(RequestLayer, trace_project=chosen.trace_project_id)]
    if chosen.origins():  # around everything, so that a page can read the answer to a bug too
        layers.insert(0, Middleware(Cors, origins=chosen.origins()))
    app = Starlette(
        routes=build_routes(chosen),
        middleware=layers,
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


def build_routes(settings: Settings) -> list[BaseRoute]:
    """The one list of routes, at `/` and again under `/v1`."""
    described = _api()
    api = [*described, *routes.docs_routes(settings, described)]
    return [*api, Route("/v1", routes.index), Mount("/v1", Router(api, redirect_slashes=False))]


def _api() -> list[Route]:
    return [
        Route("/", routes.index),
        _prediction("/predict", routes.predict, "predict"),
        _prediction("/predict/batch", routes.predict_batch, "batch"),
        _prediction("/predict/explain", routes.explain, "explain"),
        _prediction("/predict/compare", routes.compare, "predict"),
        Route("/health", routes.health),
        Route("/healthz", routes.healthz),
        Route("/readyz", routes.readyz),
        Route("/startup", routes.startup),
        Route("/metrics", routes.metrics),
        Route("/drift", routes.drift),
        Route("/privacy", routes.privacy),
    ]


def _prediction(path: str, endpoint: Callable[[Request], Awaitable[Response]], bucket: Bucket) -> Route:
    return Route(path, endpoint, methods=["POST"], middleware=[Middleware(Guard, bucket=bucket)])
