"""Requests that the metrics count, and how to read the metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.contract.claims import Ask
from tests.e2e.contract.gateways import Gateways
from tests.e2e.contract.pictures import as_kind

JPEG, GIF = as_kind("JPEG"), as_kind("GIF")
PREDICT = Ask("POST", "/predict", files=[("file", JPEG)])
EXPLAIN = Ask("POST", "/predict/explain", files=[("file", JPEG)])
REFUSED = Ask("POST", "/v1/predict", files=[("file", GIF)])
BATCH = Ask("POST", "/predict/batch", files=[("files", JPEG), ("files", JPEG), ("files", GIF)])
JUDGED = {"status": "success", "prediction": "*", "confidence": "*"}
"""Labels of a verdict; `*` is any value but `none`."""


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def total(text: str, name: str, labels: Mapping[str, str]) -> float:
    """The sum over the samples whose labels are these, where `*` is any value but `none`."""

    def fits(found: Mapping[str, str]) -> bool:
        return found.keys() == labels.keys() and all(
            found[key] == value or (value == "*" and found[key] != "none") for key, value in labels.items()
        )

    return sum(value for found, own, value in samples(text) if found == name and fits(own))


def scrape(gateways: Gateways, gateway: str = "open") -> str:
    return gateways.clients[gateway].get("/metrics").text
