"""Terraform itself on a copy of `deploy/terraform`, with a stand-in for Google's provider that asks nobody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ops.terraform_files import FOLDER, SCHEMA_FILE

FRAMEWORK = "tf==1.2.0"  # Terraform's protocol in Python; it wants an older protobuf than the product
PROVIDER = Path(__file__).with_name("terraform_provider.py")
UV = Path(sys.executable).with_name("uv")
LOCAL = 'terraform {\n  backend "local" {}\n}\n'
needs_terraform = pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")


@dataclass(frozen=True)
class Terraform:
    """A copy of the configuration whose state would stay in its folder."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What Terraform answers."""
        command = ("terraform", *words)
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )

    def plan(self, **variables: object) -> dict[str, Any]:
        """The plan for these variables.

        Raises:
            AssertionError: There is none; the message is what Terraform said.
        """
        (self.folder / "values.tfvars.json").write_text(json.dumps(variables), encoding="utf-8")
        done = self.run("plan", "-input=false", "-no-color", "-out=plan", "-var-file=values.tfvars.json")
        assert done.returncode == 0, done.stderr
        planned: dict[str, Any] = json.loads(self.run("show", "-json", "plan").stdout)
        return planned


@contextmanager
def offline(folder: Path) -> Iterator[Terraform]:
    """Terraform, made ready in a folder, beside a provider that runs until the end."""
    shutil.copytree(FOLDER.parent / "cloud-run", folder / "cloud-run")
    root = Path(shutil.copytree(FOLDER, folder / "terraform", ignore=shutil.ignore_patterns(".terraform*")))
    (root / "override.tf").write_text(LOCAL, encoding="utf-8")
    with _provider() as port:
        address = {"Network": "tcp", "String": f"127.0.0.1:{port}"}
        attached = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": address}
        environment = {
            **os.environ,
            "TF_REATTACH_PROVIDERS": json.dumps({"registry.terraform.io/hashicorp/google": attached}),
            "CHECKPOINT_DISABLE": "1",
        }
        terraform = Terraform(root, environment)
        ready = terraform.run("init", "-input=false", "-no-color")
        assert ready.returncode == 0, ready.stderr
        yield terraform


@contextmanager
def _provider() -> Iterator[int]:
    alone = (str(UV), "run", "--quiet", "--no-project", "--isolated", "--python", sys.executable, "--with", FRAMEWORK)
    command = (*alone, "python", str(PROVIDER), str(SCHEMA_FILE))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stderr
            port = process.stdout.readline()
            if not port:
                pytest.skip(f"the stand-in for the provider does not start: {process.stderr.read()}")
            yield int(port)
        finally:
            process.terminate()
