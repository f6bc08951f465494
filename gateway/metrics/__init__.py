"""All metrics: `families` has their names, `recorder` what counts in them, `exchange` how a request is labelled."""

from gateway.metrics.exchange import METHODS, OTHER, UNMATCHED, Exchange, endpoint_of
from gateway.metrics.families import Resource
from gateway.metrics.recorder import CONTENT_TYPE, Metrics, Snapshot

__all__ = [
    "CONTENT_TYPE",
    "METHODS",
    "OTHER",
    "UNMATCHED",
    "Exchange",
    "Metrics",
    "Resource",
    "Snapshot",
    "endpoint_of",
]
