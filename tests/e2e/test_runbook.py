"""What `docs/INCIDENT_SCENARIO.md` tells operators to do, done: its own commands, on the real stack."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.layout import ROOT
from deploy.local.stack import LocalStack
from deploy.torchserve.process import ARCHIVE, MODEL
from tests.checks import none
from tests.e2e.processes import Gateway, processes, running_gateway, until
from tests.e2e.shell import Shell, needs_curl
from tests.pages import documented

pytestmark = needs_curl
PAGE = (ROOT / "docs" / "INCIDENT_SCENARIO.md").read_text(encoding="utf-8")
WORKERS = 2


def section(heading: str) -> list[str]:
    """The commands below a heading of the page."""
    return documented(re.split("^## ", PAGE.split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0])


def the(heading: str, part: str) -> str:
    """The one command below a heading that has this in it."""
    [command] = [command for command in section(heading) if part in command]
    return command


def test_the_logs_say_that_a_worker_was_started_anew_and_when_it_is_over(
    stack: LocalStack, management: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "var").symlink_to(stack.layout.var)
    shell = Shell(tmp_path, stack.gateway_url)
    count = the("Worker crash loop", "grep -c")
    before = int(shell.run(count).stdout)
    processes("model_service_worker")[0].kill()
    until(lambda: int(shell.run(count).stdout) == before + 1)
    until(lambda: _ready(management) == WORKERS)
    assert shell.run(the("Worker crash loop", "/readyz")).stdout == "200\n"
    for part in ("MODEL_LOG", "service_unavailable"):
        done = shell.run(the("Worker crash loop", part))
        assert (done.returncode, done.stderr) == (0, "")
    for part in ("gateway.log", "torchserve.log"):
        assert len(shell.run(the("First look", part)).stdout.splitlines()) == 20


def test_an_archive_is_checked_and_another_takes_its_place(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "model_store", tmp_path / "model_store", ignore=shutil.ignore_patterns("*.json", "*.md"))
    store, shell = tmp_path / "model_store", Shell(tmp_path, "")
    check = the("Worker crash loop", "zipfile")
    assert shell.run(check).stdout == "Done testing\n"
    (store / ARCHIVE).write_bytes((store / ARCHIVE).read_bytes()[:1000])
    assert shell.run(check).returncode == 1
    copied = shell.run(the("Bad model rollout", "cp "))
    assert (copied.returncode, copied.stderr) == (0, "")
    assert (store / ARCHIVE).read_bytes() == (store / f"{MODEL}-fast.mar").read_bytes()


@pytest.fixture
def guarded(torchserve: dict[str, str], tmp_path: Path) -> Iterator[tuple[Gateway, str]]:
    """A gateway of its own that knows one client by a file of keys, and the client's key."""
    key = secrets.token_hex(32)
    (tmp_path / "var" / "logs").mkdir(parents=True)
    _write_keys(tmp_path / "keys.json", key)
    log, keys = tmp_path / "var" / "logs" / "gateway.log", str(tmp_path / "keys.json")
    with running_gateway(log, API_KEYS_FILE=keys, **torchserve) as gateway:
        yield gateway, key


def test_a_leaked_key_is_shut_out_without_a_restart(guarded: tuple[Gateway, str], coffee: Path, tmp_path: Path) -> None:
    gateway, old = guarded
    shutil.copy(coffee, tmp_path / "photo.png")
    make, its_hash = (the("Key leak", part) for part in ("openssl", "sha256sum"))
    new, digest = Shell(tmp_path, "").run(f'{make}\necho "$NEW_KEY"\n{its_hash}').stdout.splitlines()
    assert digest.split()[0] == hashlib.sha256(new.encode()).hexdigest()
    shell = Shell(tmp_path, gateway.url, {"OLD_KEY": old, "NEW_KEY": new})
    with_old, with_new = (the("Key leak", f'${name}_KEY" -F') for name in ("OLD", "NEW"))
    assert [shell.run(command).stdout for command in (with_old, with_new)] == ["200\n", "401\n"]

    _write_keys(tmp_path / "keys.new.json", new)
    shell.run(the("Key leak", "mv ")).check_returncode()
    assert [shell.run(command).stdout for command in (with_old, with_new)] == ["401\n", "200\n"]

    assert shell.run(the("Key leak", "grep -c")).stdout == "2\n"
    for line in shell.run(the("Key leak", "| tail -n 5")).stdout.splitlines():
        assert (json.loads(line)["status"], json.loads(line)["key_id"]) == (200, "shop")
    (tmp_path / "keys.json").write_text("{")
    shell.run(with_new)
    broken = json.loads(shell.run(the("Key leak", "api_keys_file_broken")).stdout)
    assert (broken["event"], broken["keys_kept"]) == ("api_keys_file_broken", 1)
    log = gateway.log.read_text(encoding="utf-8")
    none((key for key in (old, new) if key in log), of=log)


def _write_keys(file: Path, key: str) -> None:
    file.write_text(json.dumps({"shop": {"sha256": hashlib.sha256(key.encode()).hexdigest()}}), encoding="utf-8")


def _ready(management: httpx.Client) -> int:
    [model] = management.get(f"/models/{MODEL}").json()
    return sum(worker["status"] == "READY" for worker in model["workers"])
