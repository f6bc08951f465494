"""The tools of `make`'s section "Secure it", as it calls them, and a repository of their own to look into."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from stack.layout import ROOT
from tests.ops.checkout import copy_files

UV = Path(sysconfig.get_path("scripts")) / "uv"
PLANTED = "ghp_" + hashlib.sha256(b"planted").hexdigest()[:36]
"""Looks like a key of GitHub's, and is none."""
# The caches of this checkout, and of Git's settings none.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_") and name != "MAKEFLAGS"},
    "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(ROOT / ".cache/uv")),
    "UV_SYSTEM_CERTS": "true",
    "KF_RULE_CACHE_DIR": str(ROOT / ".cache/kingfisher"),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def pin(name: str) -> str:
    """The tool that the Makefile calls by this name, with its version."""
    [found] = re.findall(rf"^{name} := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return str(found)


@cache
def tool(name: str) -> tuple[str, ...]:
    """How to call a program of a tool; the test is skipped where it cannot be fetched."""
    command = (str(UV), "tool", "run", "--python", sys.executable, "--from", pin(name))
    tried = subprocess.run([*command, "python", "-c", ""], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"{pin(name)} cannot be fetched: {tried.stderr.strip().rpartition(chr(10))[2]}")
    return command


@dataclass(frozen=True)
class Repository:
    """This project's files in a Git repository of their own, with this environment's tools."""

    root: Path

    @classmethod
    def of_this_project(cls, root: Path) -> Repository:
        """Copy what Git has or would take, and commit it."""
        copy_files(root)
        (root / ".venv").symlink_to(sysconfig.get_path("data"))
        here = cls(root)
        here.git("init", "--quiet", "--initial-branch=main")
        (root / ".git/info/exclude").write_text("/.venv\n")
        for setting in ("user.name=a", "user.email=a@b.c", "commit.gpgsign=false"):
            here.git("config", *setting.split("="))
        here.git("add", ".")
        here.git("commit", "--quiet", "--message=feat: all of it")
        return here

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command here."""
        return subprocess.run(
            command, cwd=self.root, env=ENVIRONMENT | environment, capture_output=True, text=True, check=False
        )

    def git(self, *words: str) -> str:
        """Run Git here and return what it printed.

        Raises:
            AssertionError: It failed; the message is its output.
        """
        done = self.run("git", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self, message: str, name: str, text: str) -> subprocess.CompletedProcess[str]:
        """Add a file, and try to commit it past the hooks but the slow one; a refused one goes away."""
        (self.root / name).write_text(text)
        self.git("add", ".")
        done = self.run("git", "commit", "--quiet", f"--message={message}", SKIP="types")
        if done.returncode:
            self.git("reset", "--quiet", "--hard")
        return done
