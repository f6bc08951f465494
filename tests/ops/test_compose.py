"""docker/compose.yaml by the Compose specification's own schema, and by what this project promises of it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from gateway.settings import Settings
from stack.layout import ROOT
from tests.gateway.variables import VARIABLES
from tests.ops.compose import FOLDER, Service, read, services
from ui.settings import Settings as PageSettings

SCHEMA = json.loads(Path(__file__).with_name("compose-spec.schema.json").read_text(encoding="utf-8"))
SERVICES = services()
BY_NAME = {service.name: service for service in SERVICES}
each = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
SECRETIVE = re.compile("KEY|PASSWORD|TOKEN|SECRET|CREDENTIAL")


@pytest.mark.parametrize("name", ["compose.yaml", "compose.model.yaml"])
def test_it_is_valid(name: str) -> None:
    assert [error.message for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(read(name))] == []


def test_the_schema_finds_a_wrong_word() -> None:
    content = read()
    content["services"]["gateway"]["read-only"] = True
    [error] = jsonschema.Draft7Validator(SCHEMA).iter_errors(content)
    assert "'read-only' does not match" in error.message


def test_the_documented_ports_are_published_on_this_machine_alone() -> None:
    published = {service.name: service.listed("ports") for service in SERVICES}
    assert published == {
        "torchserve": [],
        "gateway": ["127.0.0.1:8080:8080"],
        "ui": ["127.0.0.1:7860:7860"],
        "mlflow": ["127.0.0.1:5000:5000"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_torchserve_is_on_a_network_without_a_way_out_with_those_who_need_it() -> None:
    content = read()
    assert content["networks"]["model"] == {"internal": True}
    assert BY_NAME["torchserve"].listed("networks") == ["model"]
    assert [one.name for one in SERVICES if "model" in one.listed("networks")] == [
        "torchserve",
        "gateway",
        "prometheus",
    ]


@each
def test_a_service_has_no_rights_and_bounds(service: Service) -> None:
    said = service.said
    assert (said["read_only"], said["cap_drop"], said["security_opt"]) == (True, ["ALL"], ["no-new-privileges"])
    assert said["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert "privileged" not in said
    assert said["healthcheck"]["test"][0] == "CMD"


@each
def test_logs_have_an_end(service: Service) -> None:
    assert service.said["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


def test_the_gateways_memory_holds_its_uploads_three_times() -> None:
    """As received, as sent on, and as what the allocator keeps; Kubernetes and Cloud Run have the same limit."""
    assert BY_NAME["gateway"].said["deploy"]["resources"]["limits"]["memory"] == "1g"
    assert 3 * Settings().upload_budget_bytes + 2**28 <= 2**30


@each
def test_no_secret_stands_in_the_file(service: Service) -> None:
    secret = {name: value for name, value in service.environment().items() if SECRETIVE.search(name)}
    assert all(value.startswith("/run/") for value in secret.values()), secret
    assert all(name.endswith("_FILE") for name in secret)


def test_secrets_are_files_that_git_does_not_keep() -> None:
    files = [FOLDER / one["file"] for one in read()["secrets"].values()]
    git = ["git", "check-ignore", *map(str, files)]
    ignored = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert ignored == list(map(str, files))
    assert {file.resolve().parent for file in files} == {FOLDER / "secrets"}


@pytest.mark.parametrize("name", ["compose.yaml", "compose.model.yaml"])
def test_every_mounted_path_is_there(name: str) -> None:
    paths = [path for service in services(name) for path in service.mounted_paths()]
    assert paths
    assert [path for path in paths if not path.exists()] == []


def test_every_volume_network_and_secret_that_is_used_is_declared_and_the_other_way_round() -> None:
    content = read()
    named = {entry.split(":")[0] for one in SERVICES for entry in one.listed("volumes")}
    assert {name for name in named if not name.startswith(".")} == set(content["volumes"])
    assert {name for one in SERVICES for name in one.listed("networks")} == set(content["networks"])
    assert {name for one in SERVICES for name in one.listed("secrets")} == set(content["secrets"])


def test_the_gateways_settings_are_ones_that_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = BY_NAME["gateway"].environment()
    assert set(environment) <= set(VARIABLES)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    read_back = Settings()
    assert {name: str(getattr(read_back, VARIABLES[name])).rstrip("/") for name in environment} == environment


def test_the_page_asks_the_gateway() -> None:
    environment = BY_NAME["ui"].environment()
    assert set(environment) == {"UI_GATEWAY_URL", "UI_ALLOWED_HOSTS"}
    named = environment | {"UI_ALLOWED_HOSTS": "photos.example.com"}  # the user's own
    read_back = PageSettings.from_env(named)
    assert (read_back.gateway_url, read_back.allowed_hosts[-1]) == ("http://gateway:8080", "photos.example.com")


def test_the_gateway_reads_the_tokens_that_torchserve_writes() -> None:
    assert "tokens:/app/var/torchserve" in BY_NAME["torchserve"].listed("volumes")
    assert "tokens:/run/torchserve:ro" in BY_NAME["gateway"].listed("volumes")
    assert BY_NAME["gateway"].environment()["GATEWAY_TORCHSERVE_KEY_FILE"] == "/run/torchserve/key_file.json"
    assert read()["volumes"]["tokens"]["driver_opts"]["type"] == "tmpfs"


def test_each_waits_until_what_it_needs_is_healthy() -> None:
    waits = {
        (one.name, other): how["condition"] for one in SERVICES for other, how in one.said.get("depends_on", {}).items()
    }
    assert waits == {
        ("gateway", "torchserve"): "service_healthy",
        ("ui", "gateway"): "service_healthy",
        ("grafana", "prometheus"): "service_healthy",
    }


def test_the_gateway_is_given_the_time_that_it_gives_its_requests() -> None:
    grace = int(BY_NAME["gateway"].said["stop_grace_period"].removesuffix("s"))
    assert grace > Settings().shutdown_timeout_s


def test_every_dockerfile_is_built_by_one_service() -> None:
    built = [one.said["build"]["dockerfile"] for one in SERVICES if "build" in one.said]
    assert sorted(built) == [f"docker/{file.name}" for file in sorted(FOLDER.glob("*.Dockerfile"))]
