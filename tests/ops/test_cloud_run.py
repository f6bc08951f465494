"""Cloud Run's manifest by Google's schema and the gateway's settings; make's targets with stand-ins for the tools."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from starlette.routing import Route

from gateway.routes import build_routes
from gateway.settings import MIB, Settings
from stack.cloud_run import EXAMPLES, FORMS, MANIFEST, render
from stack.layout import Layout, Ports, StackError
from tests.gateway.variables import VARIABLES

VALUES = {"PROJECT": "shop-prod", "REGION": "europe-west1", "REPOSITORY": "detector", "TAG": "3f2c1a9b7d4e"}
NAMED = ("PROJECT=shop-prod", "REGION=europe-west1")
IMAGES = "europe-west1-docker.pkg.dev/shop-prod/product-photo-detector"
SCHEMA = json.loads(Path(__file__).with_name("cloud-run-service.schema.json").read_text(encoding="utf-8"))
SERVICE: dict[str, Any] = yaml.safe_load(render(MANIFEST, VALUES))
REVISION = SERVICE["spec"]["template"]
ANNOTATIONS = REVISION["metadata"]["annotations"]
CONTAINERS = {each["name"]: each for each in REVISION["spec"]["containers"]}
GATEWAY, TORCHSERVE = CONTAINERS["gateway"], CONTAINERS["torchserve"]
ENVIRONMENT = {each["name"]: each["value"] for each in GATEWAY["env"]}
PROBES = [(name, kind) for name, each in CONTAINERS.items() for kind in each if kind.endswith("Probe")]


def fields(found: object) -> set[str]:
    if isinstance(found, dict):
        return set(found) | {name for each in found.values() for name in fields(each)}
    return {name for each in found for name in fields(each)} if isinstance(found, list) else set()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_it_is_what_cloud_runs_admin_api_takes() -> None:
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(SERVICE)] == []
    assert (SERVICE["apiVersion"], SERVICE["kind"]) == ("serving.knative.dev/v1", "Service")


def test_the_schema_refuses_fields_that_cloud_run_does_not_know() -> None:
    wrong = yaml.safe_load(render(MANIFEST, VALUES))
    wrong["spec"]["template"]["spec"]["containers"][0]["volumeMount"] = []
    [error] = Draft202012Validator(SCHEMA).iter_errors(wrong)
    assert "'volumeMount' was unexpected" in error.message


def test_it_uses_nothing_that_cloud_run_takes_and_then_ignores() -> None:
    assert fields(SERVICE) & {"securityContext", "readOnly", "host", "subPath", "imagePullPolicy", "envFrom"} == set()


def test_the_gateway_alone_has_a_port_and_starts_after_torchserve() -> None:
    assert list(CONTAINERS) == ["gateway", "torchserve"]
    ports = {name: [port["containerPort"] for port in each.get("ports", [])] for name, each in CONTAINERS.items()}
    assert ports == {"gateway": [Ports().gateway], "torchserve": []}
    assert json.loads(ANNOTATIONS["run.googleapis.com/container-dependencies"]) == {"gateway": ["torchserve"]}
    assert "startupProbe" in TORCHSERVE  # what the order goes by


def test_torchserve_stays_on_the_instances_loopback() -> None:
    assert "args" not in TORCHSERVE
    assert "command" not in TORCHSERVE
    assert "GATEWAY_TORCHSERVE_URL" not in ENVIRONMENT  # whose default is loopback


def test_every_variable_is_one_that_the_gateway_reads(settings: Settings) -> None:
    assert set(ENVIRONMENT) - set(VARIABLES) == set()
    assert len(ENVIRONMENT) == len(GATEWAY["env"])
    assert settings.trace_project_id == VALUES["PROJECT"]
    assert settings.trusted_proxies == 1
    assert settings.needs_key()


def test_concurrency_and_timeouts_go_with_the_gateways(settings: Settings) -> None:
    spec = REVISION["spec"]
    assert spec["containerConcurrency"] == settings.backend_concurrency + settings.backend_queue
    assert spec["timeoutSeconds"] > settings.predict_timeout_s
    assert settings.shutdown_timeout_s < 10
    assert settings.max_batch_bytes + settings.max_form_overhead_bytes < 32 * MIB
    assert GATEWAY["startupProbe"]["timeoutSeconds"] > settings.readiness_timeout_s


def test_every_mount_has_its_volume_and_both_sides_mean_the_same_tokens(settings: Settings) -> None:
    mounts = {
        (name, each["name"]): each["mountPath"] for name, one in CONTAINERS.items() for each in one["volumeMounts"]
    }
    volumes = {volume["name"]: volume for volume in REVISION["spec"]["volumes"]}
    assert {volume for _, volume in mounts} == set(volumes)
    layout = Layout(var=Path("/app/var"))
    assert Path(mounts["torchserve", "tokens"]) == layout.torchserve
    assert settings.torchserve_key_file == Path(mounts["gateway", "tokens"]) / layout.key_file.name
    assert volumes["tokens"]["emptyDir"]["medium"] == "Memory"
    [key] = volumes["api-keys"]["secret"]["items"]
    assert settings.api_keys_file == Path(mounts["gateway", "api-keys"]) / key["path"]


def test_no_key_stands_in_it() -> None:
    assert set(ENVIRONMENT) & {"API_KEYS", "GATEWAY_REDIS_URL", "OTEL_EXPORTER_OTLP_HEADERS"} == set()
    assert not re.search(r"[0-9a-f]{32}|BEGIN .*KEY", render(MANIFEST, VALUES))


@pytest.mark.parametrize(("name", "kind"), PROBES)
def test_a_probe_asks_what_there_is_and_keeps_to_cloud_runs_bounds(name: str, kind: str) -> None:
    probe = CONTAINERS[name][kind]
    if "httpGet" in probe:
        assert probe["httpGet"]["path"] in {
            route.path for route in build_routes(Settings()) if isinstance(route, Route)
        }
        assert probe["httpGet"]["port"] == Ports().gateway
    else:
        assert probe["tcpSocket"]["port"] == Ports().inference
    assert probe["timeoutSeconds"] < probe["periodSeconds"]
    assert probe["periodSeconds"] * probe["failureThreshold"] <= 240


def test_all_probes_are_meant_as_the_pages_say() -> None:
    assert PROBES == [("gateway", "startupProbe"), ("gateway", "livenessProbe"), ("torchserve", "startupProbe")]


def test_limits_are_those_of_compose() -> None:
    compose = yaml.safe_load(Path("docker/compose.yaml").read_text(encoding="utf-8"))["services"]
    for name, container in CONTAINERS.items():
        limits = compose[name]["deploy"]["resources"]["limits"]
        wanted = {"cpu": limits["cpus"], "memory": limits["memory"].replace("g", "Gi")}
        assert container["resources"]["limits"] == wanted


def test_instances_keep_their_processor_and_one_is_always_there() -> None:
    assert ANNOTATIONS["run.googleapis.com/cpu-throttling"] == "false"
    assert ANNOTATIONS["run.googleapis.com/startup-cpu-boost"] == "true"
    assert ANNOTATIONS["run.googleapis.com/execution-environment"] == "gen2"
    assert ANNOTATIONS["autoscaling.knative.dev/minScale"] == "1"
    assert ANNOTATIONS["autoscaling.knative.dev/maxScale"] == "4"


def test_both_images_are_of_the_same_tag_and_are_built_here() -> None:
    for name, container in CONTAINERS.items():
        assert container["image"] == f"europe-west1-docker.pkg.dev/shop-prod/detector/{name}:3f2c1a9b7d4e"
        assert Path(f"docker/{name}.Dockerfile").is_file()


@pytest.mark.parametrize("name", FORMS)
def test_a_missing_value_is_named(name: str) -> None:
    with pytest.raises(StackError, match=f"^{name} is missing: set it with {name}={re.escape(EXAMPLES[name])}$"):
        render(MANIFEST, VALUES | {name: ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROJECT", "Shop"),
        ("PROJECT", "a\nb: c"),
        ("REGION", "europe"),
        ("REPOSITORY", "a/b"),
        ("TAG", "-x"),
        ("TAG", "a b"),
    ],
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


def test_the_images_are_built_for_cloud_runs_machines_with_the_tag_that_is_pushed(machine: Machine) -> None:
    machine.have("docker", "gcloud")
    assert machine.make("deploy", *NAMED).returncode == 0
    tag, platform = (machine.folder / "notes.build").read_text(encoding="utf-8").split()
    assert machine.images() == [f"{IMAGES}/gateway:{tag}", f"{IMAGES}/torchserve:{tag}"]
    assert platform == "linux/amd64"


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


def test_podman_pushes_what_podman_built(machine: Machine) -> None:
    done = machine.make("--dry-run", "deploy", *NAMED, "TAG=v7")
    assert "  docker push " in done.stdout
    command = ("make", "--dry-run", "deploy", *NAMED, "TAG=v7", "COMPOSE=podman-compose")
    dry = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "podman-compose --file docker/compose.yaml build gateway torchserve" in dry
    assert "  podman push " in dry
    assert "  docker " not in dry


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
        (
            ("deploy", "REGION=europe-west1"),
            ("docker", "gcloud"),
            "PROJECT is missing: set it with PROJECT=my-project",
        ),
        (("deploy", "PROJECT=shop-prod"), ("docker", "gcloud"), "REGION is missing: set it with REGION=europe-west1"),
        (("deploy-manifest",), (), "PROJECT is missing: set it with PROJECT=my-project"),
        (("deploy-rollback", *NAMED), ("gcloud",), "TAG is missing: set it with TAG=3f2c1a9b7d4e"),
        (("deploy", *NAMED, "TAG=v7"), ("docker",), "gcloud is not installed, or not on PATH"),
        (("deploy-rollback", *NAMED, "TAG=v6"), (), "gcloud is not installed, or not on PATH"),
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
