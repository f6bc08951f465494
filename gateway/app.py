"""The application: routes, layers, error rendering and lifetime put together."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Mount, Route, Router

from gateway import context
from gateway.errors import ApiError, render, render_method_not_allowed
from gateway.middleware import Guard, RequestLayer
from gateway.ratelimit import Bucket
from gateway.routes import service
from gateway.routes.predictions import compare, explain, predict, predict_batch
from gateway.security import Cors
from gateway.services import Services, open_services
from gateway.settings import Settings
from gateway.uploads import batch_too_large, file_too_large


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


def build_routes(settings: Settings) -> list[BaseRoute]:
    """The one list of routes, at `/` and again under `/v1`."""
    described = _api(settings)
    api = [*described, *service.docs_routes(settings, described)]
    return [*api, Route("/v1", service.index), Mount("/v1", Router(api, redirect_slashes=False))]


def _api(settings: Settings) -> list[Route]:
    one, many = settings.max_file_bytes, settings.max_batch_bytes
    return [
        Route("/", service.index),
        Route("/predict", predict, methods=["POST"], middleware=_guard("predict", one, file_too_large)),
        Route("/predict/batch", predict_batch, methods=["POST"], middleware=_guard("batch", many, batch_too_large)),
        Route("/predict/explain", explain, methods=["POST"], middleware=_guard("explain", one, file_too_large)),
        Route("/predict/compare", compare, methods=["POST"], middleware=_guard("predict", one, file_too_large)),
        Route("/health", service.health),
        Route("/healthz", service.healthz),
        Route("/readyz", service.readyz),
        Route("/startup", service.startup),
        Route("/metrics", service.metrics),
        Route("/drift", service.drift),
        Route("/privacy", service.privacy),
    ]


def _guard(bucket: Bucket, most: int, too_large: Callable[[Settings], ApiError]) -> list[Middleware]:
    return [Middleware(Guard, bucket=bucket, max_bytes=most + Settings.max_form_overhead_bytes, too_large=too_large)]
