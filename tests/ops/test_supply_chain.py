"""Secrets, hooks, licences, SBOMs and advisories: the real tools, on what is planted for them and on this project."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest
import yaml

from stack.layout import ROOT, StackError
from stack.supply_chain.audit import OPTIONS, audit
from stack.supply_chain.licences import COMPONENT, declared, refused, table
from stack.supply_chain.locks import pinned
from stack.supply_chain.policy import Policy
from tests.cli.service import served
from tests.ops.supply_tools import ENVIRONMENT, PLANTED, Repository, tool

ARCHIVE = ROOT / "model_store/product-photo-detector.mar"
COMPONENTS = ("gateway", "torchserve", "training", "ui")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    tool("KINGFISHER")
    return Repository.of_this_project(tmp_path_factory.mktemp("repository"))


def secrets(repository: Repository) -> subprocess.CompletedProcess[str]:
    return repository.run("make", "--silent", "--old-file=.venv/installed", "secrets")


def test_no_secret_is_in_the_project(repository: Repository) -> None:
    found = secrets(repository)
    assert (found.returncode, found.stdout) == (0, ""), found.stdout


def test_a_secret_in_a_file_that_git_would_take_is_found_and_not_repeated(repository: Repository) -> None:
    file = repository.root / "settings.py"
    file.write_text(f'TOKEN = "{PLANTED}"\n')
    found = secrets(repository)
    file.unlink()
    assert found.returncode == 2
    assert "settings.py" in found.stdout
    assert PLANTED not in found.stdout


def test_a_secret_that_a_commit_has_taken_away_is_found_in_the_history(repository: Repository) -> None:
    before = repository.git("rev-parse", "HEAD").strip()
    (repository.root / "settings.py").write_text(f'TOKEN = "{PLANTED}"\n')
    repository.git("add", ".")
    repository.git("commit", "--quiet", "--message=feat: with a key")
    repository.git("rm", "--quiet", "settings.py")
    repository.git("commit", "--quiet", "--message=fix: without")
    found = secrets(repository)
    repository.git("reset", "--quiet", "--hard", before)
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "--quiet", "--prune=now")
    assert found.returncode == 2
    assert "settings.py" in found.stdout
    assert secrets(repository).returncode == 0


@pytest.fixture(scope="module")
def hooked(repository: Repository) -> Repository:
    installed = repository.run(".venv/bin/pre-commit", "install")
    assert installed.returncode == 0, installed.stderr
    return repository


def test_every_hook_agrees_with_the_project(hooked: Repository) -> None:
    """But for mypy, which would begin without its cache; `make lint` runs it."""
    done = hooked.run(".venv/bin/pre-commit", "run", "--all-files", "--color=never", SKIP="types")
    changed = hooked.git("status", "--porcelain")
    hooked.git("reset", "--quiet", "--hard")
    assert (done.returncode, changed) == (0, ""), done.stdout
    config = yaml.safe_load((hooked.root / ".pre-commit-config.yaml").read_text())
    [local] = config["repos"]
    before = [hook["name"] for hook in local["hooks"] if "commit-msg" not in hook.get("stages", [])]
    assert [line.partition("....")[0] for line in done.stdout.splitlines()] == before


@pytest.mark.parametrize(
    ("message", "taken"),
    [
        ("feat: x", True),
        ("fix(ui)!: y\n\nBecause.", True),
        ("Merge branch 'x'", True),
        ("fixup! feat: x", True),
        ("feature: x", False),
        ("feat x", False),
        ("feat:", False),
        ("Because.\n\nfeat: x", False),
    ],
)
def test_a_message_begins_as_a_conventional_commit(hooked: Repository, message: str, taken: bool) -> None:
    file = hooked.root / ".git/MESSAGE"
    file.write_text(message)
    words = ("run", "conventional-commit", "--hook-stage=commit-msg", f"--commit-msg-filename={file}")
    assert hooked.run(".venv/bin/pre-commit", *words).returncode == int(not taken)


def test_git_refuses_a_commit_with_another_message(hooked: Repository) -> None:
    done = hooked.commit("Added things", "new.txt", "new\n")
    assert done.returncode == 1
    assert "- hook id: conventional-commit\n" in done.stderr
    assert hooked.commit("docs: more of it", "new.txt", "new\n").returncode == 0


def test_git_refuses_a_commit_with_a_secret(hooked: Repository) -> None:
    done = hooked.commit("feat: x", "settings.ini", f"token = {PLANTED}\n")
    assert done.returncode == 1
    assert "- hook id: secrets\n" in done.stderr
    assert PLANTED not in done.stderr


def test_what_is_installed_comes_under_accepted_licences_or_has_a_reason() -> None:
    found = {name: declared(name) for name, _ in pinned(COMPONENT)}
    assert len([name for name, licences in found.items() if licences is not None]) > 150
    assert list(refused(found, Policy.read())) == []


@pytest.mark.parametrize(
    ("licences", "said"),
    [
        (["MIT"], []),
        (["MIT License", "apache software license"], []),
        (["MIT License", "GNU Affero General Public License v3"], "MIT License; GNU Affero General Public License v3"),
        (["GPL-3.0-or-later"], "GPL-3.0-or-later"),
        ([], "no licence that it names"),
        (None, []),
    ],
)
def test_a_licence_that_is_not_accepted_wants_a_reason(licences: list[str] | None, said: str | list[str]) -> None:
    policy = Policy(frozenset({"mit", "mit license", "apache software license"}), {}, {})
    rest = ": give a reason in requirements/policy.toml, or remove it"
    wanted = [f"stranger comes under {said}{rest}"] if said else []
    assert list(refused({"stranger": licences}, policy)) == wanted
    assert list(refused({"stranger": licences}, Policy(policy.licences, {"strange*": "because"}, {}))) == []


def test_a_reason_for_what_comes_no_more_is_refused() -> None:
    [said] = refused({"click": ["BSD-3-Clause"]}, Policy(frozenset({"bsd-3-clause"}), {"gone": "because"}, {}))
    assert said == "no package is called gone any more: take its reason out of requirements/policy.toml"


def test_the_page_says_why() -> None:
    policy = Policy(frozenset({"mit"}), {"certifi": "a list"}, {})
    found = {"rich": ["MIT"], "certifi": ["MPL-2.0"], "evil": ["GPL-3.0"], "pywin32": None}
    assert list(table(found, policy))[4:] == [
        "| rich | MIT |  |",
        "| certifi | MPL-2.0 | a list |",
        "| evil | GPL-3.0 | **not accepted** |",
        "| pywin32 | not installed here |  |",
    ]


@pytest.fixture(scope="module")
def sboms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `make sbom` writes."""
    tool("CYCLONEDX")
    folder = tmp_path_factory.mktemp("sbom")
    command = ("make", "--silent", "--old-file=install", "sbom", f"RUN={sys.executable}", f"SBOM={folder}")
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {file.name.removesuffix(".cdx.json"): file for file in folder.iterdir()}


def test_every_sbom_is_valid_by_cyclonedxs_own_schema(sboms: dict[str, Path]) -> None:
    assert set(sboms) == set(COMPONENTS)
    validate = (
        "import sys; from pathlib import Path; from cyclonedx.schema import SchemaVersion;"
        "from cyclonedx.validation.json import JsonStrictValidator;"
        "print([JsonStrictValidator(SchemaVersion.V1_6).validate_str(Path(file).read_text()) for file in sys.argv[1:]])"
    )
    command = [*tool("CYCLONEDX"), "python", "-c", validate, *map(str, sboms.values())]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([None] * len(COMPONENTS))


@pytest.mark.parametrize("component", COMPONENTS)
def test_an_sbom_holds_all_that_the_lock_names(sboms: dict[str, Path], component: str) -> None:
    bom = json.loads(sboms[component].read_text())
    libraries = [(part["name"], part["version"]) for part in bom["components"] if part["type"] == "library"]
    assert sorted(libraries) == sorted(pinned(component))
    assert bom["metadata"]["component"]["name"] == f"ai-product-photo-detector-{component}"
    root, *_ = bom["dependencies"]
    assert len(root["dependsOn"]) == len(bom["components"])
    pillow = [part for part in bom["components"] if part["name"] == "pillow"]
    assert [part["licenses"] for part in pillow] == [[{"license": {"name": "MIT-CMU"}}]]


def test_the_model_is_a_part_of_torchserve_alone(sboms: dict[str, Path]) -> None:
    models = {
        component: [part for part in json.loads(file.read_text())["components"] if "machine" in part["type"]]
        for component, file in sboms.items()
    }
    with ZipFile(ARCHIVE) as archive:
        version = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]["modelVersion"]
    [model] = models.pop("torchserve")
    assert (model["type"], model["version"]) == ("machine-learning-model", version)
    assert model["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()}]
    assert models == {"gateway": [], "training": [], "ui": []}


@pytest.fixture(autouse=True)
def _uv_as_make_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_CACHE_DIR", "UV_SYSTEM_CERTS"):
        monkeypatch.setenv(name, ENVIRONMENT[name])


def osv(request: httpx.Request) -> httpx.Response:
    """What the OSV service would answer, did it know of a fault in every Pillow before 99."""
    asked = json.loads(request.content)
    if asked["package"]["name"] != "pillow":
        return httpx.Response(200, json={})
    fault = {
        "id": "PYSEC-2099-1",
        "details": "Planted.",
        "modified": "2026-01-01T00:00:00Z",
        "affected": [
            {
                "package": {"name": "pillow", "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
                "versions": [asked["version"]],
            }
        ],
    }
    return httpx.Response(200, json={"vulns": [fault]})


def command(url: str, *accepted: str) -> list[str]:
    return [*tool("PIP_AUDIT"), "pip-audit", f"--osv-url={url}/v1/query", *OPTIONS, *accepted]


def test_a_known_vulnerability_of_a_locked_package_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with served(osv) as url:
        assert audit(command(url), ROOT / "requirements/ui.txt") is True
    said = capsys.readouterr().out
    assert said.startswith("ui.txt: Found 1 known vulnerability in 1 package\n")
    assert said.splitlines()[-1].split() == ["pillow", dict(pinned("ui"))["pillow"], "PYSEC-2099-1", "99.0"]


def test_a_vulnerability_with_a_reason_is_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    with served(osv) as url:
        assert audit(command(url, "--ignore-vuln=PYSEC-2099-1"), ROOT / "requirements/ui.txt") is False
    assert capsys.readouterr().out == "ui.txt: No known vulnerabilities found, 1 ignored\n"


def test_a_service_that_cannot_be_asked_is_no_clean_bill() -> None:
    with served(osv) as url:
        pass
    with pytest.raises(StackError, match=r"^nothing is known of uv\.txt, since pip-audit failed: .*ConnectionError"):
        audit(command(url), ROOT / "requirements/uv.txt")


def test_every_accepted_vulnerability_says_why() -> None:
    assert [name for name, why in Policy.read().vulnerabilities.items() if len(why.split()) < 5] == []
