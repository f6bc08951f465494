from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local.stack import LocalStack
from tests.e2e.contract import gateways as processes
from tests.e2e.contract.gateways import Gateways


@pytest.fixture(scope="session")
def gateways(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with processes.opened(stack, tmp_path_factory.mktemp("gateways")) as running:
        yield running
