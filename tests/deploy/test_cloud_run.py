"""What `make deploy` prints, builds, pushes and replaces, with stand-ins for docker and gcloud."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.cloud_run import MANIFEST, render
from deploy.layout import StackError

VALUES = {"PROJECT": "shop-prod", "REGION": "europe-west1", "REPOSITORY": "detector", "TAG": "3f2c1a9b7d4e"}
NAMED = ("PROJECT=shop-prod", "REGION=europe-west1")
IMAGES = "europe-west1-docker.pkg.dev/shop-prod/product-photo-detector"


@pytest.mark.parametrize(
    ("name", "value"),
    [("PROJECT", "Shop"), ("PROJECT", "a\nb: c"), ("REGION", "europe"), ("REPOSITORY", "a/b"), ("TAG", "-x")],
)
def test_a_value_that_google_would_refuse_is_refused(name: str, value: str) -> None:
    with pytest.raises(StackError, match=f"^{name} is invalid"):
        render(MANIFEST, VALUES | {name: value})


@dataclass(frozen=True)
class Machine:
    """A folder of stand-ins that note how they were called, beside nothing but what make's recipes need."""

    folder: Path

    def have(self, *tools: str) -> None:
        for tool in tools:
            program = self.folder / tool
            program.write_text(
                '#!/bin/sh\n{ printf "%s" "${0##*/}"; printf " %s" "$@"; echo; } >> "$NOTES"\n'
                '[ "$1" != compose ] || echo "$TAG $DOCKER_DEFAULT_PLATFORM" > "$NOTES.build"\n[ "$1" != "$FAILS" ]\n'
            )
            program.chmod(0o755)

    def make(self, *words: str, fails: str = "") -> subprocess.CompletedProcess[str]:
        """Run make, with the tools of the folder alone."""
        make = shutil.which("make")
        assert make
        command = (make, *words, f"PYTHON={sys.executable}", f"RENDERED={self.rendered}", "COMPOSE=docker compose")
        environment = {"PATH": str(self.folder), "NOTES": str(self.folder / "notes"), "FAILS": fails}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    @property
    def rendered(self) -> Path:
        return self.folder / "cloud-run.yaml"

    def calls(self) -> list[str]:
        notes = self.folder / "notes"
        return notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []

    def images(self) -> list[str]:
        return re.findall(r"image: (\S+)", self.rendered.read_text(encoding="utf-8"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for tool in ("cat", "git", "mkdir"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(os.path.realpath(found))
    return Machine(tmp_path)


REPLACE = "gcloud run services replace {} --project shop-prod --region europe-west1"


def test_deploy_builds_pushes_and_replaces_the_service(machine: Machine) -> None:
    machine.have("docker", "gcloud")
    done = machine.make("deploy", *NAMED, "TAG=v7")
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.calls() == [
        "docker compose --file docker/compose.yaml build gateway torchserve",
        f"docker tag ai-product-photo-detector-gateway:v7 {IMAGES}/gateway:v7",
        f"docker push {IMAGES}/gateway:v7",
        f"docker tag ai-product-photo-detector-torchserve:v7 {IMAGES}/torchserve:v7",
        f"docker push {IMAGES}/torchserve:v7",
        REPLACE.format(machine.rendered),
    ]
    assert machine.images() == [f"{IMAGES}/gateway:v7", f"{IMAGES}/torchserve:v7"]


def test_what_is_not_pushed_is_not_deployed(machine: Machine) -> None:
    machine.have("docker", "gcloud")
    assert machine.make("deploy", *NAMED, "TAG=v7", fails="push").returncode != 0
    assert machine.calls()[-1] == f"docker push {IMAGES}/gateway:v7"


def test_a_rollback_builds_nothing_and_deploys_the_earlier_images(machine: Machine) -> None:
    machine.have("docker", "gcloud")
    done = machine.make("deploy-rollback", *NAMED, "TAG=v6", "REPOSITORY=detector")
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.calls() == [REPLACE.format(machine.rendered)]
    earlier = IMAGES.replace("product-photo-detector", "detector")
    assert machine.images() == [f"{earlier}/gateway:v6", f"{earlier}/torchserve:v6"]


def test_the_manifest_is_printed_without_any_tool(machine: Machine) -> None:
    done = machine.make("deploy-manifest", *NAMED, "TAG=v7", "REPOSITORY=detector")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == render(MANIFEST, VALUES | {"TAG": "v7"})


def test_the_tag_is_the_commit_unless_named() -> None:
    command = ("make", "--dry-run", "deploy-manifest", *NAMED)
    dry = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    asked = ("git", "rev-parse", "HEAD")
    head = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    [tag] = re.findall(r"--tag '([0-9a-f]{12})(?:-dirty)?'", dry)
    assert head.startswith(tag)


@pytest.mark.parametrize(
    ("words", "tools", "said"),
    [
        (("deploy", "REGION=europe-west1"), ("docker",), "PROJECT is missing: set it with PROJECT=my-project"),
        (("deploy-rollback", *NAMED), ("gcloud",), "TAG is missing: set it with TAG=3f2c1a9b7d4e"),
        (("deploy", *NAMED, "TAG=v7"), ("docker",), "gcloud is not installed, or not on PATH"),
        (("deploy", *NAMED, "TAG=v7"), ("gcloud",), "docker is not installed, or not on PATH"),
    ],
)
def test_what_is_missing_is_said_in_one_line_before_anything_is_done(
    machine: Machine, words: tuple[str, ...], tools: tuple[str, ...], said: str
) -> None:
    machine.have(*tools)
    done = machine.make(*words)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if not line.startswith("make: ***")] == [f"deploy: {said}"]
    assert machine.calls() == []
