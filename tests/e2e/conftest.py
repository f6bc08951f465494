"""The whole stack with the archive that ships: started once, on free ports, in a temporary folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from PIL import Image

from deploy.layout import HOST, ROOT, Layout, Ports
from deploy.local.stack import LocalStack, running
from deploy.torchserve.process import ARCHIVE

ORIENTATION = 0x0112
TURN_RIGHT = 6


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    store = tmp_path_factory.mktemp("store")
    shutil.copy(ROOT / "model_store" / ARCHIVE, store)
    layout = Layout(var=tmp_path_factory.mktemp("var"), store=store)
    with ExitStack() as opened:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATE_LIMIT_ENABLED", "false")  # the tests together ask more than one client may
            started = opened.enter_context(running(layout, Ports.free(), page=False))
        started.wait(f"{started.gateway_url}/readyz", "a first inference")
        yield started


@pytest.fixture(scope="session")
def torchserve(stack: LocalStack) -> dict[str, str]:
    """The settings of a gateway of its own in front of the stack's TorchServe."""
    return {
        "GATEWAY_TORCHSERVE_URL": stack.inference_url,
        "GATEWAY_TORCHSERVE_KEY_FILE": str(stack.layout.key_file),
    }


@pytest.fixture
def gateway(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.gateway_url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def inference(stack: LocalStack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.token('inference')}", "Content-Type": "application/octet-stream"}
    with httpx.Client(base_url=stack.inference_url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def management(stack: LocalStack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.token('management')}"}
    with httpx.Client(
        base_url=f"http://{HOST}:{stack.ports.management}", headers=headers, timeout=60, trust_env=False
    ) as client:
        yield client


@pytest.fixture
def rotated(coffee: Path, tmp_path: Path) -> Path:
    """The coffee cup as a phone saves it: on its side, with the EXIF flag that turns it upright."""
    path = tmp_path / "rotated.jpg"
    exif = Image.Exif()
    exif[ORIENTATION] = TURN_RIGHT
    with Image.open(coffee) as image:
        image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    return path
