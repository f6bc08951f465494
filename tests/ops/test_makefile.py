"""The targets of make: all that such a project is expected to have, each with a line in `make help`."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest

EXPECTED = {
    "running": ("serve", "ui", "predict", "predict-batch"),
    "installing": ("install", "dev", "clean"),
    "checking": ("test", "lint", "format", "load-test", "load-test-k6"),
    "training": ("data", "validate", "train", "dvc-repro", "mlflow"),
    "containers": ("docker-build", "docker-run", "docker-up", "docker-down", "docker-logs"),
    "deploying": ("deploy", "deploy-rollback", "deploy-manifest"),
}
PRODUCT = {"benchmarks", "cli", "gateway", "handler", "stack", "training", "ui"}
OPTIONAL = {"opentelemetry"}
"""What only some deployments import: `make dev` and the gateway's own lock bring it."""
TEXT = Path("Makefile").read_text(encoding="utf-8")


def make(*words: str) -> str:
    command = ("make", *words)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def shown() -> str:
    return make("help")


@pytest.mark.parametrize("target", [*chain(*EXPECTED.values())])
def test_a_target_is_there_and_help_shows_what_it_does(target: str, shown: str) -> None:
    assert re.search(rf"^  make {target} +\S", shown, re.MULTILINE)
    assert re.search(rf"^\.PHONY:.* {target}( |$)", TEXT, re.MULTILINE)


def test_help_shows_every_target_under_a_topic(shown: str) -> None:
    targets = re.findall(r"^([a-z0-9-]+):", TEXT, re.MULTILINE)
    assert re.findall(r"^  make ([a-z0-9-]+) ", shown, re.MULTILINE) == targets
    assert len(re.findall(r"^\S", shown, re.MULTILINE)) >= 5


def test_install_is_for_serving_and_dev_adds_what_tests_need() -> None:
    def wanted(target: str) -> set[str]:
        return set(re.findall(r"require-hashes -r (\S+)", make("--dry-run", "--always-make", target)))

    assert wanted("install") == {"requirements/uv.txt", "requirements/demo.txt"}
    assert wanted("dev") == {"requirements/uv.txt", "requirements/demo.txt", "requirements/dev.txt"}
    assert "requirements/dev.txt" in wanted("test") & wanted("lint")


def test_install_brings_all_that_the_product_imports() -> None:
    lock = Path("requirements/demo.txt").read_text(encoding="utf-8")
    locked = {_normal(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    distributions = packages_distributions()
    modules = {module for package in PRODUCT for file in Path(package).rglob("*.py") for module in _imported(file)}
    foreign = modules - sys.stdlib_module_names - PRODUCT - OPTIONAL
    assert {module for module in foreign if not {_normal(name) for name in distributions[module]} & locked} == set()


@pytest.mark.parametrize(("words", "named"), [((), "SOURCE="), (("SOURCE=photos",), "OUT=")])
def test_score_names_what_it_was_not_told(words: tuple[str, ...], named: str) -> None:
    command = ("make", "--no-print-directory", "--dry-run", "--old-file=install", "score", *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr


def test_an_installed_checkout_runs_under_a_folder_with_an_umlaut_in_a_locale_that_knows_none(tmp_path: Path) -> None:
    """uv stands in for itself: it writes the one file of an editable install that Python reads in the locale."""
    checkout = tmp_path / "Caf\u00e9 und B\u00fccher"
    venv.create(checkout / ".venv", symlinks=True)
    (folder,) = (checkout / ".venv").glob("lib/python*/site-packages")
    (checkout / ".venv/bin/uv").write_text(f'#!/bin/sh\npwd > "{folder}/_editable_impl_product.pth"\n')
    (checkout / ".venv/bin/uv").chmod(0o755)
    (checkout / ".venv/installed").touch()
    (checkout / "product.py").write_text("print('found')")
    shutil.copy("Makefile", checkout)
    environment = os.environ | {"LC_ALL": "C"}
    for command in (
        ("make", "--old-file=.venv/installed", ".venv/bin/product-photo-detector"),
        (".venv/bin/python", "-P", "-c", "import product"),
    ):
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"found\n"


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
