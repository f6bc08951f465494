"""Where `make` itself can fail its user: what it installs, refuses, and finds under odd folders."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from grimp import build_graph

from tests.checks import none

PRODUCT = {"benchmarks", "deploy", "gateway", "handler", "training", "ui"}
OPTIONAL = {"opentelemetry"}
"""What only some deployments import: `make dev` and the gateway's own lock bring it."""


def make(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ("make", "--no-print-directory", *words)
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_help_shows_every_target() -> None:
    targets = re.findall(r"^([a-z0-9-]+):", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    shown = set(re.findall(r"^  make ([a-z0-9-]+) ", make("help").stdout, re.MULTILINE))
    none((target for target in targets if target not in shown), of=targets)


def test_install_is_for_serving_and_dev_adds_what_tests_need() -> None:
    def wanted(target: str) -> set[str]:
        return set(re.findall(r"require-hashes -r (\S+)", make("--dry-run", "--always-make", target).stdout))

    assert wanted("install") == {"requirements/uv.txt", "requirements/demo.txt"}
    assert wanted("dev") == wanted("check") == wanted("install") | {"requirements/dev.txt"}


def test_install_brings_all_that_the_product_imports() -> None:
    lock = Path("requirements/demo.txt").read_text(encoding="utf-8")
    locked = {_normal(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    brought = {module for found in distributions() if _normal(found.name) in locked for module in _modules(found)}
    imports = build_graph(*PRODUCT, include_external_packages=True, cache_dir=None)
    modules = {module.partition(".")[0] for module in imports.modules}
    foreign = modules - sys.stdlib_module_names - PRODUCT - OPTIONAL
    none(foreign - brought, of=foreign)


@pytest.mark.parametrize(("words", "named"), [((), "SOURCE="), (("SOURCE=photos",), "OUT=")])
def test_score_names_what_it_was_not_told(words: tuple[str, ...], named: str) -> None:
    done = make("--dry-run", "--old-file=install", "score", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr


@pytest.mark.parametrize("name", ["TAG", "SET"])
@pytest.mark.parametrize(
    "value", ["$(shell touch FILE)", "'; touch FILE; '", "a;touch FILE", "a`touch FILE`", "a\ntouch FILE"]
)
def test_values_that_make_or_a_shell_would_act_on_are_refused(name: str, value: str, tmp_path: Path) -> None:
    given = {name: value.replace("FILE", str(tmp_path / "file"))}
    done = make("--dry-run", "deploy-rollback", "repro", "PROJECT=shop-prod", "REGION=europe-west1", **given)
    assert f"*** {name} contains characters that make or a shell would interpret.  Stop." in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_trainings_form_becomes_settings() -> None:
    given = {"SET": "data.source=tiny train.epochs=1", "TINY": "1"}
    dry = make("--dry-run", "--old-file=install", "repro", **given)
    assert dry.stdout.splitlines()[0].split()[2:] == [
        *("training.params", "--preset", "tiny", "--apart", "var/tiny"),
        *("data.source=tiny", "train.epochs=1"),
    ]


@pytest.mark.slow
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


def _modules(found: Distribution) -> set[str]:
    """What a distribution puts on the path; its `files` would look at each of ten thousand."""
    lines = (found.read_text("RECORD") or "").splitlines()
    return {line.split("/")[0].partition(",")[0].partition(".")[0] for line in lines}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
