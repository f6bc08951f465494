"""The dataclasses have the documented fields, and importing them costs next to nothing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import BaseModel

from gateway import schemas
from gateway.client import About, Comparison, Evidence, Explanation, Health, Verdict, answers

ROOT = Path(__file__).parents[3]
PAIRS: list[tuple[type, type[BaseModel]]] = [
    (Verdict, schemas.PredictionWithEvidence),
    (Explanation, schemas.ExplanationWithEvidence),
    (Evidence, schemas.Evidence),
    (Health, schemas.HealthWithModel),
    (answers.ModelInfo, schemas.ModelInfo),
    (About, schemas.IndexBody),
    (answers.Drift, schemas.DriftWithHistogram),
    (answers.DriftStatistics, schemas.DriftStatistics),
    (answers.DriftSummary, schemas.DriftSummary),
    (answers.DriftCheck, schemas.DriftCheck),
    (answers.DriftHistogram, schemas.DriftHistogram),
    (answers.BatchResult, schemas.BatchBody),
]
PROGRAM = """
import sys
import gateway.client
print(*sorted(name for name in sys.modules if name.partition(".")[0] in
    {"gateway", "starlette", "numpy", "pydantic", "pydantic_core", "PIL", "uvicorn", "structlog", "aiohttp"}))
"""


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_fields_are_the_documented_ones(ours: type, theirs: type[BaseModel]) -> None:
    assert {field.name for field in fields(ours)} == set(theirs.model_fields)


def test_a_comparison_leaves_out_the_field_that_is_always_null() -> None:
    assert {field.name for field in fields(Comparison)} == set(schemas.ComparisonBody.model_fields) - {"message"}


def test_the_client_imports_nothing_else_of_the_gateway_and_nothing_heavy() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True, capture_output=True, text=True)
    own = sorted(path.stem for path in (ROOT / "gateway" / "client").glob("*.py") if path.stem != "__init__")
    assert run.stdout.split() == ["gateway", "gateway.client", *(f"gateway.client.{name}" for name in own)]
