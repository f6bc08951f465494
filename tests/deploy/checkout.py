"""A copy of the project as a clone has it, in which DVC may run and write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from deploy.layout import ROOT

PIPELINE = (".dvc", ".dvcignore", ".gitignore", "dvc.yaml", "handler", "params.yaml", "training")


def copy_files(root: Path, *below: str) -> None:
    """Copy the files that Git has or would take, all or those below some paths."""
    listed = subprocess.run(
        ("git", "ls-files", "--cached", "--others", "--exclude-standard", *below),  # noqa: S607 - the PATH's
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in filter(lambda name: (ROOT / name).is_file(), listed):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)


@dataclass(frozen=True)
class Checkout:
    """A folder with the pipeline's files, under Git."""

    root: Path

    @classmethod
    def of_this_project(cls, root: Path) -> Checkout:
        """Copy the files that Git has or would take, and commit them."""
        copy_files(root, *PIPELINE)
        checkout = cls(root)
        for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "clone")):
            checkout.run("git", "-c", "user.name=a", "-c", "user.email=a@b", *words)
        return checkout

    def run(self, *command: str) -> str:
        """Run a command here, with the project's own Python first on the path; return what it printed.

        Raises:
            AssertionError: It failed; the message is its output.
        """
        environment = os.environ | {"PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        environment["OMP_NUM_THREADS"] = "1"  # threads of so small work wait for each other on a busy machine
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout
