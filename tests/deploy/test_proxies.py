"""Proxies of the environment: they are for addresses elsewhere, never for this machine's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from requests.utils import get_environ_proxies

from deploy.layout import ROOT, is_loopback
from tests.gateway.command.service import served
from training.params import parse_command_line

DEAD = "http://127.0.0.1:9"
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
ENVIRONMENTS = {
    "http": dict.fromkeys(NAMES, DEAD),
    "lower case": dict.fromkeys(map(str.lower, NAMES), DEAD),
    "socks": {"ALL_PROXY": "socks5://127.0.0.1:9"},
}
"""None of these is heard at their address; the package that SOCKS needs is not installed."""


def well(request: httpx.Request) -> httpx.Response:
    verdict = {"prediction": "real", "probability": 0.1, "confidence": "high", "inference_time_ms": 1.0}
    return httpx.Response(200, json=verdict | {"model_version": "1.2.0", "alive": True, "asked": request.url.path})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENVIRONMENTS)
@pytest.mark.parametrize(
    "command", [("deploy.smoke_test",), ("gateway.command", "check", "--url")], ids=["smoke test", "check"]
)
def test_commands_reach_loopback_without_the_proxy(coffee: Path, kind: str, command: tuple[str, ...]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with served(well) as url:
        done = subprocess.run(
            [sys.executable, "-m", *command, url, str(coffee)],
            cwd=ROOT,
            env=environment | ENVIRONMENTS[kind],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, "real" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("api.localhost", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback_is_known_by_name_and_number(host: str, here: bool) -> None:
    assert is_loopback(host) is here


@pytest.mark.parametrize("spared", ["", "example.com", "*"])
def test_stages_of_training_add_loopback_to_what_is_spared(spared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client and hubs' read the environment; a hub far away is still asked through the proxy."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in {"HTTP_PROXY": DEAD, "NO_PROXY": spared, "no_proxy": spared}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["validate"])
    parse_command_line("validate")
    here, there = map(get_environ_proxies, ("http://127.0.0.1:5000", "http://example.org"))
    assert "http" not in here
    assert (DEAD in there.values()) is (spared != "*")
