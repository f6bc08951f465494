"""The Dockerfiles, as far as reading them tells; `make lint-docker` asks hadolint, `make test-images` builds them."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from gateway.settings import Settings
from stack.layout import ROOT
from tests.ops.checkout import copy_files

FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
each = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
DIGEST = r"sha256:[0-9a-f]{64}"
COPIED = re.compile(r"^COPY (?!--from)(.+) \S+$", re.MULTILINE)
STACK_IMPORT = re.compile(r"^(?:from stack\.|from stack import )(\w+)", re.MULTILINE)


def instructions(file: Path, name: str) -> list[str]:
    return re.findall(rf"^{name} (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)


def allowed(source: str) -> bool:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return any(source == line[1:] or fnmatch(source, f"{line[1:]}/*") for line in lines if line.startswith("!"))


def test_there_is_one_for_each_component() -> None:
    assert [file.stem for file in FILES] == ["gateway", "torchserve", "training", "ui"]


@each
def test_both_stages_come_from_the_same_given_base(file: Path) -> None:
    base = instructions(file, "ARG")[0]
    assert re.fullmatch(rf"BASE=docker\.io/library/python:3\.11-slim@{DIGEST}", base)
    assert base.replace("=", ": ${BASE:-", 1) + "}" in (ROOT / "docker/compose.yaml").read_text()
    assert instructions(file, "FROM") == ["${BASE} AS build", "${BASE}"]


@each
def test_it_runs_as_a_numeric_user_that_is_not_root(file: Path) -> None:
    assert instructions(file, "USER") == ["10001:10001"]


@each
def test_it_says_how_its_health_is_checked(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count("\nHEALTHCHECK ") == 1
    assert "curl" not in text


@each
def test_its_packages_come_from_its_hashed_lock(file: Path) -> None:
    [install] = re.findall(r"\./install\.sh (\S+)", file.read_text(encoding="utf-8"))
    assert install == f"{file.stem}.txt"
    assert "--hash=sha256:" in (ROOT / "requirements" / install).read_text(encoding="utf-8")


@each
def test_all_that_it_copies_is_there_and_reaches_the_build(file: Path) -> None:
    sources = [source for line in COPIED.findall(file.read_text(encoding="utf-8")) for source in line.split()]
    assert sources
    assert [source for source in sources if not [*ROOT.glob(source)] or not allowed(source)] == []


def test_nothing_else_reaches_a_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith(("!", "#"))] == ["*", "**/__pycache__"]
    copied = {
        source for file in FILES for line in COPIED.findall(file.read_text(encoding="utf-8")) for source in line.split()
    }
    let_in = [line[1:] for line in lines if line.startswith("!")]
    unused = [path for path in let_in if not any(one == path or one.startswith(f"{path}/") for one in copied)]
    assert unused == []


def test_the_gateways_image_sets_what_it_knows() -> None:
    text = (ROOT / "docker/gateway.Dockerfile").read_text(encoding="utf-8")
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bGATEWAY_\w+", text)) <= known


def test_torchserves_image_holds_all_of_the_stack_that_it_runs() -> None:
    [line] = [line for line in COPIED.findall((ROOT / "docker/torchserve.Dockerfile").read_text()) if "stack/" in line]
    sources = line.split()
    imported = {f"stack/{name}.py" for source in sources for name in STACK_IMPORT.findall((ROOT / source).read_text())}
    assert {*imported, "stack/__init__.py", "stack/container.py"} == set(sources)


def test_torch_is_left_out_of_the_lock_in_the_same_way_as_by_make() -> None:
    program = re.compile(r"awk '(.+?)'")
    [here] = program.findall((ROOT / "docker/install.sh").read_text())
    assert here in program.findall((ROOT / "Makefile").read_text())


def images(text: str) -> list[str]:
    return re.findall(r"\b[a-z]+\.[a-z.]+/[\w./-]+:[\w.-]+(?:@\S+)?\b", text)


def test_what_others_publish_is_named_by_digest() -> None:
    files = [*FILES, ROOT / "docker/compose.yaml", ROOT / "deploy/kubernetes/base/redis.yaml"]
    named = [image for file in files for image in images(file.read_text()) if image.startswith("docker.io/")]
    assert {image.partition("@")[0].rpartition("/")[2].partition(":")[0] for image in named} == {
        "python",
        "prometheus",
        "grafana",
        "redis",
    }
    assert [image for image in named if not re.fullmatch(rf"\S+@{DIGEST}", image)] == []


def test_digests_are_renewed_by_what_the_registry_says_of_the_tags(tmp_path: Path) -> None:
    copy_files(tmp_path, "Makefile", "docker", "deploy/kubernetes/base")
    skopeo = tmp_path / "bin" / "skopeo"
    skopeo.parent.mkdir()
    skopeo.write_text('#!/bin/sh\nprintf %s "$*"\n')
    skopeo.chmod(0o755)
    environment = os.environ | {"PATH": f"{skopeo.parent}{os.pathsep}{os.environ['PATH']}"}
    told = subprocess.run(["make", "pin-images"], cwd=tmp_path, env=environment, capture_output=True, check=True)  # noqa: S607
    redis = "docker.io/library/redis:8.2-alpine"
    digest = hashlib.sha256(f"inspect --raw docker://{redis}".encode()).hexdigest()
    assert f"{redis}@sha256:{digest}" in told.stdout.decode()
    assert f"image: {redis}@sha256:{digest}\n" in (tmp_path / "deploy/kubernetes/base/redis.yaml").read_text()
    assert [*(tmp_path / "docker").glob("*.old")] == []


def test_digests_stay_where_no_registry_is_reached(tmp_path: Path) -> None:
    copy_files(tmp_path, "Makefile", "docker", "deploy/kubernetes/base")
    before = (tmp_path / "docker/compose.yaml").read_text()
    for name in ("skopeo", "docker"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run(["make", "pin-images"], cwd=tmp_path, env=environment, capture_output=True, check=False)  # noqa: S607
    assert ended.returncode != 0
    assert (tmp_path / "docker/compose.yaml").read_text() == before


@pytest.mark.parametrize(
    ("locked", "words"), [(True, "--no-deps --require-hashes -r torch-cpu.txt"), (False, "torch==1.2.3")]
)
def test_torchs_small_build_is_installed_by_its_hashes_where_they_are_known(
    tmp_path: Path, *, locked: bool, words: str
) -> None:
    script = (ROOT / "docker/install.sh").read_text().replace("/opt/", f"{tmp_path}/")
    (tmp_path / "install.sh").write_text(script)
    (tmp_path / "lock.txt").write_text("torch==1.2.3 \\\n    --hash=sha256:00\n")
    if locked:
        (tmp_path / "torch-cpu.txt").write_text("torch==1.2.3+cpu\n")
    fake = tmp_path / "bin" / "python3"
    fake.parent.mkdir()
    tools = tmp_path / "uv" / "bin"
    tools.mkdir(parents=True)
    fake.write_text("#!/bin/sh\nexit 0\n")
    for name in ("pip", "uv"):
        (tools / name).write_text('#!/bin/sh\necho "$*"\n')
    for program in (fake, *tools.iterdir()):
        program.chmod(0o755)
    environment = os.environ | {"PATH": f"{fake.parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["sh", "install.sh", "lock.txt", "cpu"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].endswith(f"--torch-backend cpu {words}")
