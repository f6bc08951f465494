from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from starlette.testclient import TestClient

PYPROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/"])
def test_the_index_names_version_and_routes(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.json() == {
        "name": PYPROJECT["project"]["name"],
        "version": PYPROJECT["project"]["version"],
        "links": {
            "predict": "/predict",
            "predict_batch": "/predict/batch",
            "explain": "/predict/explain",
            "compare": "/predict/compare",
            "health": "/health",
            "healthz": "/healthz",
            "readyz": "/readyz",
            "startup": "/startup",
            "metrics": "/metrics",
            "drift": "/drift",
            "privacy": "/privacy",
            "openapi": "/openapi.json",
            "docs": "/docs",
        },
    }
