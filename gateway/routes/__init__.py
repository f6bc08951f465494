"""The one list of routes, mounted at `/` and again at `/v1`."""

from collections.abc import Callable

from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route, Router

from gateway.errors import ApiError
from gateway.middleware import Guard
from gateway.ratelimit import Bucket
from gateway.routes.docs import docs_routes
from gateway.routes.predictions import compare, explain, predict, predict_batch
from gateway.routes.service import drift, health, healthz, index, metrics, privacy, readyz, startup
from gateway.settings import Settings
from gateway.uploads import batch_too_large, file_too_large


def build_routes(settings: Settings) -> list[BaseRoute]:
    """All routes, unversioned and under `/v1`."""
    described = _api(settings)
    api = [*described, *docs_routes(settings, described)]
    return [*api, Route("/v1", index), Mount("/v1", Router(api, redirect_slashes=False))]


def _api(settings: Settings) -> list[Route]:
    one, many = settings.max_file_bytes, settings.max_batch_bytes
    return [
        Route("/", index),
        Route("/predict", predict, methods=["POST"], middleware=_guard("predict", one, file_too_large)),
        Route("/predict/batch", predict_batch, methods=["POST"], middleware=_guard("batch", many, batch_too_large)),
        Route("/predict/explain", explain, methods=["POST"], middleware=_guard("explain", one, file_too_large)),
        Route("/predict/compare", compare, methods=["POST"], middleware=_guard("predict", one, file_too_large)),
        Route("/health", health),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/startup", startup),
        Route("/metrics", metrics),
        Route("/drift", drift),
        Route("/privacy", privacy),
    ]


def _guard(bucket: Bucket, most: int, too_large: Callable[[Settings], ApiError]) -> list[Middleware]:
    return [Middleware(Guard, bucket=bucket, max_bytes=most + Settings.max_form_overhead_bytes, too_large=too_large)]
