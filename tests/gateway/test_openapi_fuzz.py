"""Schemathesis holds the running gateway against its own description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from schemathesis.specs.openapi.checks import positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from gateway.app import create_app
from gateway.settings import Settings
from tests.gateway.fakes import TorchServe, picture

pytestmark = pytest.mark.slow

IMAGES = [picture(kind) for kind in ("JPEG", "PNG", "WEBP")]
KEY = "fuzz"

schemathesis.openapi.format("binary", st.sampled_from(IMAGES))


def described() -> OpenApiSchema:
    chosen = Settings(api_keys=SecretStr(KEY), rate_limit_enabled=False, drift_file=Path())
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(chosen, TorchServe().transport()))


schema = described()


@schema.parametrize()
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_gateway_does_what_its_description_says(case: schemathesis.Case[Any]) -> None:
    # No schema can say that bytes are an image, so some that fit the schema are rightly refused.
    case.call_and_validate(headers={"X-API-Key": KEY}, excluded_checks=[positive_data_acceptance])
