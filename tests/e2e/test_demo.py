"""`make demo`: a verdict, a heat map, and nothing left after Ctrl-C."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image

from deploy.layout import ROOT
from tests.checks import none
from tests.deploy.test_supervisor import alive


def _demo(
    *arguments: str, program: tuple[str, ...] = ("deploy.local.demo",), before: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-m", *program, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _said_until_up(demo: subprocess.Popen[str]) -> list[str]:
    assert demo.stdout is not None
    said: list[str] = []
    for line in demo.stdout:
        if "Ctrl-C" in line:
            return said
        said.append(line)
    raise AssertionError("".join(said))


def test_the_demo_judges_the_sample_and_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    # The command line's `serve` is the same demo.
    with _demo("--free-ports", "--var", str(tmp_path), program=("gateway.command", "serve")) as demo:
        said = _said_until_up(demo)
        started = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0, "".join(said)
    assert len(started) >= 5  # JVM, two workers, gateway, page
    none((process for process in started if alive(process)), of=started)
    assert any("probability" in line for line in said)
    with Image.open(tmp_path / "coffee-heatmap.jpg") as heatmap:
        assert heatmap.size == (512, 341)


def test_the_api_alone_is_served_in_a_folder_as_deep_as_one_likes_and_outlives_its_terminal(tmp_path: Path) -> None:
    deep = tmp_path / ("a b" * 20) / ("ü" * 40)
    with _demo("--api-only", "--free-ports", "--var", str(deep), before=("nohup",)) as demo:
        said = _said_until_up(demo)
        modules = {" ".join(one.cmdline()[1:3]) for one in psutil.Process(demo.pid).children()}
        demo.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            demo.wait(1)
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(60) == 0, "".join(said)
    assert said[:2] == ["ready: the gateway\n", "ready: a first inference by TorchServe\n"]
    assert said[2].startswith("REST API ")
    assert "-m gateway" in modules
    assert "-m ui" not in modules
    assert list(deep.glob("*-heatmap.jpg")) == []


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with _demo("--gateway-port", str(port)) as demo:
            said, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert said == (
        f"demo: port {port} (gateway) is in use: stop what uses it, or use free ports with "
        '`make demo ARGS="--free-ports"`\n'
    )


def test_a_photo_that_is_not_there_is_one_clear_line() -> None:
    with _demo("--photo", "absent.jpg") as demo:
        said, _ = demo.communicate(timeout=60)
    assert (demo.returncode, said) == (
        1,
        "demo: no photo at absent.jpg: name a JPEG, PNG or WebP file with PHOTO=path\n",
    )
