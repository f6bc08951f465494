"""`make smoke-test`, which follows every deployment, against the real stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.layout import ROOT
from deploy.local.stack import LocalStack
from tests.e2e.processes import running_gateway


def smoke_test(url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ("make", "--silent", "--old-file=install", "smoke-test", f"URL={url}", f"RUN={sys.executable}")
    known = {name: value for name, value in os.environ.items() if name not in {"DETECTOR_API_KEY", "PHOTO"}}
    return subprocess.run(command, cwd=ROOT, env=known | environment, capture_output=True, text=True, check=False)


def test_it_predicts_the_sample_image(stack: LocalStack) -> None:
    done = smoke_test(stack.gateway_url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("coffee.png: real, probability 0.")


@pytest.mark.parametrize(
    ("key", "code", "said"), [("right", 0, ""), ("wrong", 2, "smoke test: /predict answered 401: ")]
)
def test_it_shows_the_key_of_its_environment(stack: LocalStack, tmp_path: Path, key: str, code: int, said: str) -> None:
    settings = {
        "GATEWAY_TORCHSERVE_URL": stack.inference_url,
        "GATEWAY_TORCHSERVE_KEY_FILE": str(stack.layout.key_file),
        "API_KEYS": "right",
    }
    with running_gateway(tmp_path / "gateway.log", **settings) as gateway:
        done = smoke_test(gateway.url, DETECTOR_API_KEY=key)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(said)
