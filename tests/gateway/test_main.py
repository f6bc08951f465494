"""The real process on a real socket; `tests/e2e/test_drain.py` is about its end."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import running_gateway
from tests.e2e.test_drain import SlowModel, serving
from tests.gateway.evidence import hostile
from tests.gateway.fakes import picture, upload
from tests.gateway.test_metrics import parsed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FILES = {"file": upload(picture("JPEG"))}


def memory_of(process: subprocess.Popen[bytes], what: str) -> int:
    """A process's memory in MiB, now (VmRSS) or at most so far (VmHWM)."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(what))


def seconds_of(process: subprocess.Popen[bytes]) -> float:
    """The processor time that a process has taken."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.timeout(180)
def test_small_files_with_huge_metadata_cost_neither_memory_nor_time(tmp_path: Path) -> None:
    # With namespaces expanded, 14 kB took the process from 124 to 1,293 MB, and 421 bytes cost 3.4 s.
    with (
        serving(SlowModel(0)) as model,
        running_gateway(tmp_path / "log", GATEWAY_TORCHSERVE_URL=model) as gateway,
        httpx.Client(base_url=gateway.url, timeout=60, trust_env=False) as client,
    ):
        first = client.post("/predict?include=evidence", files=FILES)
        assert (first.status_code, "server" in first.headers) == (200, False)
        before, worst = memory_of(gateway.process, "VmRSS"), 0.0
        for name, data in hostile.pngs().items():
            started = seconds_of(gateway.process)
            answer = client.post("/predict?include=evidence", files={"file": upload(data)})
            assert answer.status_code == 200
            assert {finding["type"] for finding in answer.json()["evidence"]} <= {"incomplete"}, name
            worst = max(worst, seconds_of(gateway.process) - started)
        assert worst < 1.5
        assert memory_of(gateway.process, "VmHWM") - before < 50


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_on_all_addresses_it_is_heard_on_both_families(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "log", GATEWAY_HOST="::") as gateway:
        for host in ("127.0.0.1", "[::1]"):
            url = gateway.url.replace("127.0.0.1", host)
            assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("API_KEYS", ",", "gateway: API_KEYS: set but empty: list keys separated by commas, or unset it"),
        ("GATEWAY_PORT", "high", "gateway: GATEWAY_PORT: Input should be a valid integer"),
        ("GATEWAY_MAX_PIXELS", "300000000", "gateway: GATEWAY_MAX_PIXELS is 300000000: the model server takes at most"),
    ],
)
def test_a_setting_that_makes_no_sense_is_told_in_a_line(name: str, value: str, told: str) -> None:
    command = [sys.executable, "-m", "gateway"]
    ended = subprocess.run(
        command, cwd=ROOT, env=os.environ | {name: value}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(told)
    assert len(ended.stderr.splitlines()) == 1


def test_a_misspelt_setting_is_named_in_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PREDICT_RATES", "secret-value")
    monkeypatch.setenv("API_KEYS", ",")
    command = [sys.executable, "-m", "gateway"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    warning = json.loads(ended.stderr.splitlines()[0])
    assert (warning["event"], warning["level"]) == ("setting_unknown", "warning")
    assert (warning["variable"], warning["meant"]) == ("GATEWAY_PREDICT_RATES", "GATEWAY_PREDICT_RATE")
    assert "secret-value" not in ended.stderr


PROGRAM = """
import importlib.util, sys
import gateway.app
gateway.app.create_app()
assert 'torch' not in sys.modules
assert importlib.util.find_spec('torch') is None
"""


def test_the_lock_is_all_it_needs(tmp_path: Path) -> None:
    uv = [sys.executable, "-m", "uv", "--quiet"]
    lock = ROOT / "requirements" / "gateway.txt"
    subprocess.run([*uv, "venv", "--python", sys.executable, tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([*uv, "pip", "install", "--python", python, "--require-hashes", "-r", lock], check=True)
    subprocess.run([python, "-W", "error", "-c", PROGRAM], cwd=ROOT, check=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_log_disk_costs_no_answer_and_no_connection() -> None:
    with running_gateway(Path("/dev/full")) as gateway:
        url = httpx.URL(gateway.url)
        statuses = []
        with closing(http.client.HTTPConnection(url.host, url.port, timeout=10)) as kept:
            for path in ["/healthz", "/nowhere"] * 10:
                kept.request("GET", path)
                answer = kept.getresponse()
                answer.read()
                statuses.append(answer.status)
        assert statuses == [200, 404] * 10
        with socket.create_connection((url.host, url.port or 0)) as garbled:
            garbled.sendall(b"no HTTP\r\n\r\n")
            assert garbled.recv(1000).startswith(b"HTTP/1.1 400 ")
        found = parsed(httpx.get(f"{gateway.url}/metrics", trust_env=False).text)
        assert found["aidetect_log_lines_dropped_total", ()] >= 20
        gateway.process.terminate()
        assert gateway.process.wait(20) == 0
