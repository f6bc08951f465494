"""The images, built by buildah and started by podman as compose.yaml has them: no rights, and nothing to write to."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from deploy.layout import ROOT

HARDENED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges")
START_S = 180
STOP_S = 30


def why_not() -> str | None:
    """Say why no images can be built and run here, or None if they can."""
    missing = [program for program in ("buildah", "podman") if shutil.which(program) is None]
    if missing:
        return f"not installed: {' and '.join(missing)}"
    asked = _podman("info")
    return f"podman does not work: {asked.stderr.decode().strip()}" if asked.returncode else None


def build(name: str) -> str:
    """Build an image from its Dockerfile and return its name; BASE, TORCH_BACKEND and BUILD_ARGS come from make."""
    tag = f"localhost/ai-product-photo-detector-{name}:test"
    arguments = [f"--build-arg={key}={os.environ[key]}" for key in ("BASE", "TORCH_BACKEND") if key in os.environ]
    arguments += shlex.split(os.environ.get("BUILD_ARGS", ""))
    # OCI's own format knows no health checks.
    command = ["buildah", "bud", "--format=docker", f"--file=docker/{name}.Dockerfile", f"--tag={tag}", *arguments, "."]
    subprocess.run(command, cwd=ROOT, check=True)
    return tag


def podman(*words: str, given: bytes | None = None) -> str:
    """Run podman and return what it printed.

    Raises:
        AssertionError: It failed; the message is its output.
    """
    done = _podman(*words, given=given)
    assert done.returncode == 0, f"podman {' '.join(words)}\n{done.stdout.decode()}\n{done.stderr.decode()}"
    return done.stdout.decode()


def _podman(*words: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["podman", *words], input=given, capture_output=True, check=False)  # noqa: S607 - the PATH's


@dataclass(frozen=True)
class Container:
    """A started container; what it is asked runs in it by its own Python."""

    id: str

    @classmethod
    def start(cls, image: str, *options: str, command: tuple[str, ...] = ()) -> Container:
        """Start an image, hardened."""
        return cls(podman("run", "--detach", *HARDENED, *options, image, *command).strip())

    def address(self, network: str) -> str:
        """Return its address in a network."""
        return str(self._inspect()["NetworkSettings"]["Networks"][network]["IPAddress"])

    def python(self, program: str, *arguments: str, given: bytes = b"") -> str:
        """Run a program with its own Python and return what it printed."""
        return podman("exec", "--interactive", self.id, "python", "-c", program, *arguments, given=given)

    def wait_healthy(self) -> None:
        """Wait until the image's own health check passes."""
        give_up = time.monotonic() + START_S
        while _podman("healthcheck", "run", self.id).returncode:
            assert time.monotonic() < give_up, self.said()
            assert self._inspect()["State"]["Running"], self.said()
            time.sleep(1)

    def said(self) -> str:
        """Return its log."""
        log = _podman("logs", self.id)
        return (log.stdout + log.stderr).decode()

    def exit_code(self) -> int:
        """Wait until it has ended by itself and return its exit code."""
        return int(podman("wait", self.id))

    def stop(self) -> int:
        """Ask it to stop, and return its exit code; 137 means that it had to be killed."""
        podman("stop", f"--time={STOP_S}", self.id)
        return int(self._inspect()["State"]["ExitCode"])

    def remove(self) -> None:
        """Remove it, running or not."""
        podman("rm", "--force", "--time=0", self.id)

    def _inspect(self) -> dict[str, Any]:
        [found] = json.loads(podman("inspect", self.id))
        return dict(found)
