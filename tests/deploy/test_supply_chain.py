"""Secrets, licences, SBOMs and advisories: the real tools, on what is planted for them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

import httpx
import pytest

from deploy.layout import ROOT, StackError
from deploy.supply_chain import COMPONENT, OPTIONS, Policy, audit, declared, pinned, refused, table
from tests.checks import none
from tests.gateway.command.service import served

UV = Path(sysconfig.get_path("scripts")) / "uv"
PLANTED = [f"ghp_{hashlib.sha256(place).hexdigest()[:36]}" for place in (b"planted", b"elsewhere")]
"""Look like keys of GitHub's, and are none."""
# The caches of this checkout, and of Git's settings none.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_") and name != "MAKEFLAGS"},
    "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(ROOT / ".cache/uv")),
    "UV_SYSTEM_CERTS": "true",
    "KF_RULE_CACHE_DIR": str(ROOT / ".cache/kingfisher"),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


@cache
def tool(name: str) -> tuple[str, ...]:
    """How to call a program of a tool that the Makefile pins; the test is skipped where it cannot be fetched."""
    [pin] = re.findall(rf"^{name} := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    command = (str(UV), "tool", "run", "--python", sys.executable, "--from", pin)
    tried = subprocess.run([*command, "python", "-c", ""], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"{pin} cannot be fetched: {tried.stderr.strip().rpartition(chr(10))[2]}")
    return command


class Repository:
    """A Git repository with this project's Makefile, hooks and tools, and nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("Makefile", ".pre-commit-config.yaml"):
            shutil.copy(ROOT / name, root)
        (root / ".venv").symlink_to(sysconfig.get_path("data"))
        self.git("init", "--quiet", "--initial-branch=main")
        (root / ".git/info/exclude").write_text("/.venv\n")
        for setting in ("user.name=a", "user.email=a@b.c", "commit.gpgsign=false"):
            self.git("config", *setting.split("="))
        self.commit("feat: all of it").check_returncode()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.root, env=ENVIRONMENT, capture_output=True, text=True, check=False)

    def git(self, *words: str) -> None:
        self.run("git", *words).check_returncode()

    def commit(self, message: str, **files: str) -> subprocess.CompletedProcess[str]:
        """Add files, and try to commit them."""
        for name, text in files.items():
            (self.root / name).write_text(text)
        self.git("add", ".")
        return self.run("git", "commit", "--quiet", f"--message={message}")

    def secrets(self) -> subprocess.CompletedProcess[str]:
        return self.run("make", "--silent", "--old-file=.venv/installed", "secrets")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    tool("KINGFISHER")
    return Repository(tmp_path)


@pytest.mark.slow
def test_keys_are_found_in_files_and_the_history_and_never_repeated(repository: Repository) -> None:
    clean = repository.secrets()
    assert (clean.returncode, clean.stdout) == (0, ""), clean.stdout
    repository.commit("feat: with a key", gone=f'TOKEN = "{PLANTED[0]}"\n').check_returncode()
    repository.git("rm", "--quiet", "gone")
    repository.commit("fix: without").check_returncode()
    (repository.root / "settings").write_text(f'TOKEN = "{PLANTED[1]}"\n')
    found = repository.secrets()
    assert found.returncode == 2
    assert all(name in found.stdout for name in ("gone", "settings"))
    assert not any(key in found.stdout for key in PLANTED)


@pytest.mark.slow
def test_git_refuses_a_secret_and_a_message_that_is_no_conventional_commit(repository: Repository) -> None:
    repository.run(".venv/bin/pre-commit", "install").check_returncode()
    secret = repository.commit("feat: x", settings=f"token = {PLANTED[0]}\n")
    assert secret.returncode == 1
    assert "- hook id: secrets\n" in secret.stderr
    assert PLANTED[0] not in secret.stderr
    repository.git("reset", "--quiet", "--hard")
    wrong = repository.commit("Added things", new="new\n")
    assert wrong.returncode == 1
    assert "- hook id: conventional-commit\n" in wrong.stderr
    assert "hook id: secrets" not in wrong.stderr
    assert repository.commit("docs: more of it").returncode == 0


def test_what_is_installed_comes_under_accepted_licences_or_has_a_reason() -> None:
    found = {name: declared(name) for name, _ in pinned(COMPONENT)}
    assert len([name for name, licences in found.items() if licences is not None]) > 150
    none(refused(found, Policy.read()), of=found)


@pytest.mark.parametrize(
    ("licences", "said"),
    [
        (["MIT License", "apache software license"], None),
        (["MIT License", "GNU Affero General Public License v3"], "MIT License; GNU Affero General Public License v3"),
        ([], "no licence that it names"),
        (None, None),
    ],
)
def test_a_licence_that_is_not_accepted_wants_a_reason(licences: list[str] | None, said: str | None) -> None:
    policy = Policy(frozenset({"mit", "mit license", "apache software license"}), {}, {})
    rest = ": give a reason in requirements/policy.toml, or remove it"
    assert list(refused({"stranger": licences}, policy)) == ([f"stranger comes under {said}{rest}"] if said else [])
    reasoned = Policy(policy.licences, {"strange*": "because"}, {})
    assert list(refused({"stranger": licences}, reasoned)) == []
    assert list(table({"stranger": ["GPL-3.0"]}, reasoned))[4:] == ["| stranger | GPL-3.0 | because |"]
    [gone] = refused({"click": ["MIT"]}, reasoned)
    assert gone == "no package matches strange*: remove its reason from requirements/policy.toml"


@pytest.mark.slow
def test_an_sbom_holds_all_that_the_lock_names_and_the_model_is_torchserves(tmp_path: Path) -> None:
    tool("CYCLONEDX")
    command = ("make", "--silent", "--old-file=install", "sbom", f"RUN={sys.executable}", f"SBOM={tmp_path}")
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.iterdir())) == 4
    for file in tmp_path.iterdir():
        component, bom = file.name.removesuffix(".cdx.json"), json.loads(file.read_text())
        libraries = [(part["name"], part["version"]) for part in bom["components"] if part["type"] == "library"]
        assert sorted(libraries) == sorted(pinned(component))
        models = [part["hashes"] for part in bom["components"] if "machine" in part["type"]]
        archive = (ROOT / "model_store/product-photo-detector.mar").read_bytes()
        hashes = [{"alg": "SHA-256", "content": hashlib.sha256(archive).hexdigest()}]
        assert models == ([hashes] if component == "torchserve" else [])


def osv(request: httpx.Request) -> httpx.Response:
    """What the OSV service would answer, did it know of a fault in every Pillow before 99."""
    asked = json.loads(request.content)
    if asked["package"]["name"] != "pillow":
        return httpx.Response(200, json={})
    affected = {
        "package": {"name": "pillow", "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
        "versions": [asked["version"]],
    }
    fault = {"id": "PYSEC-2099-1", "details": "Planted.", "modified": "2026-01-01T00:00:00Z", "affected": [affected]}
    return httpx.Response(200, json={"vulns": [fault]})


@pytest.mark.slow
def test_a_known_vulnerability_is_found_unless_it_has_a_reason_or_nobody_can_be_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UV_CACHE_DIR", "UV_SYSTEM_CERTS"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    lock = ROOT / "requirements/ui.txt"
    with served(osv) as url:
        command = [*tool("PIP_AUDIT"), "pip-audit", f"--osv-url={url}/v1/query", *OPTIONS]
        assert audit(command, lock) is True
        said = capsys.readouterr().out
        assert said.startswith("ui.txt: Found 1 known vulnerability in 1 package\n")
        assert said.splitlines()[-1].split() == ["pillow", dict(pinned("ui"))["pillow"], "PYSEC-2099-1", "99.0"]
        assert audit([*command, "--ignore-vuln=PYSEC-2099-1"], lock) is False
    with pytest.raises(StackError, match=r"^pip-audit failed for uv\.txt: .*ConnectionError"):
        audit(command, ROOT / "requirements/uv.txt")
