"""`make smoke-test`, which follows every deployment, against the real stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deploy.layout import ROOT
from tests.e2e.processes import running_gateway


def smoke_test(url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ("make", "--silent", "--old-file=install", "smoke-test", f"URL={url}", f"RUN={sys.executable}")
    known = {name: value for name, value in os.environ.items() if name not in {"DETECTOR_API_KEY", "PHOTO"}}
    return subprocess.run(command, cwd=ROOT, env=known | environment, capture_output=True, text=True, check=False)


def test_it_predicts_the_sample_image_with_the_key_of_its_environment(
    torchserve: dict[str, str], tmp_path: Path
) -> None:
    with running_gateway(tmp_path / "gateway.log", API_KEYS="right", **torchserve) as gateway:
        right, wrong = (smoke_test(gateway.url, DETECTOR_API_KEY=key) for key in ("right", "wrong"))
    assert (right.returncode, right.stderr) == (0, "")
    assert right.stdout.startswith("coffee.png: real, probability 0.")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("smoke test: /predict answered 401: ")
