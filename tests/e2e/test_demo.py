"""`make demo`: a verdict, a heat map, and nothing left after Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from deploy.layout import ROOT
from tests.checks import none
from tests.deploy.test_supervisor import alive


def _demo(*words: str) -> subprocess.Popen[str]:
    command = (sys.executable, "-m", "deploy.local.demo", *words)
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _said_until(demo: subprocess.Popen[str], last: str) -> list[str]:
    assert demo.stdout is not None
    said: list[str] = []
    for line in demo.stdout:
        said.append(line)
        if last in line:
            return said
    raise AssertionError("".join(said))


def test_the_demo_predicts_the_sample_in_a_deep_folder_outlives_its_terminal_and_leaves_nothing(tmp_path: Path) -> None:
    deep = tmp_path / ("a b" * 20) / ("ü" * 40)
    # The command line's `serve` is the same demo.
    command = ["nohup", sys.executable, "-m", "gateway.command", "serve", "--free-ports", "--var", str(deep)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        said = _said_until(demo, "Ctrl-C")
        started = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            demo.wait(1)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0, "".join(said)
    assert len(started) >= 5  # JVM, two workers, gateway, page
    none((process for process in started if alive(process)), of=started)
    assert any("probability" in line for line in said)
    with Image.open(deep / "coffee-heatmap.jpg") as heatmap:
        assert heatmap.size == (512, 341)


def test_the_api_alone_is_served_without_the_page_and_stops_when_told_even_while_it_starts(tmp_path: Path) -> None:
    with _demo("--api-only", "--free-ports", "--var", str(tmp_path)) as demo:
        said = _said_until(demo, "ready: the gateway")
        started = psutil.Process(demo.pid).children()
        modules = {" ".join(one.cmdline()[1:3]) for one in started}
        demo.send_signal(signal.SIGTERM)
        while all(one.is_running() for one in started) and demo.poll() is None:
            demo.send_signal(signal.SIGINT)
            time.sleep(0.02)
        assert demo.wait(60) == 0, "".join(said)
    assert not any(one.is_running() for one in started)
    assert "-m gateway" in modules
    assert "-m ui" not in modules
    assert list(tmp_path.glob("*-heatmap.jpg")) == []


def test_a_photo_that_is_not_there_is_one_clear_line() -> None:
    with _demo("--photo", "absent.jpg") as demo:
        said, _ = demo.communicate(timeout=60)
    assert (demo.returncode, said) == (
        1,
        "demo: no photo at absent.jpg: name a JPEG, PNG or WebP file with PHOTO=path\n",
    )
