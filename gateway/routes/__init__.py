"""The one list of routes, mounted at `/` and again at `/v1`."""

from collections.abc import Callable
from functools import partial

from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route, Router

from gateway.errors import ApiError
from gateway.middleware import BodyCap, BodyDeadline, CountActive, HoldBody, LimitRate, RequireKey
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
    single = partial(_guards, settings, settings.max_file_bytes, partial(file_too_large, settings))
    batch = partial(_guards, settings, settings.max_batch_bytes, partial(batch_too_large, settings))
    return [
        Route("/", index),
        Route("/predict", predict, methods=["POST"], middleware=single("predict")),
        Route("/predict/batch", predict_batch, methods=["POST"], middleware=batch("batch")),
        Route("/predict/explain", explain, methods=["POST"], middleware=single("explain")),
        Route("/predict/compare", compare, methods=["POST"], middleware=single("predict")),
        Route("/health", health),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/startup", startup),
        Route("/metrics", metrics),
        Route("/drift", drift),
        Route("/privacy", privacy),
    ]


def _guards(settings: Settings, max_bytes: int, refusal: Callable[[], ApiError], bucket: Bucket) -> list[Middleware]:
    cap = Middleware(BodyCap, max_bytes=max_bytes + settings.max_form_overhead_bytes, refusal=refusal)
    deadline = Middleware(BodyDeadline, settings=settings)
    rate = [Middleware(LimitRate, bucket=bucket)] if settings.rate_limit_enabled else []
    return [cap, deadline, Middleware(RequireKey), *rate, Middleware(CountActive), Middleware(HoldBody)]
