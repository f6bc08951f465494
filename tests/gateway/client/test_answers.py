"""The answers are those of the gateway's schemas, and importing them brings nothing of the server."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import BaseModel

from deploy.layout import ROOT
from gateway import schemas
from gateway.client import Evidence, Explanation, Verdict

PAIRS: list[tuple[type[BaseModel], type[BaseModel]]] = [
    (Verdict, schemas.PredictionBody),
    (Explanation, schemas.ExplanationBody),
    (Evidence, schemas.Evidence),
]
PROGRAM = """
import sys
import gateway.client
print(*sorted(name for name in sys.modules if name.startswith("gateway.") and name.count(".") == 1 or name in
    {"starlette", "numpy", "PIL", "uvicorn", "structlog", "aiohttp", "pydantic_settings"}))
"""


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_fields_are_the_documented_ones(ours: type[BaseModel], theirs: type[BaseModel]) -> None:
    assert set(ours.model_fields) == set(theirs.model_fields)


def test_the_client_imports_of_the_gateway_its_schemas_alone_and_nothing_heavy() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["gateway.client", "gateway.schemas"]
