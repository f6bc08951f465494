"""Model versions take over from each other while requests go on: by the commands that operators have."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deploy.layout import ROOT
from deploy.local.stack import LocalStack
from deploy.torchserve.process import ARCHIVE, MODEL
from tests.checks import none
from tests.e2e.load import Load, steady
from tests.e2e.processes import PATIENCE_S, processes, until

NEW, THIRD, BROKEN = "9.9.9", "9.9.10", "9.9.11"
CLIENTS = 4
BATCH_S = 10
"""The longest time that a batch may take, so that an old version need not be waited for as long as usual."""


@pytest.fixture(scope="module")
def shipped(stack: LocalStack, coffee: Path) -> str:
    """The version that the stack began with; two more are packed beside it."""
    for new in (NEW, THIRD):
        _pack(stack, new, {})
    version = _predicting(stack, coffee)
    assert version is not None
    return version


@pytest.mark.timeout(4 * PATIENCE_S)
def test_switches_under_load_fail_no_request_and_a_torchserve_that_dies_comes_back_with_the_live_version(
    stack: LocalStack, shipped: str, management: httpx.Client, coffee: Path
) -> None:
    with steady({"gateway": stack.gateway_url}, coffee.read_bytes(), CLIENTS) as load:
        switched = [_switch(stack, load, *words) for words in (("promote", NEW), ("rollback",), ("promote", THIRD))]
    assert switched == [NEW, shipped, THIRD]
    assert load.broken == []
    none((answer.undocumented for answer in load.answers if answer.undocumented), of=load.answers)
    assert {answer.status for answer in load.answers} == {200}
    assert _registered(management) == {shipped: 2, THIRD: 2}  # the one before stays loaded, the one before that is gone
    assert (stack.layout.store / f"{MODEL}-{NEW}.mar").is_file()

    [server] = processes("org.pytorch.serve.ModelServer")
    server.kill()
    until(lambda: _predicting(stack, coffee) is None, stack)
    until(lambda: _predicting(stack, coffee) == THIRD, stack)
    _command(stack, "rollback").check_returncode()
    assert _predicting(stack, coffee) == shipped


def test_a_version_that_does_not_load_leaves_the_live_one_alone(
    stack: LocalStack, management: httpx.Client, coffee: Path
) -> None:
    live = _predicting(stack, coffee)
    _pack(stack, BROKEN, {"temperature": -1})
    done = _command(stack, "promote", BROKEN)
    assert done.returncode == 1
    assert done.stderr.startswith(f"promote: TorchServe cannot load {BROKEN} (")
    assert "temperature is out of range" in done.stderr
    assert BROKEN not in _registered(management)
    assert _predicting(stack, coffee) == live


def _pack(stack: LocalStack, version: str, spec: dict[str, Any]) -> None:
    """Copy the archive that ships under another version, and with other values in its spec."""
    shipped = stack.layout.store / ARCHIVE
    with zipfile.ZipFile(shipped) as old, zipfile.ZipFile(shipped.with_name(f"{MODEL}-{version}.mar"), "w") as new:
        contents = {name: old.read(name) for name in old.namelist()}
        config = yaml.safe_load(contents["model-config.yaml"])
        config |= {"responseTimeout": BATCH_S, "spec": config["spec"] | {"version": version} | spec}
        manifest = json.loads(contents["MAR-INF/MANIFEST.json"])
        manifest["model"]["modelVersion"] = version
        contents |= {"model-config.yaml": yaml.safe_dump(config).encode()}
        contents |= {"MAR-INF/MANIFEST.json": json.dumps(manifest).encode()}
        for name, content in contents.items():
            new.writestr(name, content)


def _switch(stack: LocalStack, load: Load, *words: str) -> str:
    """Run a command; return the version that answers all that is asked from then on, by several answers."""
    done = _command(stack, *words)
    assert (done.returncode, done.stderr) == (0, "")
    now = time.monotonic()
    until(lambda: len(_answering_since(load, now)) >= CLIENTS, stack)
    [version] = set(_answering_since(load, now))
    assert done.stdout.startswith(f"live: {version}, with 2 workers\n")
    return version


def _answering_since(load: Load, moment: float) -> list[str]:
    return [answer.version for answer in load.answers if answer.asked > moment]


def _command(stack: LocalStack, *words: str) -> subprocess.CompletedProcess[str]:
    folders = ["--var", str(stack.layout.var), "--store", str(stack.layout.store)]
    command = [sys.executable, "-m", "deploy.local.versions", *words, *folders]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _registered(management: httpx.Client) -> dict[str, int]:
    """All versions with their workers."""
    return {model["modelVersion"]: len(model["workers"]) for model in management.get(f"/models/{MODEL}/all").json()}


def _predicting(stack: LocalStack, photo: Path) -> str | None:
    """The version that answers a prediction; None if there is no answer."""
    files = {"file": photo.read_bytes()}
    answer = httpx.post(f"{stack.gateway_url}/predict", files=files, timeout=60, trust_env=False)
    return str(answer.json()["model_version"]) if answer.is_success else None
