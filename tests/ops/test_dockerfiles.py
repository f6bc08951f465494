"""The Dockerfiles, as far as reading them tells; `make lint-docker` asks hadolint, `make test-images` builds them."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from gateway.settings import Settings
from stack.layout import ROOT

FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
each = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
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
    assert instructions(file, "ARG")[0] == "BASE=docker.io/library/python:3.11-slim"
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
    assert [source for source in sources if not (ROOT / source).exists() or not allowed(source)] == []


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
